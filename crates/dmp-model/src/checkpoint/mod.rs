//! Tensors on disk: safetensors files, strict loading, fingerprints, and the formats of backbone, patch and LoRA.

mod addition;
mod backbone;
mod baked;
mod diffusers;
mod file;
mod infer;
mod lora;
mod module;
mod patch;
mod peft;
mod public;
mod schedule;
pub mod torch;

pub use addition::{AdditionKind, PatchMetadata};
pub use backbone::{BackboneFile, backbone_bytes, describes_itself, load_backbone};
pub use baked::{BakedConfig, BakedFile, baked_bytes, load_baked};
pub use diffusers::{DiffusersDit, DiffusersError, from_diffusers};
pub use file::{FileError, HostTensor, StoredType, TensorFile, Tensors, fingerprint, hex};
pub use infer::{Hints, InferError};
pub use lora::{LoraFile, load_lora, lora_bytes};
pub use module::{Mismatch, apply, collect, hash_values};
pub use patch::{PatchFile, load_patch, patch_bytes};
pub use peft::{PeftError, from_peft, peft_files};
pub use public::{PublicError, PublicPatch, PublicSettings, public_bytes};

/// Why a model or a patch could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Not a readable safetensors file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Tensors are missing, left over or misshapen.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// A description in the file's metadata cannot be understood.
    #[error(
        "metadata key '{key}' is not what this program writes: {reason}; convert or re-export the file"
    )]
    Metadata {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A training that diverged, or a damaged file.
    #[error(
        "tensor '{name}' holds {value}, which is no number to compute with; train again with a lower learning rate, or copy the file again"
    )]
    NotFinite {
        /// The tensor.
        name: String,
        /// What it holds.
        value: f32,
    },
    /// A description of far more than the file holds; built, it could exhaust the memory.
    #[error(
        "what describes it says {described} parameters, the file holds {held}; copy or export it again"
    )]
    Size {
        /// Parameters described.
        described: usize,
        /// Numbers in the file.
        held: usize,
    },
    /// The described sizes cannot be built.
    #[error(transparent)]
    Backbone(#[from] crate::dit::ConfigError),
    /// The sizes are neither described nor to be read off.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// A diffusers folder that holds no DiT, or not a whole one.
    #[error(transparent)]
    Diffusers(#[from] DiffusersError),
    /// The autoencoder cannot be built.
    #[error(transparent)]
    Vae(#[from] crate::vae::VaeConfigError),
    /// The patch does not fit the backbone.
    #[error(transparent)]
    Patch(#[from] crate::patch::PatchConfigError),
    /// The LoRA cannot be built, or does not fit the backbone.
    #[error(transparent)]
    Lora(#[from] crate::lora::LoraConfigError),
    /// The patch was made for another backbone.
    #[error(
        "the patch was trained on another backbone (fingerprint {expected}) than this one ({actual}); give the backbone it was made for"
    )]
    WrongBackbone {
        /// Fingerprint in the patch file, shortened.
        expected: String,
        /// Fingerprint of the backbone at hand, shortened.
        actual: String,
    },
}

/// Refuses a description of much more than `tensors` hold, before it is built. What fits this bound and is wrong all
/// the same is then refused tensor by tensor.
pub(crate) fn check_size(described: usize, tensors: &Tensors) -> Result<(), CheckpointError> {
    match far_fewer(described, tensors) {
        Some(held) => Err(CheckpointError::Size { described, held }),
        None => Ok(()),
    }
}

/// How many parameters `tensors` hold, if those are far fewer than are described.
fn far_fewer(described: usize, tensors: &Tensors) -> Option<usize> {
    let held = tensors.values().map(|tensor| tensor.values.len()).sum();
    (described / 2 > held + (1 << 20)).then_some(held)
}

/// Refuses infinities and what is no number: a model with one in it computes nothing else.
pub(crate) fn check_finite(tensors: &Tensors) -> Result<(), CheckpointError> {
    for (name, tensor) in tensors {
        if let Some(&value) = tensor.values.iter().find(|value| !value.is_finite()) {
            return Err(CheckpointError::NotFinite {
                name: name.clone(),
                value,
            });
        }
    }
    Ok(())
}
