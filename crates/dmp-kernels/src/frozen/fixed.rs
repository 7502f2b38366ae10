//! Products with frozen weights in f32 as fixed-point numbers, on a matrix unit that multiplies bytes.

use super::Direction;
use crate::amx::fixed::{self, Packed};
use crate::profile::Kernel;

static GEMM: Kernel = Kernel::new("gemm f32, frozen, fixed point");

/// Values of a row from which on products are faster than with bf16: fewer do not make up for bringing sums to their places.
const LEAST: usize = 256;

/// A weight `[inputs, outputs]`, and its transpose: each has scales of its own.
#[derive(Debug, Clone)]
pub(super) struct Fixed {
    forward: Packed,
    backward: Packed,
}

impl Fixed {
    /// Whether this is the best form of a weight `[inputs, outputs]` on this processor.
    pub(super) fn suits([inputs, outputs]: [usize; 2]) -> bool {
        fixed::available() && inputs.min(outputs) >= LEAST
    }

    /// From row-major values.
    ///
    /// # Panics
    /// Where the processor lacks what it takes: a bug of the caller, never of a user.
    pub(super) fn pack(values: &[f32], inputs: usize, outputs: usize) -> Self {
        Self {
            forward: Packed::new([inputs, outputs], |i, o| values[i * outputs + o]),
            backward: Packed::new([outputs, inputs], |o, i| values[i * outputs + o]),
        }
    }

    /// Calls `see` with every word held.
    pub(super) fn words(&self, mut see: impl FnMut(u32)) {
        self.forward.words(&mut see);
        self.backward.words(&mut see);
    }

    /// `out` ← `a` · weight, or by its transpose.
    pub(super) fn product(&self, direction: Direction, a: &[f32], out: &mut [f32]) {
        let factor = match direction {
            Direction::Forward => &self.forward,
            Direction::Backward => &self.backward,
        };
        GEMM.time(1, || factor.product(a, out));
    }
}
