//! Opening what a user names: a backbone, data.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use dmp_model::checkpoint::{
    BackboneFile, PatchFile, TensorFile, describes_itself, load_backbone, load_patch,
};
use dmp_model::dit::{Dit, DitConfig};
use dmp_model::patched::Patched;

use crate::data::{Dataset, demo};

/// Opens a backbone: `demo`, a `.safetensors` file (with its sizes in its metadata, or in a `config.json`
/// beside it), or a folder (a run directory) with `backbone.safetensors` in it.
pub fn open_backbone(name: &str, device: &Device) -> Result<BackboneFile> {
    if name == "demo" {
        return Ok(load_backbone(
            TensorFile::from_bytes(demo::BACKBONE)?,
            None,
            device,
        )?);
    }
    let path = Path::new(name);
    let path = if path.is_dir() {
        path.join("backbone.safetensors")
    } else {
        path.to_owned()
    };
    let shown = path.display().to_string();
    let bytes = fs::read(&path).with_context(|| {
        format!(
            "model {shown}: cannot be read; give 'demo', a .safetensors file or a run directory"
        )
    })?;
    let file = TensorFile::from_bytes(&bytes).with_context(|| format!("model {shown}"))?;
    // Files of other programs do not say their sizes; a config.json beside them does.
    let beside = path.with_file_name("config.json");
    let config = match fs::read(&beside) {
        Ok(json) if !describes_itself(&file) => Some(
            serde_json::from_slice::<DitConfig>(&json)
                .with_context(|| format!("{}: not a backbone's configuration", beside.display()))?,
        ),
        _ => None,
    };
    load_backbone(file, config.as_ref(), device).with_context(|| format!("model {shown}"))
}

/// Opens a patch file.
pub fn open_patch(path: &Path, device: &Device) -> Result<PatchFile> {
    let shown = path.display();
    let bytes = fs::read(path).with_context(|| {
        format!("patch {shown}: cannot be read; give a patch.safetensors made by 'dmp train'")
    })?;
    let file = TensorFile::from_bytes(&bytes).with_context(|| format!("patch {shown}"))?;
    load_patch(file, device).with_context(|| format!("patch {shown}"))
}

/// Opens a data set: `demo`.
pub fn open_data(name: &str) -> Result<Dataset> {
    match name {
        "demo" => Ok(demo::images()?),
        other => {
            bail!("data '{other}': only the embedded images are read so far; give --data demo")
        }
    }
}

/// Puts the patch in a file on the backbone it was made for; refuses any other.
pub fn patched(backbone: BackboneFile, path: &Path, device: &Device) -> Result<Patched<Dit>> {
    let file = open_patch(path, device)?;
    file.check_backbone(&backbone.fingerprint)
        .with_context(|| format!("patch {}", path.display()))?;
    Ok(Patched::new(backbone.model, file.patch)?)
}
