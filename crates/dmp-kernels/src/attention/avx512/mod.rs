//! Attention with AVX-512, a block of query rows at a time: a block's scores stay in cache, and memory grows with N and
//! not with N².

mod softmax;

use super::AttentionShape;
use crate::avx512::{Left, Out, PANEL, Right, pack, panels, product};
pub(super) use softmax::{softmax, softmax_backward};

/// Query rows at a time: whole tiles, and enough of them for the products that sum over them.
const BLOCK: usize = 96;

/// Scores of a row, in whole vectors.
pub(super) fn stride(shape: &AttentionShape) -> usize {
    shape.tokens.next_multiple_of(16)
}

fn block(shape: &AttentionShape) -> usize {
    BLOCK.min(shape.tokens) * stride(shape)
}

/// Keys, and a block's scores.
pub(super) fn scratch(shape: &AttentionShape) -> usize {
    panels(shape.tokens, shape.head()) + block(shape)
}

/// Keys, values, and a block's scores and their gradients.
pub(super) fn backward_scratch(shape: &AttentionShape) -> usize {
    2 * scratch(shape)
}

/// See [`super::attention`].
#[target_feature(enable = "avx512f")]
pub(super) fn attention(shape: AttentionShape, qkv: &[f32], out: &mut [f32], scratch: &mut [f32]) {
    let (n, d, head) = (shape.tokens, shape.width, shape.head());
    let (keys, scores) = scratch.split_at_mut(panels(n, head));
    for at in (0..d).step_by(head) {
        pack(&qkv[d + at..], 3 * d, n, head, keys);
        for first in (0..n).step_by(BLOCK) {
            let rows = BLOCK.min(n - first);
            probabilities(&shape, &qkv[first * 3 * d + at..], rows, keys, scores);
            product(
                [rows, n, head],
                Left::rows(scores, stride(&shape)),
                Right::rows(&qkv[2 * d + at..], 3 * d),
                Out::set(&mut out[first * d + at..], d),
            );
        }
    }
}

/// See [`super::attention_backward`].
#[target_feature(enable = "avx512f")]
pub(super) fn attention_backward(
    shape: AttentionShape,
    qkv: &[f32],
    dout: &[f32],
    dqkv: &mut [f32],
    scratch: &mut [f32],
) {
    let (n, d, head, ld) = (shape.tokens, shape.width, shape.head(), stride(&shape));
    let (keys, rest) = scratch.split_at_mut(panels(n, head));
    let (values, rest) = rest.split_at_mut(panels(n, head));
    let (p, ds) = rest.split_at_mut(block(&shape));
    for at in (0..d).step_by(head) {
        let (key, value) = (d + at, 2 * d + at);
        pack(&qkv[key..], 3 * d, n, head, keys);
        pack(&qkv[value..], 3 * d, n, head, values);
        for first in (0..n).step_by(BLOCK) {
            let rows = BLOCK.min(n - first);
            // Gradients of keys and values are sums over all query rows.
            let sum = first > 0;
            let (query, dout) = (&qkv[first * 3 * d + at..], &dout[first * d + at..]);
            probabilities(&shape, query, rows, keys, p);
            onto_panels(n, [rows, head], Left::rows(dout, d), values, ds);
            softmax_backward(p, ds, [rows, ld], shape.scale());
            product(
                [n, rows, head],
                Left::columns(p, ld),
                Right::rows(dout, d),
                Out::new(&mut dqkv[value..], 3 * d, sum),
            );
            product(
                [n, rows, head],
                Left::columns(ds, ld),
                Right::rows(query, 3 * d),
                Out::new(&mut dqkv[key..], 3 * d, sum),
            );
            product(
                [rows, n, head],
                Left::rows(ds, ld),
                Right::rows(&qkv[key..], 3 * d),
                Out::set(&mut dqkv[first * 3 * d + at..], 3 * d),
            );
        }
    }
}

/// softmax(scale·QKᵀ) of some rows, `[rows, stride]`, zeros beyond N.
#[target_feature(enable = "avx512f")]
fn probabilities(
    shape: &AttentionShape,
    query: &[f32],
    rows: usize,
    keys: &[f32],
    scores: &mut [f32],
) {
    let (n, head) = (shape.tokens, shape.head());
    let query = Left::rows(query, 3 * shape.width);
    onto_panels(n, [rows, head], query, keys, scores);
    softmax(scores, [rows, n], stride(shape), shape.scale());
}

/// `out` `[rows, stride]` ← `a` `[rows, head]` · what is packed in `panels`, `[head, n]`.
#[target_feature(enable = "avx512f")]
fn onto_panels(n: usize, [rows, head]: [usize; 2], a: Left<'_>, panels: &[f32], out: &mut [f32]) {
    let stride = n.next_multiple_of(16);
    for (first, panel) in (0..n).step_by(PANEL).zip(panels.chunks_exact(PANEL * head)) {
        product(
            [rows, head, PANEL.min(stride - first)],
            a,
            Right::rows(panel, PANEL),
            Out::set(&mut out[first..], stride),
        );
    }
}
