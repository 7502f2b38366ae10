//! Against sums in f64 of the same bf16 factors: what is left is the rounding of probabilities and of the scores' gradients, each
//! by 2⁻⁸ of itself at most, half a unit of eight bits.

use proptest::prelude::*;

use super::super::tests::values;
use super::*;
use crate::frozen::Precision;
use crate::frozen::bf16::round;

/// Values that bf16 holds.
fn exact(len: usize, seed: u32, scale: f32) -> Vec<f32> {
    let rounded = |x: f32| f32::from_bits(u32::from(round(x * scale)) << 16);
    values(len, seed).into_iter().map(rounded).collect()
}

/// A value, and the sum of the magnitudes of what was added up for it.
#[derive(Clone, Copy, Default)]
struct Sum(f64, f64);

impl Sum {
    /// Adds a product with a rounded factor, of which `size` is the magnitude before anything cancelled.
    fn add(&mut self, rounded: f64, size: f64, other: f64) {
        self.0 += rounded * other;
        self.1 += (rounded.abs() * f64::exp2(-8.0) + size * 1e-4) * other.abs();
    }
}

/// `out` and `dqkv`, as [`attention`] and [`attention_backward`] lay them out.
fn expected(shape: &AttentionShape, qkv: &[f32], dout: &[f32]) -> [Vec<Sum>; 2] {
    let (n, d, head) = (shape.tokens, shape.width, shape.head());
    let scale = 1.0 / (head as f64).sqrt();
    let at = |token: usize, part: usize, i: usize| f64::from(qkv[(token * 3 + part) * d + i]);
    let mut out = vec![Sum::default(); n * d];
    let mut dqkv = vec![Sum::default(); 3 * n * d];
    for first in (0..d).step_by(head) {
        let dot = |f: &dyn Fn(usize) -> f64| (first..first + head).map(f).sum::<f64>();
        for q in 0..n {
            let g = |i: usize| f64::from(dout[q * d + i]);
            let scores: Vec<f64> = (0..n)
                .map(|k| scale * dot(&|i| at(q, 0, i) * at(k, 1, i)))
                .collect();
            let largest = scores.iter().copied().fold(f64::MIN, f64::max);
            let e: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
            let total: f64 = e.iter().sum();
            let dp: Vec<f64> = (0..n).map(|k| dot(&|i| g(i) * at(k, 2, i))).collect();
            let mean: f64 = (0..n).map(|k| e[k] / total * dp[k]).sum();
            let spread: f64 = (0..n).map(|k| e[k] / total * dp[k].abs()).sum();
            for k in 0..n {
                let p = e[k] / total;
                let ds = scale * p * (dp[k] - mean);
                let size = scale * p * (dp[k].abs() + spread);
                for i in first..first + head {
                    out[q * d + i].add(p, p, at(k, 2, i));
                    dqkv[(k * 3 + 2) * d + i].add(p, p, g(i));
                    dqkv[q * 3 * d + i].add(ds, size, at(k, 1, i));
                    dqkv[(k * 3 + 1) * d + i].add(ds, size, at(q, 0, i));
                }
            }
        }
    }
    [out, dqkv]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whole and broken blocks of rows and columns.
    #[test]
    fn rounds_two_factors_and_no_more(tokens in 1_usize..170, heads in 1_usize..3, head in 1_usize..72, seed: u32) {
        if !crate::amx::available() {
            return Ok(());
        }
        let shape = AttentionShape { tokens, heads, width: heads * head, precision: Precision::Bf16 };
        let rows = tokens * shape.width;
        let (qkv, dout) = (exact(3 * rows, seed, 4.0), exact(rows, !seed, 1.0));
        // What is left in scratch must not matter.
        let (mut out, mut dqkv) = (vec![f32::NAN; rows], vec![f32::NAN; 3 * rows]);
        attention(shape, &qkv, &mut out, &mut vec![f32::NAN; scratch(&shape)]);
        attention_backward(shape, &qkv, &dout, &mut dqkv, &mut vec![f32::NAN; backward_scratch(&shape)]);
        for (found, wanted) in [out, dqkv].iter().zip(expected(&shape, &qkv, &dout)) {
            for (i, (&found, Sum(wanted, bound))) in found.iter().zip(wanted).enumerate() {
                let off = (f64::from(found) - wanted).abs();
                prop_assert!(off <= bound + 1e-6, "{}: {} not {}, off {} of {}", i, found, wanted, off, bound);
            }
        }
    }
}
