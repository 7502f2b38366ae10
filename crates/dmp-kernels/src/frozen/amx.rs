//! Products with frozen weights on the matrix unit: the loops around blocks of tiles.

use std::cell::RefCell;

use crate::amx::{Block, Line, SIDE, Session, lines, rows};
use crate::avx512::mask;

/// What a product multiplies with: blocks of [`SIDE`] columns.
///
/// A value has one part where factors are rounded to bf16, and three where all their bits count.
pub(super) trait Right<const PARTS: usize> {
    /// Values of a row that are summed before the next columns' turn: so deep a block of columns stays in the first caches.
    const DEPTH: usize;

    /// The tiles of the columns from `first` on, rows `deep` to `deep + depth`, made in `scratch` or lying ready.
    fn tiles<'a>(
        &'a self,
        first: usize,
        deep: usize,
        depth: usize,
        scratch: &'a mut [Line],
    ) -> &'a [Line];
}

/// `out` `[rows, columns]` ← `a` `[rows, inner]` · `b`.
///
/// # Panics
/// When shapes do not fit, or the processor has no matrix unit: a bug of the caller, never of a user.
pub(super) fn product<const PARTS: usize, R: Right<PARTS>>(
    a: &[f32],
    b: &R,
    [inner, columns]: [usize; 2],
    out: &mut [f32],
) {
    thread_local! {
        static TILES: RefCell<[Vec<Line>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
    }
    let session = Session::new();
    let count = out.len() / columns;
    assert_eq!(a.len(), count * inner, "left factor");
    TILES.with_borrow_mut(|[left, right]| {
        right.resize(lines(R::DEPTH, PARTS), Line::default());
        let mut sums = Block::zeros();
        for deep in (0..inner).step_by(R::DEPTH) {
            let depth = R::DEPTH.min(inner - deep);
            let block = lines(depth, PARTS);
            left.resize(count.div_ceil(SIDE) * block, Line::default());
            for (first, left) in (0..count).step_by(SIDE).zip(left.chunks_exact_mut(block)) {
                let here = SIDE.min(count - first);
                // SAFETY: the session has seen that the processor has the instructions.
                unsafe { rows::<PARTS>(&a[first * inner + deep..], inner, here, depth, left) };
            }
            for column in (0..columns).step_by(SIDE) {
                let right = b.tiles(column, deep, depth, right);
                let width = SIDE.min(columns - column);
                for (left, out) in left.chunks_exact(block).zip(out.chunks_mut(SIDE * columns)) {
                    session.multiply::<PARTS>(depth, left, right, &mut sums);
                    // SAFETY: as above.
                    unsafe { put(&sums, &mut out[column..], columns, width, deep > 0) };
                }
            }
        }
    });
}

/// A block's sums to rows `stride` apart, `width` of them each, set or added.
#[target_feature(enable = "avx512f")]
fn put(sums: &Block, out: &mut [f32], stride: usize, width: usize, add: bool) {
    use std::arch::x86_64::*;
    for (sums, out) in sums.0.iter().zip(out.chunks_mut(stride)) {
        for (sums, out) in sums.chunks_exact(16).zip(out[..width].chunks_mut(16)) {
            let lanes = mask(out.len());
            // SAFETY: sixteen sums; the mask is of the values that are there.
            unsafe {
                let sums = _mm512_load_ps(sums.as_ptr());
                let before = match add {
                    true => _mm512_maskz_loadu_ps(lanes, out.as_ptr()),
                    false => _mm512_setzero_ps(),
                };
                _mm512_mask_storeu_ps(out.as_mut_ptr(), lanes, _mm512_add_ps(before, sums));
            }
        }
    }
}
