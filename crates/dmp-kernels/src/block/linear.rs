//! The gradients of a block's linear maps.

use gemm::Parallelism;

use crate::matmul::{Store, View, matmul};
use crate::norm::add_column_sums;

/// `weight += input`ᵀ`·gradient`, `bias += Σ_rows gradient`.
pub(super) fn add_weight(
    input: &[f32],
    inputs: usize,
    gradient: &[f32],
    outputs: usize,
    weight: &mut [f32],
    bias: &mut [f32],
    threads: Parallelism,
) {
    let rows = gradient.len() / outputs;
    matmul(
        weight,
        outputs,
        Store::Add,
        1.0,
        View::new(input, rows, inputs).t(),
        View::new(gradient, rows, outputs),
        threads,
    );
    add_column_sums(gradient, bias);
}
