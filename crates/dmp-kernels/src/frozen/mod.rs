//! Products with the weights of a network that stays frozen, packed once for the whole run.

#[cfg(target_arch = "x86_64")]
mod avx2;
pub(crate) mod bf16;
#[cfg(target_arch = "x86_64")]
mod f32;
#[cfg(target_arch = "x86_64")]
mod fixed;

use gemm::Parallelism;
use rayon::prelude::*;

use crate::matmul::{View, linear, workers};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Level, level};

/// What products with frozen weights are computed in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precision {
    /// f32 throughout; of large weights on a matrix unit, fixed-point numbers: as exact where values of a row are alike, and each to 2⁻²³
    /// of its row's largest (see ARCHITECTURE.md).
    #[default]
    F32,
    /// Weights and what they are multiplied with rounded to bf16, sums in f32; and so attention's factors, where that is faster.
    Bf16,
}

/// The frozen weight of a linear map, `[inputs, outputs]`, for products in both directions.
///
/// An element of a product does not depend on how many other rows there are, except in f32 of small weights on a processor without AVX-512.
#[derive(Debug, Clone)]
pub struct FrozenWeight {
    inputs: usize,
    outputs: usize,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    /// Row-major, for the `gemm` crate: f32 on processors without AVX-512, of small weights or without AVX2 of any.
    Rows(Vec<f32>),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Panels),
    #[cfg(target_arch = "x86_64")]
    F32(f32::Panels),
    #[cfg(target_arch = "x86_64")]
    Fixed(fixed::Fixed),
    Bf16(bf16::Packed),
}

impl FrozenWeight {
    /// From row-major values `[inputs, outputs]`.
    ///
    /// # Panics
    /// When there are not as many values: a bug of the caller, never of a user.
    pub fn new(values: &[f32], inputs: usize, outputs: usize, precision: Precision) -> Self {
        assert_eq!(values.len(), inputs * outputs, "weight");
        let form = match precision {
            #[cfg(target_arch = "x86_64")]
            Precision::F32 if fixed::Fixed::suits([inputs, outputs]) => {
                Form::Fixed(fixed::Fixed::pack(values, inputs, outputs))
            }
            #[cfg(target_arch = "x86_64")]
            Precision::F32 if level() == Level::Avx512 => {
                Form::F32(f32::Panels::pack(values, inputs, outputs))
            }
            #[cfg(target_arch = "x86_64")]
            Precision::F32 if avx2::Panels::suits([inputs, outputs]) => {
                Form::Avx2(avx2::Panels::pack(values, inputs, outputs))
            }
            Precision::F32 => Form::Rows(values.to_vec()),
            Precision::Bf16 => Form::Bf16(bf16::Packed::new(values, inputs, outputs)),
        };
        Self {
            inputs,
            outputs,
            form,
        }
    }

    /// `[inputs, outputs]`.
    pub fn shape(&self) -> [usize; 2] {
        [self.inputs, self.outputs]
    }

    /// What products with it are computed in.
    pub fn precision(&self) -> Precision {
        match self.form {
            Form::Bf16(_) => Precision::Bf16,
            _ => Precision::F32,
        }
    }

    /// Calls `see` with every value held, as 32 bits.
    pub fn words(&self, mut see: impl FnMut(u32)) {
        match &self.form {
            Form::Rows(values) => values.iter().for_each(|value| see(value.to_bits())),
            #[cfg(target_arch = "x86_64")]
            Form::Avx2(panels) => panels
                .values()
                .iter()
                .for_each(|value| see(value.to_bits())),
            #[cfg(target_arch = "x86_64")]
            Form::F32(panels) => panels
                .values()
                .iter()
                .for_each(|value| see(value.to_bits())),
            #[cfg(target_arch = "x86_64")]
            Form::Fixed(fixed) => fixed.words(see),
            Form::Bf16(packed) => packed.pairs(see),
        }
    }

    /// `out` `[rows, outputs]` ← `input` `[rows, inputs]` · weight.
    pub fn forward(&self, input: &[f32], out: &mut [f32], threads: Parallelism) {
        self.product(Direction::Forward, input, out, threads);
    }

    /// `out` `[rows, inputs]` ← `gradient` `[rows, outputs]` · weightᵀ.
    pub fn backward(&self, gradient: &[f32], out: &mut [f32], threads: Parallelism) {
        self.product(Direction::Backward, gradient, out, threads);
    }

    fn product(&self, direction: Direction, a: &[f32], out: &mut [f32], threads: Parallelism) {
        let shape = match direction {
            Direction::Forward => [self.inputs, self.outputs],
            Direction::Backward => [self.outputs, self.inputs],
        };
        match &self.form {
            Form::Rows(values) => {
                let weight = View::new(values, self.inputs, self.outputs);
                let weight = match direction {
                    Direction::Forward => weight,
                    Direction::Backward => weight.t(),
                };
                // The `gemm` crate has threads of its own.
                spread(a, shape, out, Parallelism::None, |a, out| {
                    linear(a, weight, out, threads);
                });
            }
            #[cfg(target_arch = "x86_64")]
            Form::Avx2(panels) => spread(a, shape, out, threads, |a, out| {
                panels.product(direction, a, out);
            }),
            #[cfg(target_arch = "x86_64")]
            Form::F32(panels) => spread(a, shape, out, threads, |a, out| {
                panels.product(direction, a, out);
            }),
            #[cfg(target_arch = "x86_64")]
            Form::Fixed(fixed) => spread(a, shape, out, threads, |a, out| {
                fixed.product(direction, a, out);
            }),
            Form::Bf16(packed) => spread(a, shape, out, threads, |a, out| {
                packed.product(direction, a, out);
            }),
        }
    }
}

/// Which way a product goes.
#[derive(Debug, Clone, Copy)]
enum Direction {
    /// Activations, by the weight.
    Forward,
    /// Gradients, by its transpose.
    Backward,
}

/// `out` `[rows, columns]` ← what `product` makes of `a` `[rows, inner]`, the rows shared out over threads.
fn spread(
    a: &[f32],
    [inner, columns]: [usize; 2],
    out: &mut [f32],
    threads: Parallelism,
    product: impl Fn(&[f32], &mut [f32]) + Sync,
) {
    if inner == 0 || columns == 0 {
        out.fill(0.0);
        return;
    }
    let rows = out.len() / columns;
    assert_eq!(a.len(), rows * inner, "left factor");
    assert_eq!(out.len(), rows * columns, "product");
    if rows == 0 {
        return;
    }
    let workers = workers(threads);
    if workers == 1 {
        return product(a, out);
    }
    let share = rows.div_ceil(workers).max(1);
    a.par_chunks(share * inner)
        .zip(out.par_chunks_mut(share * columns))
        .for_each(|(a, out)| product(a, out));
}

#[cfg(test)]
mod tests;
