//! Folders as diffusers writes them: a pipeline (`model_index.json` with `transformer/`, `vae/`, `scheduler/`) or one of its
//! parts, whole or in shards, as safetensors or as PyTorch files.

mod scheduler;
mod weights;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use dmp_model::checkpoint::{
    BackboneFile, DiffusersDit, TensorFile, fingerprint, from_diffusers, hex, load_backbone,
};
use dmp_model::vae::{Vae, VaeConfig};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::backbone::local;
use scheduler::schedule;
use weights::weights;

/// Whether a folder is such a one, and no run directory of ours.
pub(super) fn is_one(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    folder.is_dir()
        && !has("backbone.safetensors")
        && (has("model_index.json") || has("transformer/config.json") || is_part(folder))
}

/// Whether a folder's `config.json` is diffusers': it says so, or weights beside it are called as theirs are. Beside a
/// checkpoint of another kind it says sizes.
fn is_part(folder: &Path) -> bool {
    let Ok(text) = fs::read(folder.join("config.json")) else {
        return false;
    };
    let said: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let class = said.get("_class_name").is_some();
    class
        || fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| {
                let name = entry.file_name();
                name.as_encoded_bytes()
                    .starts_with(b"diffusion_pytorch_model.")
                    || name
                        .as_encoded_bytes()
                        .starts_with(b"diffusion_pytorch_model-")
            })
}

/// The folder of a part of a pipeline, or the folder itself if it is that part.
fn part(folder: &Path, name: &str) -> PathBuf {
    let inside = folder.join(name);
    if inside.is_dir() {
        inside
    } else {
        folder.to_owned()
    }
}

/// Opens the DiT in a folder.
pub(super) fn open(folder: &Path, device: &Device) -> Result<BackboneFile> {
    let transformer = part(folder, "transformer");
    let config: DiffusersDit = json(&transformer.join("config.json"))?;
    let shown = || transformer.display().to_string();
    let sizes = config.sizes().with_context(shown)?;
    sizes.validate().with_context(shown)?;
    let found = weights(&transformer)?;
    let file = TensorFile {
        tensors: from_diffusers(&sizes, found, device).with_context(shown)?,
        ..TensorFile::default()
    };
    let file = load_backbone(file, Some(&sizes), device).with_context(shown)?;
    Ok(BackboneFile {
        schedule: schedule(folder)?,
        ..file
    })
}

/// Opens the autoencoder in a folder, or that of `owner/name` on the hub.
///
/// # Errors
/// When it is not there, or not whole.
pub fn open_vae(folder: &Path, device: &Device) -> Result<VaeFile> {
    let here = part(&local("autoencoder", folder)?, "vae");
    ensure!(
        !here.join("model_index.json").is_file(),
        "autoencoder {}: this pipeline has no vae/; give the folder of an AutoencoderKL",
        folder.display()
    );
    autoencoder(&here, device).with_context(|| format!("autoencoder {}", folder.display()))
}

fn autoencoder(folder: &Path, device: &Device) -> Result<VaeFile> {
    let config: VaeConfig = json(&folder.join("config.json"))?;
    let found = weights(folder)?;
    let mut hasher = Sha256::new();
    hasher.update(serde_json::to_string(&config)?);
    hasher.update(fingerprint(&found));
    let vae = Vae::load(&config, found, device).with_context(|| folder.display().to_string())?;
    let sha256 = hex(&hasher.finalize());
    Ok(VaeFile { vae, sha256 })
}

/// An autoencoder read from a folder.
pub struct VaeFile {
    /// The network.
    pub vae: Vae,
    /// SHA-256 of its configuration and tensors.
    pub sha256: String,
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let shown = path.display();
    let text = fs::read(path).with_context(|| {
        format!("{shown}: cannot be read; give a folder that diffusers' save_pretrained wrote")
    })?;
    serde_json::from_slice(&text).with_context(|| format!("{shown}: cannot be understood"))
}

#[cfg(test)]
pub(super) mod tests {
    use dmp_model::denoiser::Denoiser;

    use super::*;

    /// What the exporter wrote for the tests of `dmp-model`.
    pub(super) fn exported(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../dmp-model/tests/diffusers")
            .join(name)
    }

    /// A copy of it that may be changed.
    pub(super) fn copied() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("transformer")).unwrap();
        for entry in fs::read_dir(exported("dit/transformer")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(
                entry.path(),
                folder.path().join("transformer").join(entry.file_name()),
            )
            .unwrap();
        }
        folder
    }

    #[test]
    fn a_sharded_pipeline_is_a_backbone_and_its_transformer_alone_too() {
        let device = Device::flex();
        let whole =
            super::super::open_backbone(exported("dit").to_str().unwrap(), &device).unwrap();
        assert_eq!(whole.model.layout().channels, 4);
        assert_eq!(whole.schedule, None);
        let alone = exported("dit/transformer");
        let alone = super::super::open_backbone(alone.to_str().unwrap(), &device).unwrap();
        assert_eq!(alone.fingerprint, whole.fingerprint);
        assert_eq!(
            open_vae(&exported("vae"), &device)
                .unwrap()
                .vae
                .config()
                .latent_channels,
            4
        );
    }

    #[test]
    fn hints_beside_a_checkpoint_are_no_folder_of_diffusers() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("config.json", r#"{"num_heads": 4}"#);
        write("0001.pt", "");
        assert!(!is_one(folder.path()));
        write("diffusion_pytorch_model.bin", "");
        assert!(is_one(folder.path()));
        fs::remove_file(folder.path().join("diffusion_pytorch_model.bin")).unwrap();
        write("config.json", r#"{"_class_name": "DiTTransformer2DModel"}"#);
        assert!(is_one(folder.path()));
    }
}
