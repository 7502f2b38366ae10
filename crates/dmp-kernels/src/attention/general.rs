//! Attention through the `gemm` crate, on any CPU. Scores are one head at a time, `[N, N]`.

use gemm::Parallelism;

use super::AttentionShape;
use crate::matmul::{Store, View, matmul};
use crate::simd::{exp, max, sum2};
use crate::vectorised;

/// Scores of a head.
pub(super) fn scratch(shape: &AttentionShape) -> usize {
    shape.tokens * shape.tokens
}

/// Scores of a head and their gradients.
pub(super) fn backward_scratch(shape: &AttentionShape) -> usize {
    2 * shape.tokens * shape.tokens
}

impl AttentionShape {
    /// Part 0 (q), 1 (k) or 2 (v) of head `h`, `[N, head]`.
    fn part<'a>(&self, qkv: &'a [f32], part: usize, h: usize) -> View<'a> {
        View::strided(
            &qkv[part * self.width + h * self.head()..],
            self.tokens,
            self.head(),
            3 * self.width,
        )
    }
}

/// See [`super::attention`].
pub(super) fn attention(shape: AttentionShape, qkv: &[f32], out: &mut [f32], scores: &mut [f32]) {
    let (n, d) = (shape.tokens, shape.width);
    for h in 0..shape.heads {
        probabilities(shape, qkv, h, scores);
        let column = h * shape.head();
        matmul(
            &mut out[column..],
            d,
            Store::Set,
            1.0,
            View::new(scores, n, n),
            shape.part(qkv, 2, h),
            Parallelism::None,
        );
    }
}

/// See [`super::attention_backward`].
pub(super) fn attention_backward(
    shape: AttentionShape,
    qkv: &[f32],
    dout: &[f32],
    dqkv: &mut [f32],
    scratch: &mut [f32],
) {
    let (n, d, head) = (shape.tokens, shape.width, shape.head());
    let (p, ds) = scratch.split_at_mut(n * n);
    let ds = &mut ds[..n * n];
    for h in 0..shape.heads {
        probabilities(shape, qkv, h, p);
        let dout = View::strided(&dout[h * head..], n, head, d);
        let at = |part: usize| part * d + h * head;
        matmul(
            &mut dqkv[at(2)..],
            3 * d,
            Store::Set,
            1.0,
            View::new(p, n, n).t(),
            dout,
            Parallelism::None,
        );
        matmul(
            ds,
            n,
            Store::Set,
            1.0,
            dout,
            shape.part(qkv, 2, h).t(),
            Parallelism::None,
        );
        softmax_rows_backward(p, ds, n);
        let ds = View::new(ds, n, n);
        matmul(
            &mut dqkv[at(0)..],
            3 * d,
            Store::Set,
            shape.scale(),
            ds,
            shape.part(qkv, 1, h),
            Parallelism::None,
        );
        matmul(
            &mut dqkv[at(1)..],
            3 * d,
            Store::Set,
            shape.scale(),
            ds.t(),
            shape.part(qkv, 0, h),
            Parallelism::None,
        );
    }
}

/// softmax(scale·QKᵀ) of head `h`, `[N, N]`.
fn probabilities(shape: AttentionShape, qkv: &[f32], h: usize, scores: &mut [f32]) {
    let n = shape.tokens;
    let scores = &mut scores[..n * n];
    matmul(
        scores,
        n,
        Store::Set,
        shape.scale(),
        shape.part(qkv, 0, h),
        shape.part(qkv, 1, h).t(),
        Parallelism::None,
    );
    softmax_rows(scores, n);
}

vectorised! {
    /// Softmax of each row of length `n`, in place.
    fn softmax_rows(scores: &mut [f32], n: usize) {
        for row in scores.chunks_exact_mut(n) {
            let max = max(row);
            row.iter_mut().for_each(|x| *x = exp(*x - max));
            let inverse = 1.0 / sum2(row, row, |x, _| x);
            row.iter_mut().for_each(|x| *x *= inverse);
        }
    }
}

vectorised! {
    /// `ds ← p ⊙ (ds − Σ ds·p)` for each row of length `n`.
    fn softmax_rows_backward(p: &[f32], ds: &mut [f32], n: usize) {
        for (p, ds) in p.chunks_exact(n).zip(ds.chunks_exact_mut(n)) {
            let dot = sum2(p, ds, |p, g| p * g);
            for (g, &p) in ds.iter_mut().zip(p) {
                *g = p * (*g - dot);
            }
        }
    }
}
