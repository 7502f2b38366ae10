//! The linear maps of a block, backward. Weights are row-major `[inputs, outputs]`.

use gemm::Parallelism;

use crate::matmul::{Store, View, matmul};
use crate::norm::add_column_sums;

/// `out` `[rows, inputs]` ← `gradient` `[rows, outputs]` · `weight`ᵀ.
pub(super) fn backward_linear(
    gradient: &[f32],
    outputs: usize,
    weight: &[f32],
    inputs: usize,
    out: &mut [f32],
    threads: Parallelism,
) {
    let rows = gradient.len() / outputs;
    matmul(
        out,
        inputs,
        Store::Set,
        1.0,
        View::new(gradient, rows, outputs),
        View::new(weight, inputs, outputs).t(),
        threads,
    );
}

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
