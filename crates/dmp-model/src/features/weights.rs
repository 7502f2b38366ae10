//! The feature network's file: safetensors in f16, with PyTorch's names and layouts (`blocks.0.norm.weight`,
//! `hidden.weight` `[out, in]`, …).

use burn::module::Module;
use burn::tensor::Device;
use thiserror::Error;

use super::fashion::FashionCnn;
use crate::checkpoint::{FileError, Mismatch, StoredType, TensorFile, apply, collect};

/// Why a feature network cannot be read or written.
#[derive(Debug, Error)]
pub enum FeatureError {
    /// Not a readable safetensors file.
    #[error("the feature network cannot be read: {0}")]
    File(#[from] FileError),
    /// Tensors are missing, left over or misshapen.
    #[error("the file is of another feature network: {0}")]
    Mismatch(#[from] Mismatch),
}

impl FashionCnn {
    /// The network of a file, frozen: it never trains, and its norms use their running statistics.
    ///
    /// # Errors
    /// When the bytes are no safetensors file, or tensors are missing, left over or misshapen: all are named.
    pub fn from_safetensors(bytes: &[u8], device: &Device) -> Result<Self, FeatureError> {
        let file = TensorFile::from_bytes(bytes)?;
        Ok(apply(Self::new(device), file.tensors, public_name)?.freeze())
    }

    /// The network's file. Weights are rounded to f16, so read it back before measuring with it.
    ///
    /// # Errors
    /// When the tensors do not fit in one safetensors file.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, FeatureError> {
        let file = TensorFile {
            tensors: collect(self, public_name),
            ..Default::default()
        };
        Ok(file.to_bytes(StoredType::F16)?)
    }
}

/// PyTorch's name of a burn parameter: norms have a weight and a bias, not γ and β.
fn public_name(path: &str) -> String {
    path.replace(".gamma", ".weight").replace(".beta", ".bias")
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Distribution, Tensor};

    use super::*;

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

    // A frozen norm on a training device must not take the batch's statistics: an image's features would
    // depend on its neighbours.
    #[test]
    fn features_do_not_depend_on_the_batch_even_on_a_training_device() {
        let device = Device::flex().autodiff();
        let bytes = FashionCnn::new(&device).to_safetensors().unwrap();
        let network = FashionCnn::from_safetensors(&bytes, &device).unwrap();
        let images = Tensor::random([3, 1, 28, 28], Distribution::Uniform(-1.0, 1.0), &device);
        let all = network.forward(images.clone()).features.narrow(0, 1, 1);
        let alone = network.forward(images.narrow(0, 1, 1)).features;
        let distance = (all - alone).abs().max().into_scalar::<f32>();
        assert!(distance < 1e-5, "{distance}");
    }

    #[test]
    fn every_tensor_that_does_not_fit_is_named() {
        let device = Device::flex();
        let mut file = TensorFile {
            tensors: collect(&FashionCnn::new(&device), public_name),
            ..Default::default()
        };
        let bias = file.tensors.remove("hidden.bias").unwrap();
        file.tensors.insert("extra".to_owned(), bias);
        let kernel = file.tensors.get_mut("blocks.0.conv.weight").unwrap();
        kernel.shape = vec![16, 1, 9];
        let bytes = file.to_bytes(StoredType::F32).unwrap();
        let error = FashionCnn::from_safetensors(&bytes, &device).unwrap_err();
        let FeatureError::Mismatch(mismatch) = &error else {
            panic!("{error}");
        };
        assert_eq!(mismatch.missing, ["hidden.bias"]);
        assert_eq!(mismatch.unexpected, ["extra"]);
        assert_eq!(mismatch.misshapen.len(), 1, "{error}");
        assert_eq!(mismatch.misshapen[0].0, "blocks.0.conv.weight");
    }

    #[test]
    fn other_bytes_are_refused() {
        let error = FashionCnn::from_safetensors(b"no safetensors", &Device::flex()).unwrap_err();
        assert!(matches!(error, FeatureError::File(_)), "{error}");
    }
}
