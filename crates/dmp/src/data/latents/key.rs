//! The names of shards.

use anyhow::Result;
use dmp_model::checkpoint::hex;
use sha2::{Digest, Sha256};

use super::Request;
use crate::data::source::Content;

/// Hash of all that decides a shard.
pub(super) struct Key(Sha256);

impl Key {
    /// Of no images yet, which become the autoencoder's input in this way.
    pub(super) fn new(request: &Request<'_>, preprocessing: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(request.vae_sha256);
        let settings = [request.side, request.tile, request.vae.config().in_channels];
        hasher.update(format!("{preprocessing} {settings:?}"));
        Self(hasher)
    }

    /// An image, or that it cannot be read.
    pub(super) fn add(&mut self, content: &Result<Content>, label: u32) {
        let content = content.as_ref().map(Content::sha256);
        self.0.update(content.unwrap_or_default());
        self.0.update(label.to_le_bytes());
    }

    /// The name.
    pub(super) fn finish(self) -> String {
        hex(&self.0.finalize())[..32].to_owned()
    }
}
