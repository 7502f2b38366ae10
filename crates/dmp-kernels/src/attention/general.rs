//! Attention through the `gemm` crate, on any CPU, a block of query rows of a head at a time: memory grows with N and not
//! with N².

use gemm::Parallelism;

use super::AttentionShape;
use crate::matmul::{Store, View, matmul};
use crate::simd::{exp, max, sum2};
use crate::vectorised;

/// Query rows at a time: as many as an image of 256 pixels a side has in latents of patch size 2.
const BLOCK: usize = 256;

fn block(shape: &AttentionShape) -> usize {
    BLOCK.min(shape.tokens) * shape.tokens
}

/// Scores of a block.
pub(super) fn scratch(shape: &AttentionShape) -> usize {
    block(shape)
}

/// Scores of a block and their gradients.
pub(super) fn backward_scratch(shape: &AttentionShape) -> usize {
    2 * block(shape)
}

/// Some rows, one after the other, of one head.
#[derive(Clone, Copy)]
struct Rows {
    first: usize,
    count: usize,
    /// Where the head begins in a row of `[N, D]`.
    column: usize,
}

impl AttentionShape {
    /// Part 0 (q), 1 (k) or 2 (v) of some rows, `[rows, head]`.
    fn part<'a>(&self, qkv: &'a [f32], part: usize, rows: Rows) -> View<'a> {
        let at = rows.first * 3 * self.width + part * self.width + rows.column;
        View::strided(&qkv[at..], rows.count, self.head(), 3 * self.width)
    }

    /// All rows of each head, and the blocks of them that are queries at once.
    fn heads(&self) -> impl Iterator<Item = (Rows, impl Iterator<Item = Rows>)> {
        let (tokens, head) = (self.tokens, self.head());
        (0..self.heads).map(move |h| {
            let all = Rows {
                first: 0,
                count: tokens,
                column: h * head,
            };
            let blocks = (0..tokens).step_by(BLOCK).map(move |first| Rows {
                first,
                count: BLOCK.min(tokens - first),
                ..all
            });
            (all, blocks)
        })
    }
}

/// See [`super::attention`].
pub(super) fn attention(shape: AttentionShape, qkv: &[f32], out: &mut [f32], scores: &mut [f32]) {
    let (n, d) = (shape.tokens, shape.width);
    for (all, blocks) in shape.heads() {
        for rows in blocks {
            let scores = &mut scores[..rows.count * n];
            probabilities(shape, qkv, rows, all, scores);
            matmul(
                &mut out[rows.first * d + rows.column..],
                d,
                Store::Set,
                1.0,
                View::new(scores, rows.count, n),
                shape.part(qkv, 2, all),
                Parallelism::None,
            );
        }
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
    let (n, d) = (shape.tokens, shape.width);
    let (p, ds) = scratch.split_at_mut(block(&shape));
    for (all, blocks) in shape.heads() {
        for rows in blocks {
            let (p, ds) = (&mut p[..rows.count * n], &mut ds[..rows.count * n]);
            probabilities(shape, qkv, rows, all, p);
            let dout = &dout[rows.first * d + rows.column..];
            let dout = View::strided(dout, rows.count, shape.head(), d);
            // Gradients of keys and values are sums over all query rows.
            let sum = match rows.first {
                0 => Store::Set,
                _ => Store::Add,
            };
            let at = |part: usize, first: usize| first * 3 * d + part * d + rows.column;
            let mut product = |part: usize, first: usize, store, scale, a, b| {
                let out = &mut dqkv[at(part, first)..];
                matmul(out, 3 * d, store, scale, a, b, Parallelism::None);
            };
            let scores = View::new(p, rows.count, n);
            product(2, 0, sum, 1.0, scores.t(), dout);
            let values = shape.part(qkv, 2, all).t();
            matmul(ds, n, Store::Set, 1.0, dout, values, Parallelism::None);
            softmax_rows_backward(p, ds, n);
            let (ds, scale) = (View::new(ds, rows.count, n), shape.scale());
            let keys = shape.part(qkv, 1, all);
            product(0, rows.first, Store::Set, scale, ds, keys);
            product(1, 0, sum, scale, ds.t(), shape.part(qkv, 0, rows));
        }
    }
}

/// softmax(scale·QKᵀ) of some rows, `[rows, N]`.
fn probabilities(shape: AttentionShape, qkv: &[f32], rows: Rows, all: Rows, scores: &mut [f32]) {
    matmul(
        scores,
        shape.tokens,
        Store::Set,
        shape.scale(),
        shape.part(qkv, 0, rows),
        shape.part(qkv, 1, all).t(),
        Parallelism::None,
    );
    softmax_rows(scores, shape.tokens);
}

/// Values whose exponentials are taken as one row: what short rows leave beside whole vectors would take as long as those, and these
/// stay in the first cache.
const TOGETHER: usize = 2048;

vectorised! {
    /// Softmax of each row of length `n`, in place.
    fn softmax_rows(scores: &mut [f32], n: usize) {
        for rows in scores.chunks_mut(n * (TOGETHER / n).max(1)) {
            for row in rows.chunks_exact_mut(n) {
                let max = max(row);
                row.iter_mut().for_each(|x| *x -= max);
            }
            rows.iter_mut().for_each(|x| *x = exp(*x));
            for row in rows.chunks_exact_mut(n) {
                let inverse = 1.0 / sum2(row, row, |x, _| x);
                row.iter_mut().for_each(|x| *x *= inverse);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frozen::Precision;

    /// More rows than a block has, in f64 by the definition: output, and gradients of a weighted sum of it.
    #[test]
    fn blocks_of_rows_give_what_the_definition_says() {
        let (tokens, head) = (BLOCK + 37, 3);
        let shape = AttentionShape {
            tokens,
            heads: 2,
            width: 2 * head,
            precision: Precision::F32,
        };
        let (d, rows) = (shape.width, tokens * shape.width);
        let numbers = |count: usize, seed: usize| -> Vec<f32> {
            let number = |i: usize| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0;
            (0..count).map(number).collect()
        };
        let (qkv, dout) = (numbers(3 * rows, 1), numbers(rows, 2));
        let at = |row: usize, part: usize, column: usize| {
            f64::from(qkv[row * 3 * d + part * d + column])
        };
        let scale = 1.0 / (head as f64).sqrt();
        let (mut wanted, mut wanted_back) = (vec![0.0; rows], vec![0.0; 3 * rows]);
        for h in 0..2 {
            let columns = || h * head..(h + 1) * head;
            for i in 0..tokens {
                let score = |j: usize| {
                    let terms = columns().map(|c| at(i, 0, c) * at(j, 1, c));
                    (scale * terms.sum::<f64>()).exp()
                };
                let scores: Vec<f64> = (0..tokens).map(score).collect();
                let sum: f64 = scores.iter().sum();
                let p: Vec<f64> = scores.iter().map(|score| score / sum).collect();
                let dout = |c: usize| f64::from(dout[i * d + c]);
                let dp: Vec<f64> = (0..tokens)
                    .map(|j| columns().map(|c| dout(c) * at(j, 2, c)).sum())
                    .collect();
                let dot: f64 = p.iter().zip(&dp).map(|(p, dp)| p * dp).sum();
                for j in 0..tokens {
                    let ds = scale * p[j] * (dp[j] - dot);
                    for c in columns() {
                        wanted[i * d + c] += p[j] * at(j, 2, c);
                        wanted_back[i * 3 * d + c] += ds * at(j, 1, c);
                        wanted_back[j * 3 * d + d + c] += ds * at(i, 0, c);
                        wanted_back[j * 3 * d + 2 * d + c] += p[j] * dout(c);
                    }
                }
            }
        }
        // What is left in memory must not matter.
        let mut found = vec![f32::NAN; rows];
        attention(
            shape,
            &qkv,
            &mut found,
            &mut vec![f32::NAN; scratch(&shape)],
        );
        let mut found_back = vec![f32::NAN; 3 * rows];
        let mut memory = vec![f32::NAN; backward_scratch(&shape)];
        attention_backward(shape, &qkv, &dout, &mut found_back, &mut memory);
        for (found, wanted) in [(found, wanted), (found_back, wanted_back)] {
            let largest = wanted.iter().fold(0.0f64, |a, b| a.max(b.abs()));
            for (i, (a, b)) in found.iter().zip(&wanted).enumerate() {
                assert!(
                    (f64::from(*a) - b).abs() <= 1e-5 * largest,
                    "{i}: {a}, not {b}"
                );
            }
        }
    }
}
