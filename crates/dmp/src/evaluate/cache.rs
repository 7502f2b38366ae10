//! Features of a reference, kept between runs under the hash of what they are of.

use std::path::PathBuf;

use anyhow::{Context, Result};
use dmp_model::checkpoint::{StoredType, TensorFile, hex};
use dmp_model::features::Preprocess;
use sha2::{Digest, Sha256};

use super::extract::Extracted;
use super::weights::cache_folder;
use crate::data::Source;
use crate::output::write_atomic;

/// A place for the features of some files.
pub struct Slot(PathBuf);

impl Slot {
    /// The place for images seen by these weights in this way; `None` where there is no cache folder.
    pub fn of(source: &Source, weights: &str, preprocess: Preprocess) -> Result<Option<Self>> {
        let Some(folder) = cache_folder() else {
            return Ok(None);
        };
        let name = key(source, weights, preprocess)? + ".safetensors";
        Ok(Some(Self(folder.join("features").join(name))))
    }

    /// What is there, if it is whole.
    pub fn read(&self) -> Option<Extracted> {
        let file = TensorFile::from_bytes(&std::fs::read(&self.0).ok()?).ok()?;
        Extracted::from_tensors(file.tensors).filter(Extracted::is_whole)
    }

    /// Keeps features. A cache that cannot be written is no reason to fail.
    pub fn write(&self, extracted: &Extracted) {
        let file = TensorFile {
            tensors: extracted.tensors(),
            ..TensorFile::default()
        };
        let written = || -> Result<()> {
            if let Some(folder) = self.0.parent() {
                std::fs::create_dir_all(folder)?;
            }
            Ok(write_atomic(&self.0, &file.to_bytes(StoredType::F32)?)?)
        };
        if let Err(error) = written() {
            tracing::warn!("features are not kept for the next run: {error:#}");
        }
    }
}

/// The hash of images in their order, and of how they are seen.
fn key(source: &Source, weights: &str, preprocess: Preprocess) -> Result<String> {
    let mut hasher = Sha256::new();
    hasher.update(weights);
    hasher.update(preprocess.name());
    for (index, item) in source.items().iter().enumerate() {
        let unreadable = || format!("{}: cannot be read as an image; remove it", item.name);
        let content = source.content(index).with_context(unreadable)?;
        hasher.update(content.sha256());
    }
    Ok(hex(&hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What a folder's features are kept under changes with its images, and not with what else lies there.
    #[test]
    fn the_key_is_of_the_images_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let key = || {
            let source = Source::open(&folder.path().display().to_string()).unwrap();
            key(&source, "weights", Preprocess::TorchFidelity).unwrap()
        };
        fs::write(at("1.png"), "one").unwrap();
        fs::write(at("2.png"), "two").unwrap();
        let both = key();
        fs::write(at("notes.md"), "of no image").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(at("gone"), at("link")).unwrap();
        assert_eq!(key(), both);
        // No image by its name now.
        fs::rename(at("2.png"), at("2.png.bak")).unwrap();
        assert_ne!(key(), both);
    }
}
