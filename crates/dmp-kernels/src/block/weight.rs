//! The linear maps of a block.

use gemm::Parallelism;

use crate::frozen::{FrozenWeight, Precision};
use crate::matmul::{View, linear};

/// The weight of a linear map, `[inputs, outputs]`.
#[derive(Debug, Clone, Copy)]
pub enum Weight<'a> {
    /// Row-major values.
    F32(&'a [f32]),
    /// Packed once.
    Frozen(&'a FrozenWeight),
}

impl Weight<'_> {
    /// Whether it has this shape.
    pub(super) fn fits(self, [inputs, outputs]: [usize; 2]) -> bool {
        match self {
            Self::F32(values) => values.len() == inputs * outputs,
            Self::Frozen(frozen) => frozen.shape() == [inputs, outputs],
        }
    }

    /// What products with it are computed in.
    pub(super) fn precision(self) -> Precision {
        match self {
            Self::F32(_) => Precision::F32,
            Self::Frozen(frozen) => frozen.precision(),
        }
    }

    /// `out` `[rows, outputs]` ← `input` `[rows, inputs]` · weight.
    pub(super) fn forward(
        self,
        input: &[f32],
        [inputs, outputs]: [usize; 2],
        out: &mut [f32],
        threads: Parallelism,
    ) {
        match self {
            Self::F32(values) => {
                linear(input, View::new(values, inputs, outputs), out, threads);
            }
            Self::Frozen(frozen) => frozen.forward(input, out, threads),
        }
    }

    /// `out` `[rows, inputs]` ← `gradient` `[rows, outputs]` · weightᵀ.
    pub(super) fn backward(
        self,
        gradient: &[f32],
        [inputs, outputs]: [usize; 2],
        out: &mut [f32],
        threads: Parallelism,
    ) {
        match self {
            Self::F32(values) => {
                linear(
                    gradient,
                    View::new(values, inputs, outputs).t(),
                    out,
                    threads,
                );
            }
            Self::Frozen(frozen) => frozen.backward(gradient, out, threads),
        }
    }
}
