//! Features of a reference, kept between runs under the hash of what they are of.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Result;
use dmp_model::checkpoint::{StoredType, TensorFile, hex};
use dmp_model::features::Preprocess;
use sha2::{Digest, Sha256};

use super::extract::Extracted;
use super::weights::cache_folder;
use crate::output::write_atomic;

/// A place for the features of some files.
pub struct Slot(PathBuf);

impl Slot {
    /// The place for the files at `path` (one, or all in a folder), seen by these weights in this way; `None` where
    /// there is no cache folder.
    pub fn of(path: &Path, weights: &str, preprocess: Preprocess) -> Result<Option<Self>> {
        let Some(folder) = cache_folder() else {
            return Ok(None);
        };
        let mut hasher = Sha256::new();
        hasher.update(weights);
        hasher.update(preprocess.name());
        hash(path, &mut hasher)?;
        let name = hex(&hasher.finalize()) + ".safetensors";
        Ok(Some(Self(folder.join("features").join(name))))
    }

    /// What is there, if it is whole.
    pub fn read(&self) -> Option<Extracted> {
        let file = TensorFile::from_bytes(&std::fs::read(&self.0).ok()?).ok()?;
        Extracted::from_tensors(file.tensors)
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

/// Adds the contents of a file, or of everything in a folder in the order of names.
pub fn hash(path: &Path, hasher: &mut Sha256) -> Result<()> {
    if path.is_dir() {
        let mut inside: Vec<PathBuf> = std::fs::read_dir(path)?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        inside.sort();
        return inside.iter().try_for_each(|path| hash(path, hasher));
    }
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    hasher.update(length.to_le_bytes());
    let mut block = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            return Ok(());
        }
        hasher.update(&block[..read]);
    }
}
