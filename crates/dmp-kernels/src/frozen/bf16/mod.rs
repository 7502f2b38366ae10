//! Products with frozen weights in bf16: what they are multiplied with is rounded to bf16 on the way, sums are f32.
//!
//! With AVX-512-BF16 one instruction multiplies and adds 32 pairs, twice as many as in f32, and a weight takes half the
//! memory to read; the matrix unit multiplies sixteen times as many. Elsewhere the same rounded factors are multiplied in f32, for
//! nearly the same numbers and not for speed.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod panels;
mod portable;
#[cfg(target_arch = "x86_64")]
mod tiles;

use std::cell::RefCell;

use panels::Panels;
#[cfg(test)]
pub(crate) use panels::round;

use super::Direction;
#[cfg(target_arch = "x86_64")]
use crate::profile::Kernel;

/// A weight `[inputs, outputs]`, packed for both directions.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    forward: Factor,
    backward: Factor,
}

/// One direction's right factor.
#[derive(Debug, Clone)]
enum Factor {
    Panels(Panels),
    /// Where there is a matrix unit.
    #[cfg(target_arch = "x86_64")]
    Tiles(tiles::Tiles),
}

impl Packed {
    /// From row-major values, rounded to the nearest bf16.
    pub(super) fn new(values: &[f32], inputs: usize, outputs: usize) -> Self {
        #[cfg(target_arch = "x86_64")]
        if crate::amx::available() {
            return Self {
                forward: Factor::Tiles(tiles::Tiles::pack(values, [inputs, outputs])),
                backward: Factor::Tiles(tiles::Tiles::pack_transposed(values, [inputs, outputs])),
            };
        }
        Self {
            forward: Factor::Panels(Panels::pack(inputs, outputs, |i, o| {
                values[i * outputs + o]
            })),
            backward: Factor::Panels(Panels::pack(outputs, inputs, |o, i| {
                values[i * outputs + o]
            })),
        }
    }

    /// Calls `see` with each pair of each direction.
    pub(super) fn pairs(&self, mut see: impl FnMut(u32)) {
        for factor in [&self.forward, &self.backward] {
            match factor {
                Factor::Panels(panels) => panels
                    .iter()
                    .for_each(|(_, _, pairs)| pairs.iter().for_each(|&pair| see(pair))),
                #[cfg(target_arch = "x86_64")]
                Factor::Tiles(tiles) => tiles.pairs().for_each(&mut see),
            }
        }
    }

    /// `out` ← `a` · weight, or by its transpose.
    pub(super) fn product(&self, direction: Direction, a: &[f32], out: &mut [f32]) {
        let factor = match direction {
            Direction::Forward => &self.forward,
            Direction::Backward => &self.backward,
        };
        match factor {
            Factor::Panels(panels) => product(a, panels, out),
            #[cfg(target_arch = "x86_64")]
            Factor::Tiles(tiles) => GEMM.time(1, || tiles.product(a, out)),
        }
    }
}

/// On other processors the portable tile has a clock of its own.
#[cfg(target_arch = "x86_64")]
static GEMM: Kernel = Kernel::new("gemm bf16");

/// `out` `[rows, columns]` ← `a` `[rows, inner]` · `b`.
fn product(a: &[f32], b: &Panels, out: &mut [f32]) {
    thread_local! {
        static ROUNDED: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
    }
    ROUNDED.with_borrow_mut(|pairs| {
        let stride = b.pairs();
        let rows = a.len() / b.inner();
        pairs.resize(rows * stride, 0);
        for (row, pairs) in a
            .chunks_exact(b.inner())
            .zip(pairs.chunks_exact_mut(stride))
        {
            panels::round_row(row, pairs);
        }
        #[cfg(target_arch = "x86_64")]
        if avx512::available() {
            // SAFETY: the processor has the instructions.
            GEMM.time(1, || unsafe { avx512::product(pairs, b, out) });
            return;
        }
        portable::product(pairs, b, out);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frozen::tests::{close, expected, rounded, values};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn every_product_is_the_same(rows in 1usize..14, inner in 1usize..40, columns in 1usize..150, seed: u32) {
            let (a, weight) = (values(seed, rows * inner), values(seed ^ 3, inner * columns));
            let b = Panels::pack(inner, columns, |k, c| weight[k * columns + c]);
            let mut pairs = vec![0; rows * b.pairs()];
            for (row, pairs) in a.chunks_exact(inner).zip(pairs.chunks_exact_mut(b.pairs())) {
                panels::round_row(row, pairs);
            }
            let mut out = vec![f32::NAN; rows * columns];
            portable::product(&pairs, &b, &mut out);
            let want = expected(&a, |k, c| weight[k * columns + c], [rows, inner, columns], rounded);
            close(&out, &want, inner)?;
            #[cfg(target_arch = "x86_64")]
            if avx512::available() {
                out.fill(f32::NAN);
                // SAFETY: the processor has the instructions.
                unsafe { avx512::product(&pairs, &b, &mut out) };
                close(&out, &want, inner)?;
            }
        }
    }

    #[test]
    fn rounds_to_nearest_even_and_keeps_what_is_no_number() {
        let bits = |x: u32| round(f32::from_bits(x));
        assert_eq!(bits(0x3f80_0000), 0x3f80);
        // Half way: to the even one, up and down.
        assert_eq!((bits(0x3f80_8000), bits(0x3f81_8000)), (0x3f80, 0x3f82));
        assert_eq!((bits(0x3f80_8001), bits(0x3f80_7fff)), (0x3f81, 0x3f80));
        assert_eq!(round(f32::NEG_INFINITY), 0xff80);
        let is_nan = |x: u16| f32::from_bits(u32::from(x) << 16).is_nan();
        assert!(is_nan(round(f32::NAN)) && is_nan(bits(0x7f80_0001)));
        assert_eq!(panels::PANEL % 16, 0);
    }
}
