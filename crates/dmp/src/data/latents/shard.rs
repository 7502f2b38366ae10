//! One file of latents.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use dmp_model::checkpoint::{HostTensor, StoredType, TensorFile, Tensors};

use crate::data::{ImageShape, Latents};
use crate::output::write_atomic;

/// Metadata key: images of it that could not be read.
const BAD: &str = "dmp.unreadable";

/// The latents of some images.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Shard {
    pub(super) latents: Latents,
    pub(super) labels: Vec<u32>,
    /// Images that could not be read and are not among them.
    pub(super) bad: usize,
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
    let file = TensorFile {
        tensors: Tensors::from([
            ("mean".to_owned(), gaussian(&shard.latents.mean)),
            ("std".to_owned(), gaussian(&shard.latents.std)),
            ("labels".to_owned(), labels),
        ]),
        metadata: [(BAD.to_owned(), shard.bad.to_string())].into(),
    };
    Ok(write_atomic(path, &file.to_bytes(StoredType::F32)?)?)
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
    let bad = metadata.get(BAD).and_then(|count| count.parse().ok());
    Ok(Shard {
        latents: Latents {
            mean: mean.values,
            std: std.values,
        },
        labels: labels.values.iter().map(|&label| label as u32).collect(),
        bad: bad.with_context(|| format!("{shown}: has no '{BAD}'; run 'dmp cache' again"))?,
    })
}
