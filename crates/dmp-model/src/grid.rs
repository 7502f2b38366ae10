//! Grids of tokens.

use burn::tensor::{Device, Tensor, TensorData};

/// The map `[to, from]` that brings what lies on a grid of `from` rows and columns to one of `to`; see
/// [`dmp_math::grid::bilinear`].
pub fn grid_map(from: [usize; 2], to: [usize; 2], device: &Device) -> Tensor<2> {
    let shape = [to, from].map(|[rows, columns]| rows * columns);
    Tensor::from_data(
        TensorData::new(dmp_math::grid::bilinear(from, to), shape),
        device,
    )
}
