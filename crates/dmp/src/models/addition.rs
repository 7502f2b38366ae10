//! What is put on a backbone, from its file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use dmp_model::checkpoint::torch::TorchFile;
use dmp_model::checkpoint::{
    AdditionKind, BakedFile, LoraFile, PatchFile, PatchMetadata, TensorFile, describes_itself, hex,
    load_baked, load_lora, load_patch,
};
use sha2::{Digest, Sha256};

use super::backbone::local;
use crate::digest;
use crate::flags;

/// How a patch or a LoRA is used, where not as it was trained.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PatchUse {
    /// How strongly it acts: 0 is the bare backbone, 1 as it was trained.
    pub scale: Option<f64>,
    /// The timestep below which it acts; 1000 is at all of them.
    pub below: Option<usize>,
}

impl PatchUse {
    /// Refuses what would be of a patch, where there is none.
    pub fn ensure_unasked(self) -> Result<()> {
        ensure!(
            self.scale.is_none(),
            "--patch-scale: there is no patch or LoRA whose strength it could be; leave the flag out"
        );
        ensure!(
            self.below.is_none(),
            "--patch-below: there is no patch or LoRA that it could limit; leave the flag out"
        );
        Ok(())
    }
}

/// What a file given with `--patch` holds.
#[derive(Debug, Clone)]
pub enum Addition {
    /// Prompts and a gate.
    Patch(Box<PatchFile>),
    /// Low-rank changes of the backbone's weights.
    Lora(Box<LoraFile>),
    /// What a patch comes to at each step of one sampler.
    Baked(Box<BakedFile>),
}

impl Addition {
    /// The same, used so.
    ///
    /// # Errors
    /// Of a patch with extra tokens, and where a baked one is to be limited.
    pub fn used(self, used: PatchUse) -> Result<Self> {
        let PatchUse { scale, below } = used;
        let below = below.map(flags::limit);
        Ok(match self {
            Self::Patch(mut file) => {
                if let Some(scale) = scale {
                    file.patch = file.patch.scaled(scale)?;
                }
                if let Some(below) = below {
                    file.patch = file.patch.acting_below(below)?;
                }
                Self::Patch(file)
            }
            Self::Lora(mut file) => {
                if let Some(scale) = scale {
                    file.lora = file.lora.scaled(scale);
                }
                if let Some(below) = below {
                    file.lora = file.lora.acting_below(below)?;
                }
                Self::Lora(file)
            }
            Self::Baked(mut file) => {
                if let Some(scale) = scale {
                    file.steps = file.steps.scaled(scale)?;
                }
                ensure!(
                    below.is_none(),
                    "--patch-below: a baked patch has its limit already; leave the flag out"
                );
                Self::Baked(file)
            }
        })
    }

    /// What the file says of itself.
    pub fn metadata(&self) -> &PatchMetadata {
        match self {
            Self::Patch(file) => &file.metadata,
            Self::Lora(file) => &file.metadata,
            Self::Baked(file) => &file.metadata,
        }
    }
}

/// Opens the file of a patch or a LoRA, the one in a run directory, or that of `owner/name` on the hub; its metadata say
/// which it is.
pub fn open_addition(path: &Path, device: &Device) -> Result<Addition> {
    let given = local("patch", path)?;
    let path = addition_path(&given);
    if let Some(folder) = peft_folder(&given).filter(|_| path == given || !path.exists()) {
        let folder = folder.display();
        bail!(
            "patch {folder}: this is a LoRA as PEFT keeps it; make one of it that can be given here: 'dmp convert {folder} --model \
             MODEL --out lora.safetensors', with --schedule where the model does not say its own"
        );
    }
    let shown = || format!("patch {}", path.display());
    ensure!(
        path.exists() || !given.join("backbone.safetensors").is_file(),
        "patch {}: {WHOLE}",
        given.display()
    );
    let bytes = fs::read(&path).with_context(|| {
        format!(
            "{}: cannot be read; give a patch.safetensors or lora.safetensors made by 'dmp train', or its run directory",
            shown()
        )
    })?;
    ensure!(
        !TorchFile::is_one(&bytes),
        "{}: is a PyTorch file; make a patch of a checkpoint of the public code with 'dmp convert', or give a backbone with --model",
        shown()
    );
    let file = TensorFile::from_bytes(&bytes).with_context(shown)?;
    let kind = AdditionKind::of(&file);
    ensure!(
        kind.is_some() || !describes_itself(&file),
        "{}: {WHOLE}",
        shown()
    );
    Ok(match kind {
        Some(AdditionKind::Lora) => {
            Addition::Lora(Box::new(load_lora(file, device).with_context(shown)?))
        }
        Some(AdditionKind::Baked) => {
            Addition::Baked(Box::new(load_baked(file, device).with_context(shown)?))
        }
        // What is neither is refused as a patch.
        _ => Addition::Patch(Box::new(load_patch(file, device).with_context(shown)?)),
    })
}

/// What is no addition to a model.
const WHOLE: &str =
    "this is a backbone, as full fine-tuning and 'dmp pretrain' make one; give it with --model";

/// SHA-256 of the file that [`open_addition`] opens.
///
/// # Errors
/// When it cannot be read.
pub fn addition_sha256(path: &Path) -> Result<String> {
    let path = addition_path(&local("patch", path)?);
    let mut hasher = Sha256::new();
    digest::add_file(&mut hasher, &path)
        .with_context(|| format!("patch {}: cannot be read", path.display()))?;
    Ok(hex(&hasher.finalize()))
}

/// Whether a file says that it is a patch or a LoRA, or holds one as a run directory. What cannot be read says nothing.
pub fn is_addition(path: &Path) -> bool {
    (local("patch", path).ok())
        .and_then(|path| fs::read(addition_path(&path)).ok())
        .and_then(|bytes| TensorFile::from_bytes(&bytes).ok())
        .is_some_and(|file| AdditionKind::of(&file).is_some())
}

/// The file of the two that PEFT keeps a LoRA in which has its tensors.
pub const PEFT_TENSORS: &str = "adapter_model.safetensors";
/// The one that has its settings.
pub const PEFT_CONFIG: &str = "adapter_config.json";

/// The folder of a LoRA of PEFT's, if `path` is one or the file of tensors in one.
pub fn peft_folder(path: &Path) -> Option<PathBuf> {
    let folder = match path.file_name() {
        Some(name) if name == PEFT_TENSORS => path.parent()?.to_owned(),
        _ => path.to_owned(),
    };
    folder.join(PEFT_CONFIG).is_file().then_some(folder)
}

/// The file of a patch or a LoRA: of a run directory, the one in it.
pub fn addition_path(path: &Path) -> PathBuf {
    if !path.is_dir() {
        return path.to_owned();
    }
    let names = ["patch.safetensors", "lora.safetensors", "baked.safetensors"];
    let [patch, others @ ..] = names.map(|name| path.join(name));
    if patch.exists() {
        return patch;
    }
    others
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or(patch)
}
