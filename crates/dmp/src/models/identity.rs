//! What a model is, whatever its files are called.

use serde::Serialize;

/// Hashes of what a model is put together of; two with the same ones draw the same images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Fingerprint of the backbone.
    pub backbone_sha256: String,
    /// SHA-256 of the file of the patch or LoRA on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch_sha256: Option<String>,
    /// SHA-256 of the autoencoder's configuration and tensors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vae_sha256: Option<String>,
}
