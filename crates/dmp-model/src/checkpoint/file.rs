//! Named tensors in host memory, and their safetensors form.

use std::collections::BTreeMap;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};

/// A tensor in host memory, f32, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Sizes of the dimensions.
    pub shape: Vec<usize>,
    /// Values, as many as the shape says.
    pub values: Vec<f32>,
}

/// Tensors by name, in the order of their names.
pub type Tensors = BTreeMap<String, HostTensor>;

/// A safetensors file: tensors (widened to f32) and string metadata.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TensorFile {
    /// The tensors.
    pub tensors: Tensors,
    /// `__metadata__` of the header.
    pub metadata: BTreeMap<String, String>,
}

/// Number type on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StoredType {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit IEEE floats.
    F16,
    /// bfloat16.
    Bf16,
}

/// Why bytes could not be read as, or written to, a safetensors file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The container is broken.
    #[error("not a whole safetensors file ({0}); copy or export it again")]
    Container(#[from] safetensors::SafeTensorError),
    /// The header cannot be written.
    #[error("the file's header cannot be written: {0}")]
    Header(serde_json::Error),
    /// A tensor's numbers are of a type that no model here uses.
    #[error("tensor '{name}' is stored as {dtype:?}; store it as F64, F32, F16 or BF16")]
    Type {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: Dtype,
    },
}

impl TensorFile {
    /// Parses a whole file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FileError> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let metadata = header
            .metadata()
            .clone()
            .unwrap_or_default()
            .into_iter()
            .collect();
        let parsed = SafeTensors::deserialize(bytes)?;
        let mut tensors = Tensors::new();
        for (name, view) in parsed.iter() {
            let values = widen(name, &view)?;
            tensors.insert(
                name.to_owned(),
                HostTensor {
                    shape: view.shape().to_vec(),
                    values,
                },
            );
        }
        Ok(Self { tensors, metadata })
    }

    /// The file's bytes, with every tensor stored as `stored`.
    pub fn to_bytes(&self, stored: StoredType) -> Result<Vec<u8>, FileError> {
        let narrowed: Vec<(&String, &[usize], Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, t)| (name, t.shape.as_slice(), narrow(&t.values, stored)))
            .collect();
        let dtype = match stored {
            StoredType::F32 => Dtype::F32,
            StoredType::F16 => Dtype::F16,
            StoredType::Bf16 => Dtype::BF16,
        };
        let views = narrowed
            .iter()
            .map(|(name, shape, bytes)| {
                Ok((
                    name.as_str(),
                    TensorView::new(dtype, shape.to_vec(), bytes)?,
                ))
            })
            .collect::<Result<Vec<_>, FileError>>()?;
        with_metadata(&safetensors::serialize(views, None)?, &self.metadata)
    }
}

/// Puts `metadata` into a file's header, in the order of its keys: the crate's own writer takes a hash map,
/// whose order changes from process to process, and the same tensors must make the same bytes.
fn with_metadata(bytes: &[u8], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>, FileError> {
    let (header, data) = bytes
        .split_first_chunk::<8>()
        .and_then(|(length, rest)| rest.split_at_checked(u64::from_le_bytes(*length) as usize))
        .ok_or(safetensors::SafeTensorError::InvalidHeaderLength)?;
    let mut header: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(header).map_err(FileError::Header)?;
    header.insert(
        "__metadata__".to_owned(),
        metadata
            .iter()
            .map(|(k, v)| (k.clone(), serde_json::Value::from(v.as_str())))
            .collect(),
    );
    let mut header = serde_json::to_vec(&header).map_err(FileError::Header)?;
    // Tensor bytes begin at a multiple of eight.
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok([
        &(header.len() as u64).to_le_bytes(),
        header.as_slice(),
        data,
    ]
    .concat())
}

/// SHA-256, in hexadecimal, of every tensor's name, shape and f32 values, in the order of names: what
/// identifies a backbone whatever file and number type it came in.
pub fn fingerprint(tensors: &Tensors) -> String {
    let mut hasher = Sha256::new();
    for (name, tensor) in tensors {
        hasher.update((name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update((tensor.shape.len() as u64).to_le_bytes());
        tensor
            .shape
            .iter()
            .for_each(|&d| hasher.update((d as u64).to_le_bytes()));
        for chunk in tensor.values.chunks(4096) {
            let bytes: Vec<u8> = chunk.iter().flat_map(|v| v.to_le_bytes()).collect();
            hasher.update(&bytes);
        }
    }
    hex(&hasher.finalize())
}

/// Lower-case hexadecimal, as hashes are written everywhere here.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn widen(name: &str, view: &TensorView<'_>) -> Result<Vec<f32>, FileError> {
    let bytes = view.data();
    Ok(match view.dtype() {
        Dtype::F32 => bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect(),
        Dtype::F16 => bytes
            .chunks_exact(2)
            .map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32())
            .collect(),
        Dtype::BF16 => bytes
            .chunks_exact(2)
            .map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32())
            .collect(),
        Dtype::F64 => bytes
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32)
            .collect(),
        dtype => {
            return Err(FileError::Type {
                name: name.to_owned(),
                dtype,
            });
        }
    })
}

fn narrow(values: &[f32], stored: StoredType) -> Vec<u8> {
    match stored {
        StoredType::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        StoredType::F16 => values
            .iter()
            .flat_map(|v| f16::from_f32(*v).to_le_bytes())
            .collect(),
        StoredType::Bf16 => values
            .iter()
            .flat_map(|v| bf16::from_f32(*v).to_le_bytes())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> TensorFile {
        let tensor = HostTensor {
            shape: vec![2, 2],
            values: vec![0.5, -1.0, 3.0, 0.25],
        };
        TensorFile {
            tensors: Tensors::from([("a".to_owned(), tensor)]),
            metadata: ["format", "b", "c"]
                .map(|key| (key.to_owned(), "pt".to_owned()))
                .into(),
        }
    }

    #[test]
    fn files_round_trip_in_every_type() {
        for stored in [StoredType::F32, StoredType::F16, StoredType::Bf16] {
            let bytes = sample().to_bytes(stored).unwrap();
            assert_eq!(
                TensorFile::from_bytes(&bytes).unwrap(),
                sample(),
                "{stored:?}"
            );
        }
    }

    #[test]
    fn truncated_files_are_refused() {
        let bytes = sample().to_bytes(StoredType::F32).unwrap();
        for length in [0, 4, 20, bytes.len() - 1] {
            assert!(
                TensorFile::from_bytes(&bytes[..length]).is_err(),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn fingerprint_sees_names_shapes_and_values() {
        let base = sample().tensors;
        let mut renamed = Tensors::from([("b".to_owned(), base["a"].clone())]);
        assert_ne!(fingerprint(&base), fingerprint(&renamed));
        renamed = base.clone();
        renamed.get_mut("a").unwrap().shape = vec![4];
        assert_ne!(fingerprint(&base), fingerprint(&renamed));
        renamed = base.clone();
        renamed.get_mut("a").unwrap().values[3] = 0.250_000_03;
        assert_ne!(fingerprint(&base), fingerprint(&renamed));
        assert_eq!(fingerprint(&base), fingerprint(&base.clone()));
    }
}
