//! One file of latents.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use dmp_model::checkpoint::{HostTensor, StoredType, TensorFile, Tensors, fingerprint, hex};
use sha2::{Digest, Sha256};

use crate::data::{ImageShape, Latents};
use crate::output::write_atomic;

/// Metadata key: places, among the images of the shard, of those that could not be read, as a JSON array.
const BAD: &str = "dmp.unreadable";

/// Metadata key: SHA-256 of the rest.
const SUM: &str = "dmp.sha256";

/// The latents of some images.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Shard {
    pub(super) latents: Latents,
    pub(super) labels: Vec<u32>,
    /// Places of images that could not be read and are not among them.
    pub(super) bad: Vec<usize>,
}

/// Writes a shard of latents of this shape.
pub(super) fn write(path: &Path, shard: &Shard, shape: ImageShape) -> Result<()> {
    let count = shard.labels.len();
    let dims = vec![count, 2, shape.channels, shape.height, shape.width];
    let gaussian = |values: &Vec<f32>| HostTensor {
        shape: dims.clone(),
        values: values.clone(),
    };
    let labels = HostTensor {
        shape: vec![count],
        // Classes are far fewer than what f32 counts exactly.
        values: shard.labels.iter().map(|&label| label as f32).collect(),
    };
    let tensors = Tensors::from([
        ("mean".to_owned(), gaussian(&shard.latents.mean)),
        ("std".to_owned(), gaussian(&shard.latents.std)),
        ("labels".to_owned(), labels),
    ]);
    let bad = serde_json::to_string(&shard.bad)?;
    let sum = sum(&tensors, &bad);
    let file = TensorFile {
        tensors,
        metadata: [(BAD.to_owned(), bad), (SUM.to_owned(), sum)].into(),
    };
    Ok(write_atomic(path, &file.to_bytes(StoredType::F32)?)?)
}

fn sum(tensors: &Tensors, bad: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(bad);
    hasher.update(fingerprint(tensors));
    hex(&hasher.finalize())
}

/// Reads one, strictly.
pub(super) fn read(path: &Path, shape: ImageShape) -> Result<Shard> {
    let shown = path.display();
    let bytes = fs::read(path)
        .with_context(|| format!("{shown}: cannot be read; run 'dmp cache' again"))?;
    let TensorFile {
        mut tensors,
        metadata,
    } = TensorFile::from_bytes(&bytes).with_context(|| format!("{shown}"))?;
    let said = |key: &str| {
        metadata
            .get(key)
            .with_context(|| format!("{shown}: has no '{key}'; run 'dmp cache' again"))
    };
    let bad = said(BAD)?;
    ensure!(
        *said(SUM)? == sum(&tensors, bad),
        "{shown}: is damaged; run 'dmp cache' again"
    );
    let mut take = |name: &str| {
        tensors
            .remove(name)
            .with_context(|| format!("{shown}: has no tensor '{name}'; run 'dmp cache' again"))
    };
    let (mean, std, labels) = (take("mean")?, take("std")?, take("labels")?);
    let wanted = [
        labels.values.len(),
        2,
        shape.channels,
        shape.height,
        shape.width,
    ];
    for tensor in [&mean, &std] {
        ensure!(
            tensor.shape == wanted,
            "{shown}: latents of shape {:?} where {wanted:?} is said; run 'dmp cache' again",
            tensor.shape
        );
    }
    Ok(Shard {
        latents: Latents {
            mean: mean.values,
            std: std.values,
        },
        labels: labels.values.iter().map(|&label| label as u32).collect(),
        bad: serde_json::from_str(bad).with_context(|| format!("{shown}: {BAD}"))?,
    })
}
