//! A folder of latents: what an autoencoder says of images, computed once.
//!
//! `latents.json` says of what they are and in which shards they lie. A shard is a safetensors file named by the hash of all
//! that decides it: the images' contents and labels, the autoencoder, the preprocessing. What has changed is under another
//! name, so that nothing old is ever taken for it.

mod build;
mod captions;
mod key;
mod shard;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

pub use build::{Part, Request, build};

use super::source::{is_there, signature};
use super::{Dataset, ImageShape, Latents};
use crate::memory::ensure_fits;
use crate::output::{is_same_place, write_atomic};

/// The file that says what is there.
const INDEX: &str = "latents.json";

/// What a folder of latents holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    /// Of the autoencoder's weights and scale.
    vae_sha256: String,
    /// How images became its input.
    preprocessing: String,
    /// Channels, height and width of a latent.
    shape: [usize; 3],
    /// Classes.
    classes: usize,
    /// Images.
    images: usize,
    /// What the images lie in.
    source: String,
    /// Of its files' names, lengths and times.
    source_signature: String,
    /// Of `captions.jsonl`, if the images have captions.
    #[serde(default)]
    captions_sha256: Option<String>,
    /// Files, in the images' order.
    shards: Vec<String>,
}

/// Whether a folder is one of latents.
pub(super) fn is_one(folder: &Path) -> bool {
    folder.join(INDEX).is_file()
}

/// Reads all latents of a folder.
///
/// # Errors
/// When a shard is missing or not of the shape that the folder says, or the images it was made of have changed since.
pub(super) fn open(folder: &Path) -> Result<Dataset> {
    let path = folder.join(INDEX);
    let shown = path.display();
    let index = Index::read(&path)?;
    // Where the images are no longer, or were moved, the latents do without.
    if is_there(&index.source)? {
        let now = signature(&index.source).with_context(|| {
            format!(
                "{}: whether its images have changed cannot be told; mend what they lie in, or move it away",
                folder.display()
            )
        })?;
        ensure!(
            now == index.source_signature,
            "{}: the images in {} are not those that these latents were made of; run 'dmp cache' again, which computes \
             what has changed",
            folder.display(),
            index.source
        );
    }
    ensure!(
        index.images > 0,
        "{}: holds no latents; run 'dmp cache' again",
        folder.display()
    );
    if let Some(sha256) = &index.captions_sha256 {
        captions::check(folder, sha256)?;
    }
    let [channels, height, width] = index.shape;
    let shape = ImageShape {
        channels,
        height,
        width,
    };
    let bytes = 16 * index.images as u128 * shape.len() as u128;
    ensure_fits(
        &format!("{}", folder.display()),
        bytes,
        "give fewer images, or a machine with more",
    )?;
    let (mut latents, mut labels) = (Latents::default(), Vec::new());
    for name in &index.shards {
        let part = shard::read(&folder.join(name), shape)?;
        latents.mean.extend(part.latents.mean);
        latents.std.extend(part.latents.std);
        labels.extend(part.labels);
    }
    ensure!(
        labels.len() == index.images,
        "{}: {} latents are there, and {shown} says {}; run 'dmp cache' again",
        folder.display(),
        labels.len(),
        index.images
    );
    Ok(Dataset::of_latents(latents, labels, shape, index.classes)?)
}

impl Index {
    fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = fs::read(path).with_context(|| format!("{shown}: cannot be read"))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{shown}: is not what 'dmp cache' writes; run it again"))
    }

    /// Refuses to replace the latents of a folder by others.
    fn spare(&self, folder: &Path) -> Result<()> {
        // What cannot be understood is made anew, as its own message says.
        let Ok(there) = Self::read(&folder.join(INDEX)) else {
            return Ok(());
        };
        let shown = folder.display();
        let replace = format!("give another folder, or remove {INDEX} there to replace them");
        // Where the images were moved, it may be these.
        let moved = !is_there(&there.source)?;
        ensure!(
            moved || is_same_place(Path::new(&there.source), Path::new(&self.source)),
            "--out {shown}: holds latents of {}, and these are of {}; {replace}",
            there.source,
            self.source
        );
        ensure!(
            there.preprocessing == self.preprocessing,
            "--out {shown}: holds latents of images prepared as {}, and these are {}; {replace}",
            there.preprocessing,
            self.preprocessing
        );
        ensure!(
            there.vae_sha256 == self.vae_sha256,
            "--out {shown}: holds latents of another autoencoder; {replace}"
        );
        Ok(())
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        Ok(write_atomic(&folder.join(INDEX), text.as_bytes())?)
    }
}
