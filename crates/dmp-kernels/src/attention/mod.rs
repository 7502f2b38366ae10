//! Multi-head self-attention of one image, from its packed `qkv` rows `[N, 3·D]` (q, k, v; heads side by
//! side inside each). The backward pass makes the scores anew.
//!
//! Matrices are small here, a head's `[N, head]`: where the CPU has AVX-512, products of our own do without what the
//! `gemm` crate spends on packing them, and a matrix unit takes them in bf16. Tests hold the ways together.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod general;

use crate::frozen::Precision;
#[cfg(target_arch = "x86_64")]
use crate::profile::Kernel;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Level, level};

/// Sizes of one image's attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Tokens N.
    pub tokens: usize,
    /// Heads H; divides the width.
    pub heads: usize,
    /// Width D.
    pub width: usize,
    /// With [`Precision::Bf16`] the factors of products are rounded where a matrix unit multiplies them; elsewhere f32 is as fast.
    pub precision: Precision,
}

impl AttentionShape {
    fn head(&self) -> usize {
        self.width / self.heads
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head() as f32).sqrt()
    }

    /// Length of [`attention`]'s scratch.
    pub fn scratch(&self) -> usize {
        #[cfg(target_arch = "x86_64")]
        if level() == Level::Avx512 {
            if self.on_matrix_unit() {
                return amx::scratch(self);
            }
            return avx512::scratch(self);
        }
        general::scratch(self)
    }

    /// Length of [`attention_backward`]'s scratch.
    pub fn backward_scratch(&self) -> usize {
        #[cfg(target_arch = "x86_64")]
        if level() == Level::Avx512 {
            if self.on_matrix_unit() {
                return amx::backward_scratch(self);
            }
            return avx512::backward_scratch(self);
        }
        general::backward_scratch(self)
    }

    #[cfg(target_arch = "x86_64")]
    fn on_matrix_unit(&self) -> bool {
        self.precision == Precision::Bf16 && crate::amx::available()
    }

    /// # Panics
    /// When a slice is not as long as it should be: a bug of the caller, never of a user.
    fn check(&self, qkv: &[f32], rows: &[f32]) {
        assert_eq!(qkv.len(), 3 * self.tokens * self.width, "qkv");
        assert_eq!(rows.len(), self.tokens * self.width, "rows of [N, D]");
    }
}

/// `out` `[N, D]` ← attention; `scratch` is of [`AttentionShape::scratch`].
pub fn attention(shape: AttentionShape, qkv: &[f32], out: &mut [f32], scratch: &mut [f32]) {
    shape.check(qkv, out);
    #[cfg(target_arch = "x86_64")]
    if level() == Level::Avx512 {
        static CLOCK: Kernel = Kernel::new("attention");
        return CLOCK.time(1, || match shape.on_matrix_unit() {
            true => amx::attention(shape, qkv, out, scratch),
            // SAFETY: the CPU has the features the function is compiled for.
            false => unsafe { avx512::attention(shape, qkv, out, scratch) },
        });
    }
    general::attention(shape, qkv, out, scratch);
}

/// `dqkv` `[N, 3·D]` ← gradient of the packed input, given `dout` `[N, D]`; `scratch` is of
/// [`AttentionShape::backward_scratch`].
pub fn attention_backward(
    shape: AttentionShape,
    qkv: &[f32],
    dout: &[f32],
    dqkv: &mut [f32],
    scratch: &mut [f32],
) {
    shape.check(qkv, dout);
    shape.check(dqkv, dout);
    #[cfg(target_arch = "x86_64")]
    if level() == Level::Avx512 {
        static CLOCK: Kernel = Kernel::new("attention_backward");
        return CLOCK.time(1, || match shape.on_matrix_unit() {
            true => amx::attention_backward(shape, qkv, dout, dqkv, scratch),
            // SAFETY: the CPU has the features the function is compiled for.
            false => unsafe { avx512::attention_backward(shape, qkv, dout, dqkv, scratch) },
        });
    }
    general::attention_backward(shape, qkv, dout, dqkv, scratch);
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Values in [-1, 1) that look random.
    pub(super) fn values(len: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..len).map(|_| next()).collect()
    }

    fn assert_close(found: &[f32], wanted: &[f32]) {
        let largest = wanted.iter().fold(0.0f32, |a, b| a.max(b.abs()));
        for (i, (a, b)) in found.iter().zip(wanted).enumerate() {
            assert!((a - b).abs() <= 1e-5 * largest, "{i}: {a}, not {b}");
        }
    }

    /// A network whose values are no numbers any more must not look as if it were well.
    #[test]
    fn what_is_no_number_stays_none() {
        for precision in [Precision::F32, Precision::Bf16] {
            let shape = AttentionShape {
                tokens: 20,
                heads: 1,
                width: 4,
                precision,
            };
            let mut qkv = values(20 * 12, 1);
            qkv[7 * 12] = f32::NAN;
            let mut out = vec![0.0; 20 * 4];
            attention(shape, &qkv, &mut out, &mut vec![0.0; shape.scratch()]);
            assert!(out[7 * 4..8 * 4].iter().all(|value| value.is_nan()));
            assert!(out[..7 * 4].iter().all(|value| value.is_finite()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whole and broken blocks of rows, panels of columns and vectors.
        #[test]
        fn both_ways_give_the_same(tokens in 1_usize..230, heads in 1_usize..4, head in 1_usize..80, seed: u32) {
            if level() != Level::Avx512 {
                return Ok(());
            }
            let shape = AttentionShape { tokens, heads, width: heads * head, precision: Precision::F32 };
            let rows = tokens * shape.width;
            let (mut qkv, dout) = (values(3 * rows, seed), values(rows, !seed));
            qkv.iter_mut().for_each(|x| *x *= 4.0);
            // What is left in scratch must not matter.
            let scratch = |len: usize| vec![f32::NAN; len];
            let (mut wanted, mut found) = (vec![f32::NAN; rows], vec![f32::NAN; rows]);
            let (mut wanted_back, mut found_back) = (vec![f32::NAN; 3 * rows], vec![f32::NAN; 3 * rows]);
            general::attention(shape, &qkv, &mut wanted, &mut scratch(general::scratch(&shape)));
            general::attention_backward(
                shape, &qkv, &dout, &mut wanted_back, &mut scratch(general::backward_scratch(&shape)),
            );
            attention(shape, &qkv, &mut found, &mut scratch(shape.scratch()));
            attention_backward(shape, &qkv, &dout, &mut found_back, &mut scratch(shape.backward_scratch()));
            assert_close(&found, &wanted);
            assert_close(&found_back, &wanted_back);
        }
    }
}
