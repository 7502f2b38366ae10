//! The file of feature statistics that Fréchet distances are measured against.
//!
//! One safetensors file holds the mean `[d]`, covariance `[d, d]` and count `[]` of several sets of images,
//! named `<split>.mean`, `<split>.covariance` (f64) and `<split>.count` (u64). Its metadata name the feature
//! network they belong to, because distances between features of two networks mean nothing.

use std::collections::HashMap;
use std::fmt;

use dmp_math::moments::{Gaussian, MomentsError};
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView, serialize};
use thiserror::Error;

pub mod by_class;

/// Metadata key of the SHA-256 of the feature network's file, in hexadecimal.
const NETWORK_KEY: &str = "dmp.features_sha256";

/// Which images statistics are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Fashion-MNIST's 10 000 test images: what results are reported against.
    HeldOut,
    /// 10 000 training images that are not embedded, 1 000 a class: what settings are chosen with.
    Validation,
    /// The 20 000 embedded images themselves: tells memorising from generalising.
    Train,
}

impl Split {
    /// All splits, in the order of the file.
    pub const ALL: [Self; 3] = [Self::HeldOut, Self::Validation, Self::Train];

    /// Prefix of the split's tensors.
    fn key(self) -> &'static str {
        match self {
            Self::HeldOut => "held_out",
            Self::Validation => "validation",
            Self::Train => "train",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key().replace('_', "-"))
    }
}

/// Why a file gives no statistics.
#[derive(Debug, Error)]
pub enum StatisticsError {
    /// The bytes are no safetensors file.
    #[error(
        "the feature statistics are no safetensors file; \
         rebuild them with `cargo xtask assets statistics`"
    )]
    Format(#[source] SafeTensorError),
    /// A tensor is missing.
    #[error(
        "the feature statistics have no `{name}`; rebuild them with `cargo xtask assets statistics`"
    )]
    Missing {
        /// Which tensor.
        name: String,
    },
    /// A tensor has another shape or type.
    #[error("`{name}` of the feature statistics is {found}, not {expected}")]
    Misshapen {
        /// Which tensor.
        name: String,
        /// Type and shape found.
        found: String,
        /// Type and shape expected.
        expected: String,
    },
    /// The statistics are of another network's features.
    #[error(
        "the feature statistics belong to feature network {found}, not {expected}; \
         rebuild them with `cargo xtask assets statistics`"
    )]
    Network {
        /// SHA-256 in the file, or "unknown".
        found: String,
        /// SHA-256 of the network at hand.
        expected: String,
    },
    /// Statistics of single classes do not go together.
    #[error("the feature statistics of single classes do not go together")]
    Moments(#[from] MomentsError),
}

/// Reads the statistics of `split` in the features of the network whose file has this SHA-256.
///
/// # Errors
/// When the bytes are no such file, tensors are missing or misshapen, or the network is another.
pub fn read(bytes: &[u8], split: Split, network_sha256: &str) -> Result<Gaussian, StatisticsError> {
    let file = opened(bytes, network_sha256)?;
    let dim = tensor(&file, split, "mean")?.shape().iter().product();
    let count = words(&file, split, "count", Dtype::U64, &[])?;
    let mean = words(&file, split, "mean", Dtype::F64, &[dim])?;
    let covariance = words(&file, split, "covariance", Dtype::F64, &[dim, dim])?;
    Ok(Gaussian {
        count: count
            .iter()
            .map(|&word| u64::from_le_bytes(word) as usize)
            .sum(),
        mean: mean.iter().map(|&word| f64::from_le_bytes(word)).collect(),
        covariance: covariance
            .iter()
            .map(|&word| f64::from_le_bytes(word))
            .collect(),
    })
}

/// The tensors of a file that belongs to this network.
fn opened<'file>(
    bytes: &'file [u8],
    network_sha256: &str,
) -> Result<SafeTensors<'file>, StatisticsError> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(StatisticsError::Format)?;
    let found = (metadata.metadata().as_ref()).and_then(|pairs| pairs.get(NETWORK_KEY));
    if found.is_none_or(|found| found != network_sha256) {
        return Err(StatisticsError::Network {
            found: found.map_or_else(|| "unknown".to_owned(), Clone::clone),
            expected: network_sha256.to_owned(),
        });
    }
    SafeTensors::deserialize(bytes).map_err(StatisticsError::Format)
}

/// The file of these statistics, in the features of the network whose file has this SHA-256.
///
/// # Errors
/// When a Gaussian's mean or covariance is not as long as the other says.
pub fn write(
    splits: &[(Split, Gaussian)],
    network_sha256: &str,
) -> Result<Vec<u8>, StatisticsError> {
    let mut tensors: Vec<Stored> = Vec::new();
    for (split, gaussian) in splits {
        let dim = gaussian.mean.len();
        let mut push = |field: &str, dtype, shape, bytes| {
            tensors.push((name(*split, field), dtype, shape, bytes));
        };
        push(
            "count",
            Dtype::U64,
            vec![],
            (gaussian.count as u64).to_le_bytes().to_vec(),
        );
        push("mean", Dtype::F64, vec![dim], to_bytes(&gaussian.mean));
        push(
            "covariance",
            Dtype::F64,
            vec![dim, dim],
            to_bytes(&gaussian.covariance),
        );
    }
    encoded(&tensors, network_sha256)
}

/// Name, type, shape and bytes of a tensor.
type Stored = (String, Dtype, Vec<usize>, Vec<u8>);

fn encoded(tensors: &[Stored], network_sha256: &str) -> Result<Vec<u8>, StatisticsError> {
    let views = (tensors.iter())
        .map(|(name, dtype, shape, bytes)| {
            Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(StatisticsError::Format)?;
    let metadata = HashMap::from([(NETWORK_KEY.to_owned(), network_sha256.to_owned())]);
    serialize(views, Some(metadata)).map_err(StatisticsError::Format)
}

fn name(split: Split, field: &str) -> String {
    format!("{}.{field}", split.key())
}

fn to_bytes(values: &[f64]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn tensor<'file>(
    file: &SafeTensors<'file>,
    split: Split,
    field: &str,
) -> Result<TensorView<'file>, StatisticsError> {
    let name = name(split, field);
    (file.tensor(&name)).map_err(|_| StatisticsError::Missing { name })
}

/// The bytes of each value, once type and shape are right.
fn words<'file, const BYTES: usize>(
    file: &SafeTensors<'file>,
    split: Split,
    field: &str,
    dtype: Dtype,
    shape: &[usize],
) -> Result<&'file [[u8; BYTES]], StatisticsError> {
    let view = tensor(file, split, field)?;
    if view.dtype() != dtype || view.shape() != shape {
        return Err(StatisticsError::Misshapen {
            name: name(split, field),
            found: format!("{:?} {:?}", view.dtype(), view.shape()),
            expected: format!("{dtype:?} {shape:?}"),
        });
    }
    Ok(view.data().as_chunks().0)
}

#[cfg(test)]
mod tests;
