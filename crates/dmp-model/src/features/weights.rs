//! The feature network's safetensors file: kernels and matrices in f16, vectors in f32, named by their
//! place in the module (`stem.conv.weight`, `blocks.0.norm.running_mean`, `hidden.bias`, …).

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Shape, Tensor, TensorData};
use half::f16;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView, serialize};
use thiserror::Error;

use super::fashion::FashionCnn;

/// Why a feature network cannot be read or written.
#[derive(Debug, Error)]
pub enum FeatureError {
    /// The bytes are no safetensors file.
    #[error(
        "the feature network is no safetensors file; give one that `cargo xtask assets features` wrote"
    )]
    Format(#[from] SafeTensorError),
    /// Tensors are missing, left over, or of another shape or type.
    #[error("the file is of another feature network: {}", problems.join("; "))]
    Tensors {
        /// What is wrong, a line a tensor, each with its name.
        problems: Vec<String>,
    },
    /// A weight could not be read back from its device.
    #[error("tensor `{name}` cannot be read from its device: {reason}")]
    Read {
        /// Which tensor.
        name: String,
        /// What the device said.
        reason: String,
    },
}

impl FashionCnn {
    /// The network of a file, frozen: it never trains, and its norms use their running statistics.
    ///
    /// # Errors
    /// When the bytes are no safetensors file; or when tensors are missing, left over, misshapen, of another
    /// type than f16 and f32, or not finite: all of them are named.
    pub fn from_safetensors(bytes: &[u8], device: &Device) -> Result<Self, FeatureError> {
        let file = SafeTensors::deserialize(bytes)?;
        let mut reader = Reader {
            path: Vec::new(),
            unread: file.tensors().into_iter().collect(),
            problems: Vec::new(),
        };
        let network = Self::new(device).map(&mut reader);
        let Reader {
            unread,
            mut problems,
            ..
        } = reader;
        problems.extend((unread.keys()).map(|name| format!("`{name}` belongs to no layer")));
        if problems.is_empty() {
            Ok(network.freeze())
        } else {
            Err(FeatureError::Tensors { problems })
        }
    }

    /// The network's file. Kernels and matrices are rounded to f16, so read it back before measuring.
    ///
    /// # Errors
    /// When a weight cannot be read from its device.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, FeatureError> {
        let mut writer = Writer::default();
        self.visit(&mut writer);
        writer.failed.map_or(Ok(()), Err)?;
        let views = (writer.tensors.iter())
            .map(|(name, tensor)| {
                let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes)?;
                Ok((name, view))
            })
            .collect::<Result<Vec<_>, SafeTensorError>>()?;
        Ok(serialize(views, None)?)
    }
}

/// Replaces each tensor of a module by the file's tensor of that name, and notes what does not fit.
struct Reader<'file> {
    path: Vec<String>,
    unread: BTreeMap<String, TensorView<'file>>,
    problems: Vec<String>,
}

impl Reader<'_> {
    /// The file's values for the layer's tensor `name`, or what is wrong with them.
    fn values(&mut self, name: &str, shape: &Shape) -> Result<Vec<f32>, String> {
        let Some(view) = self.unread.remove(name) else {
            return Err(format!("`{name}` is missing"));
        };
        if view.shape() != shape.as_slice() {
            return Err(format!(
                "`{name}` has shape {:?}, not {:?}",
                view.shape(),
                shape.as_slice()
            ));
        }
        let values: Vec<f32> = match view.dtype() {
            Dtype::F32 => (view.data().as_chunks().0.iter())
                .map(|&bytes| f32::from_le_bytes(bytes))
                .collect(),
            Dtype::F16 => (view.data().as_chunks().0.iter())
                .map(|&bytes| f16::from_le_bytes(bytes).to_f32())
                .collect(),
            other => return Err(format!("`{name}` holds {other:?}, neither F16 nor F32")),
        };
        if values.iter().all(|value| value.is_finite()) {
            Ok(values)
        } else {
            Err(format!("`{name}` holds values that are not finite"))
        }
    }
}

impl ModuleMapper for Reader<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.join(".");
        match self.values(&name, &param.shape()) {
            Ok(values) => param.map(|old| {
                let data = TensorData::new(values, old.shape());
                Tensor::from_data(data, &old.device())
            }),
            Err(problem) => {
                self.problems.push(problem);
                param
            }
        }
    }
}

/// A tensor as it lies in the file.
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Collects each tensor of a module.
#[derive(Default)]
struct Writer {
    path: Vec<String>,
    tensors: BTreeMap<String, Stored>,
    failed: Option<FeatureError>,
}

impl ModuleVisitor for Writer {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.join(".");
        let shape = param.shape().to_vec();
        match param.val().try_into_vec_as::<f32>() {
            Ok(values) => {
                let (dtype, bytes) = if D >= 2 {
                    let narrow = values
                        .iter()
                        .map(|&value| f16::from_f32(value).to_le_bytes());
                    (Dtype::F16, narrow.flatten().collect())
                } else {
                    let wide = values.iter().map(|value| value.to_le_bytes());
                    (Dtype::F32, wide.flatten().collect())
                };
                let stored = Stored {
                    dtype,
                    shape,
                    bytes,
                };
                self.tensors.insert(name, stored);
            }
            Err(reason) => {
                self.failed = Some(FeatureError::Read {
                    name,
                    reason: reason.to_string(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    fn edit(change: impl FnOnce(&mut BTreeMap<String, Stored>)) -> FeatureError {
        let mut writer = Writer::default();
        FashionCnn::new(&Device::flex()).visit(&mut writer);
        change(&mut writer.tensors);
        let views = (writer.tensors.iter()).map(|(name, tensor)| {
            let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
            (name, view.unwrap())
        });
        let bytes = serialize(views, None).unwrap();
        FashionCnn::from_safetensors(&bytes, &Device::flex()).unwrap_err()
    }

    #[test]
    fn a_network_read_back_differs_by_f16_rounding_alone() {
        let device = Device::flex();
        let network = FashionCnn::new(&device);
        let bytes = network.to_safetensors().unwrap();
        let read = FashionCnn::from_safetensors(&bytes, &device).unwrap();
        // Written again, nothing is left to round.
        assert_eq!(read.to_safetensors().unwrap(), bytes);
        let images = Tensor::random([2, 1, 28, 28], Distribution::Uniform(-1.0, 1.0), &device);
        let (a, b) = (network.forward(images.clone()), read.forward(images));
        assert_eq!(a.features.dims(), [2, FashionCnn::FEATURES]);
        let distance = (a.logits - b.logits).abs().max().into_scalar::<f32>();
        assert!(distance < 1e-2, "{distance}");
    }

    #[test]
    fn every_tensor_that_does_not_fit_is_named() {
        let error = edit(|tensors| {
            let bias = tensors.remove("hidden.bias").unwrap();
            tensors.insert("hidden.biased".into(), bias);
            tensors.get_mut("blocks.0.conv.weight").unwrap().shape = vec![64, 32, 9];
            let mean = tensors.get_mut("stem.norm.running_mean").unwrap();
            mean.bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
            let wide = tensors.get_mut("classifier.bias").unwrap();
            (wide.dtype, wide.bytes) = (Dtype::F64, vec![0; 80]);
        });
        let FeatureError::Tensors { problems } = &error else {
            panic!("{error}");
        };
        assert_eq!(problems.len(), 5, "{error}");
        for line in [
            "`hidden.bias` is missing",
            "`hidden.biased` belongs to no layer",
            "`blocks.0.conv.weight` has shape [64, 32, 9], not [64, 32, 3, 3]",
            "`stem.norm.running_mean` holds values that are not finite",
            "`classifier.bias` holds F64, neither F16 nor F32",
        ] {
            assert!(
                problems.iter().any(|problem| problem == line),
                "{line}: {error}"
            );
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        let error = FashionCnn::from_safetensors(b"no safetensors", &Device::flex()).unwrap_err();
        assert!(matches!(error, FeatureError::Format(_)));
    }
}
