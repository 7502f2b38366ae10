//! Attention on the matrix unit, a block of query rows at a time: every factor rounded to bf16, sums and softmax in f32.
//!
//! In three parts, as frozen weights are multiplied in f32, it would be no faster than vectors: here each factor is packed for one
//! product or two.

use std::cell::RefCell;

use super::AttentionShape;
use super::avx512::{softmax, softmax_backward, stride};
use crate::amx::{Block, Line, SIDE, Session, columns, lines, rows, rows_transposed, transposed};

/// Query rows at a time: the gradients of keys and values are sums over them.
const BLOCK: usize = 4 * SIDE;

/// Parts of each value.
const PARTS: usize = 1;

fn block(shape: &AttentionShape) -> usize {
    BLOCK.min(shape.tokens) * stride(shape)
}

/// A block's scores.
pub(super) fn scratch(shape: &AttentionShape) -> usize {
    block(shape)
}

/// A block's scores and their gradients.
pub(super) fn backward_scratch(shape: &AttentionShape) -> usize {
    2 * block(shape)
}

/// A matrix in a slice, its rows `stride` apart.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    values: &'a [f32],
    stride: usize,
    rows: usize,
    columns: usize,
}

impl<'a> Matrix<'a> {
    fn new(values: &'a [f32], stride: usize, [rows, columns]: [usize; 2]) -> Self {
        Self {
            values,
            stride,
            rows,
            columns,
        }
    }
}

/// A factor's tiles: blocks of [`SIDE`] rows of a left factor or columns of a right one, `depth` deep.
#[derive(Default)]
struct Tiles {
    depth: usize,
    lines: Vec<Line>,
}

impl Tiles {
    /// Makes so many blocks with `pack`, which gets the first row or column of each and how many there are.
    fn fill(&mut self, wide: usize, depth: usize, pack: impl Fn(usize, usize, &mut [Line])) {
        let block = lines(depth, PARTS);
        self.depth = depth;
        self.lines
            .resize(wide.div_ceil(SIDE) * block, Line::default());
        for (i, tiles) in self.lines.chunks_exact_mut(block).enumerate() {
            pack(i * SIDE, SIDE.min(wide - i * SIDE), tiles);
        }
    }

    /// The matrix as a left factor.
    fn left(&mut self, _: &Session, m: Matrix<'_>) {
        self.fill(m.rows, m.columns, |first, count, tiles| {
            // SAFETY: the session has seen that the processor has the instructions.
            unsafe {
                rows::<PARTS>(
                    &m.values[first * m.stride..],
                    m.stride,
                    count,
                    m.columns,
                    tiles,
                )
            };
        });
    }

    /// Its transpose as a left factor.
    fn left_transposed(&mut self, _: &Session, m: Matrix<'_>) {
        self.fill(m.columns, m.rows, |first, count, tiles| {
            // SAFETY: as above.
            unsafe { rows_transposed::<PARTS>(&m.values[first..], m.stride, count, m.rows, tiles) };
        });
    }

    /// The matrix as a right factor.
    fn right(&mut self, _: &Session, m: Matrix<'_>) {
        self.fill(m.columns, m.rows, |first, count, tiles| {
            // SAFETY: as above.
            unsafe { columns::<PARTS>(&m.values[first..], m.stride, count, m.rows, tiles) };
        });
    }

    /// Its transpose as a right factor.
    fn right_transposed(&mut self, _: &Session, m: Matrix<'_>) {
        self.fill(m.rows, m.columns, |first, count, tiles| {
            // SAFETY: as above.
            unsafe {
                transposed::<PARTS>(
                    &m.values[first * m.stride..],
                    m.stride,
                    count,
                    m.columns,
                    tiles,
                );
            }
        });
    }

    fn blocks(&self) -> impl Iterator<Item = &[Line]> {
        self.lines.chunks_exact(lines(self.depth, PARTS))
    }
}

/// `out` (=|+=) `left · right`, `[rows, columns]`, rows `stride` apart.
fn product(
    session: &Session,
    [left, right]: [&Tiles; 2],
    out: &mut [f32],
    [rows, columns, stride]: [usize; 3],
    add: bool,
) {
    let (depth, mut block) = (left.depth, Block::ZERO);
    for (column, right) in (0..columns).step_by(SIDE).zip(right.blocks()) {
        for (row, left) in (0..rows).step_by(SIDE).zip(left.blocks()) {
            let size = [SIDE.min(rows - row), SIDE.min(columns - column), stride];
            let out = &mut out[row * stride + column..];
            block.product::<PARTS>(session, depth, [left, right], out, size, add);
        }
    }
}

/// What is packed of one head, kept between calls.
#[derive(Default)]
struct Packed {
    /// Keys as the scores need them, and as the queries' gradients do.
    keys: [Tiles; 2],
    values: Tiles,
    /// Left and right factors that change with every product.
    left: Tiles,
    right: Tiles,
}

fn with_packed(work: impl FnOnce(&mut Packed)) {
    thread_local! {
        static PACKED: RefCell<Packed> = RefCell::default();
    }
    PACKED.with_borrow_mut(work);
}

/// See [`super::attention`].
pub(super) fn attention(shape: AttentionShape, qkv: &[f32], out: &mut [f32], scores: &mut [f32]) {
    let (n, d, head) = (shape.tokens, shape.width, shape.head());
    let session = Session::new();
    let of = |values, stride, rows| Matrix::new(values, stride, [rows, head]);
    with_packed(|packed| {
        let [keys, _] = &mut packed.keys;
        for at in (0..d).step_by(head) {
            keys.right_transposed(&session, of(&qkv[d + at..], 3 * d, n));
            packed
                .values
                .right(&session, of(&qkv[2 * d + at..], 3 * d, n));
            for first in (0..n).step_by(BLOCK) {
                let rows = BLOCK.min(n - first);
                let query = of(&qkv[first * 3 * d + at..], 3 * d, rows);
                packed.left.left(&session, query);
                probabilities(&session, &shape, rows, [&packed.left, keys], scores);
                packed
                    .left
                    .left(&session, probability(&shape, rows, scores));
                let factors = [&packed.left, &packed.values];
                product(
                    &session,
                    factors,
                    &mut out[first * d + at..],
                    [rows, head, d],
                    false,
                );
            }
        }
    });
}

/// See [`super::attention_backward`].
pub(super) fn attention_backward(
    shape: AttentionShape,
    qkv: &[f32],
    dout: &[f32],
    dqkv: &mut [f32],
    scratch: &mut [f32],
) {
    let (n, d, head, ld) = (shape.tokens, shape.width, shape.head(), stride(&shape));
    let session = Session::new();
    let (p, ds) = scratch.split_at_mut(block(&shape));
    let of = |values, stride, rows| Matrix::new(values, stride, [rows, head]);
    with_packed(|packed| {
        let Packed {
            keys: [keys, down],
            values,
            left,
            right,
        } = packed;
        for at in (0..d).step_by(head) {
            let (key, value) = (d + at, 2 * d + at);
            keys.right_transposed(&session, of(&qkv[key..], 3 * d, n));
            down.right(&session, of(&qkv[key..], 3 * d, n));
            values.right_transposed(&session, of(&qkv[value..], 3 * d, n));
            for first in (0..n).step_by(BLOCK) {
                let rows = BLOCK.min(n - first);
                // Gradients of keys and values are sums over all query rows.
                let add = first > 0;
                let query = of(&qkv[first * 3 * d + at..], 3 * d, rows);
                let dout = of(&dout[first * d + at..], d, rows);
                left.left(&session, query);
                probabilities(&session, &shape, rows, [left, keys], p);
                left.left(&session, dout);
                product(&session, [left, values], ds, [rows, ld, ld], false);
                // SAFETY: the session has seen that the CPU has AVX-512.
                unsafe { softmax_backward(p, ds, [rows, ld], shape.scale()) };
                for (scores, with, to) in [(&*p, dout, value), (&*ds, query, key)] {
                    left.left_transposed(&session, probability(&shape, rows, scores));
                    right.right(&session, with);
                    let (factors, size) = ([&*left, &*right], [n, head, 3 * d]);
                    product(&session, factors, &mut dqkv[to..], size, add);
                }
                left.left(&session, probability(&shape, rows, ds));
                let to = &mut dqkv[first * 3 * d + at..];
                product(&session, [left, down], to, [rows, head, 3 * d], false);
            }
        }
    });
}

/// A block's scores or their gradients.
fn probability<'a>(shape: &AttentionShape, rows: usize, values: &'a [f32]) -> Matrix<'a> {
    Matrix::new(values, stride(shape), [rows, shape.tokens])
}

/// softmax(scale·QKᵀ) of some rows, `[rows, stride]`, zeros beyond N.
fn probabilities(
    session: &Session,
    shape: &AttentionShape,
    rows: usize,
    factors: [&Tiles; 2],
    scores: &mut [f32],
) {
    let ld = stride(shape);
    product(session, factors, scores, [rows, ld, ld], false);
    // SAFETY: the session has seen that the CPU has AVX-512.
    unsafe { softmax(scores, [rows, shape.tokens], ld, shape.scale()) };
}

#[cfg(test)]
mod tests;
