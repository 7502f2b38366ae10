//! Fashion-MNIST as published: four gzipped IDX files, checked against their SHA-256.

use std::{fs::File, io::Read, path::Path};

use anyhow::{Context, Result, ensure};
use dmp_model::checkpoint::hex;
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

/// Pixels of an image, 28 × 28.
pub const PIXELS: usize = 28 * 28;
/// Classes.
pub const CLASSES: usize = 10;

/// Images with their labels.
pub struct Labelled {
    /// `[count, 28, 28]`, 0 = background.
    pub images: Vec<u8>,
    /// `[count]`, 0 … 9.
    pub labels: Vec<u8>,
}

impl Labelled {
    /// Image `index`, `[28, 28]`.
    pub fn image(&self, index: usize) -> &[u8] {
        &self.images[index * PIXELS..][..PIXELS]
    }

    /// Indices of the images of `class`, in the published order.
    pub fn of_class(&self, class: usize) -> impl Iterator<Item = usize> {
        (0..self.labels.len()).filter(move |&index| usize::from(self.labels[index]) == class)
    }
}

/// The 60 000 training images.
pub fn train(folder: &Path) -> Result<Labelled> {
    Ok(Labelled {
        images: idx(
            &folder.join("train-images-idx3-ubyte.gz"),
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            16,
        )?,
        labels: idx(
            &folder.join("train-labels-idx1-ubyte.gz"),
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            8,
        )?,
    })
}

/// The 10 000 test images.
pub fn test(folder: &Path) -> Result<Labelled> {
    Ok(Labelled {
        images: idx(
            &folder.join("t10k-images-idx3-ubyte.gz"),
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            16,
        )?,
        labels: idx(
            &folder.join("t10k-labels-idx1-ubyte.gz"),
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            8,
        )?,
    })
}

/// The bytes after an IDX file's header, which the hash makes known: there is nothing to parse.
fn idx(path: &Path, sha256: &str, header: usize) -> Result<Vec<u8>> {
    let file = File::open(path).with_context(|| {
        format!(
            "cannot open {}; install Debian's dataset-fashion-mnist, or unpack it and pass --source",
            path.display()
        )
    })?;
    let mut bytes = Vec::new();
    GzDecoder::new(file)
        .read_to_end(&mut bytes)
        .with_context(|| format!("{} is no gzip file", path.display()))?;
    let found = hex(&Sha256::digest(&bytes));
    ensure!(
        found == sha256,
        "{} holds other bytes than Fashion-MNIST: SHA-256 {found}, not {sha256}",
        path.display()
    );
    Ok(bytes.split_off(header))
}
