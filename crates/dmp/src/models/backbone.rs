//! Backbones, from whatever they come in.

use std::borrow::Cow;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::Device;
use dmp_model::checkpoint::torch::TorchFile;
use dmp_model::checkpoint::{
    AdditionKind, BackboneFile, Hints, TensorFile, describes_itself, load_backbone,
};
use dmp_model::dit::DitConfig;

use super::diffusers;
use crate::data::demo;
use crate::hub;

/// Opens a backbone: `demo`, a `.safetensors` file or a PyTorch checkpoint (with its sizes in its metadata or in
/// its shapes; a `config.json` beside it gives what those do not say), a folder (a run directory) with
/// `backbone.safetensors` or just one such file in it, one that diffusers wrote, or `owner/name` of one on the hub.
pub fn open_backbone(name: &str, device: &Device) -> Result<BackboneFile> {
    if name == "demo" {
        return Ok(load_backbone(
            TensorFile::from_bytes(demo::BACKBONE)?,
            None,
            device,
        )?);
    }
    let path = local("model", Path::new(name))?;
    let path = path.as_ref();
    if diffusers::is_one(path) {
        return diffusers::open(path, device).with_context(|| format!("model {name}"));
    }
    let path = if path.is_dir() {
        backbone_in(path)
    } else {
        path.to_owned()
    };
    let shown = path.display().to_string();
    let bytes = fs::read(&path).with_context(|| {
        format!(
            "model {shown}: cannot be read; give 'demo', a .safetensors or .pt file, a run directory, a folder that diffusers wrote, or \
             owner/name of a model on the hub"
        )
    })?;
    let file = tensors(bytes).with_context(|| format!("model {shown}"))?;
    anyhow::ensure!(
        AdditionKind::of(&file).is_none(),
        "model {shown}: this is a patch or a LoRA; give it with --patch, and its backbone with --model"
    );
    // Files of other programs do not say their sizes; what shapes do not say, a config.json beside them may.
    let config = if describes_itself(&file) {
        None
    } else {
        let hints = hints(&path.with_file_name("config.json"))?;
        Some(DitConfig::infer(&file.tensors, &hints).with_context(|| format!("model {shown}"))?)
    };
    load_backbone(file, config.as_ref(), device).with_context(|| format!("model {shown}"))
}

/// What is here, or the copy of what is on the hub.
pub(super) fn local<'a>(kind: &str, name: &'a Path) -> Result<Cow<'a, Path>> {
    Ok(hub::resolve(kind, name)?.map_or(Cow::Borrowed(name), Cow::Owned))
}

/// The file of a backbone in a folder: ours, or the only one there.
fn backbone_in(folder: &Path) -> PathBuf {
    let ours = folder.join("backbone.safetensors");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let weights = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        matches!(ending, Some("safetensors" | "pt" | "pth" | "bin" | "ckpt"))
    };
    let files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(weights).collect();
    match &files[..] {
        [only] if !ours.exists() => only.clone(),
        _ => ours,
    }
}

fn hints(path: &Path) -> Result<Hints> {
    match fs::read(path) {
        Ok(json) => serde_json::from_slice(&json)
            .with_context(|| format!("{}: cannot be understood", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Hints::default()),
        Err(error) => Err(error)
            .with_context(|| format!("{}: cannot be read; check its permissions", path.display())),
    }
}

/// The tensors of a safetensors file or of a PyTorch one. Of a training checkpoint, `{model, ema, …}`, the average is
/// taken; of a wrapped model, names without the wrapper's.
pub(super) fn tensors(bytes: Vec<u8>) -> Result<TensorFile> {
    if !TorchFile::is_one(&bytes) {
        return Ok(TensorFile::from_bytes(&bytes)?);
    }
    let file = TorchFile::from_bytes(bytes)?;
    let names = file.names();
    let part = ["ema", "model", "state_dict"]
        .into_iter()
        .find(|part| names.iter().any(|name| name == part));
    let tensors = file.unwrapped(part)?;
    Ok(TensorFile {
        tensors,
        ..TensorFile::default()
    })
}
