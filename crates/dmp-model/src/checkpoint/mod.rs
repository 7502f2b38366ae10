//! Tensors on disk: safetensors files, strict loading, fingerprints, and the backbone's and the patch's formats.

mod backbone;
mod file;
mod infer;
mod module;
mod patch;
mod schedule;
pub mod torch;

pub use backbone::{BackboneFile, backbone_bytes, describes_itself, load_backbone};
pub use file::{FileError, HostTensor, StoredType, TensorFile, Tensors, fingerprint};
pub use infer::InferError;
pub use module::{Mismatch, apply, collect};
pub use patch::{PatchFile, PatchMetadata, load_patch, patch_bytes};

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
    /// The described sizes cannot be built.
    #[error(transparent)]
    Backbone(#[from] crate::dit::ConfigError),
    /// The sizes are neither described nor to be read off.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// The patch does not fit the backbone.
    #[error(transparent)]
    Patch(#[from] crate::patch::PatchConfigError),
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
