//! From a device to host memory.

use burn::tensor::Tensor;

/// The values of a tensor, row-major, as f32 whatever its type on the device.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    // Conversion makes it f32, so reading f32 cannot fail.
    tensor
        .into_data()
        .convert::<f32>()
        .try_into_vec()
        .unwrap_or_default()
}
