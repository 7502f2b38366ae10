//! The fixed two-dimensional sine-cosine position table.

use burn::tensor::{Device, Tensor, TensorData};

/// Table `[1, grid·grid, width]` for a square grid of tokens, row by row: the first half of each row
/// encodes the column, the second half the row (the original's order), each as sines then cosines.
pub fn sincos_2d(grid: usize, width: usize, device: &Device) -> Tensor<3> {
    let quarter = width / 4;
    let axis = |position: usize, table: &mut Vec<f32>| {
        let omega = |i: usize| 1.0 / 10_000f64.powf(i as f64 / quarter as f64);
        table.extend((0..quarter).map(|i| (position as f64 * omega(i)).sin() as f32));
        table.extend((0..quarter).map(|i| (position as f64 * omega(i)).cos() as f32));
    };
    let mut table = Vec::with_capacity(grid * grid * width);
    for row in 0..grid {
        for column in 0..grid {
            axis(column, &mut table);
            axis(row, &mut table);
        }
    }
    Tensor::from_data(TensorData::new(table, [1, grid * grid, width]), device)
}
