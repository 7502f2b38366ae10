//! Products of f32 matrices in tiles of registers, for processors with AVX2 and no AVX-512: what convolutions and frozen weights
//! share.

use std::arch::x86_64::*;
use std::ops::Range;

/// Rows of a tile of sums: with [`VECTORS`] they fill twelve of the sixteen registers.
pub(crate) const TALL: usize = 6;

/// Vectors of columns in a panel.
pub(crate) const VECTORS: usize = 2;

/// Values of a vector.
pub(crate) const LANES: usize = 8;

/// Columns of a panel.
pub(crate) const WIDE: usize = VECTORS * LANES;

/// A row of the right factor's panel: as much as a line of the cache has.
pub(crate) type Line = [__m256; VECTORS];

/// How many lines before their turn those of a panel that is in the second cache are asked for: 8 and 32 are no worse than this.
/// BENCHMARKS.md has what it brings (the evaluator, the autoencoder).
const AHEAD: usize = 16;

/// [`TALL`] rows of the left factor.
pub(crate) trait Left: Copy {
    /// Values of a row.
    fn depth(self) -> usize;

    /// That of a row at some depth.
    ///
    /// # Safety
    /// They are less than [`TALL`] and [`Self::depth`].
    unsafe fn value(self, row: usize, at: usize) -> f32;
}

/// Rows side by side: for each depth their values.
#[derive(Clone, Copy)]
pub(crate) struct Interleaved<'a>(pub(crate) &'a [[f32; TALL]]);

impl Left for Interleaved<'_> {
    #[inline(always)]
    fn depth(self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    unsafe fn value(self, row: usize, at: usize) -> f32 {
        // SAFETY: the caller says that it is there.
        unsafe { self.0.get_unchecked(at)[row] }
    }
}

/// Rows one after the other, each with room for `ROOM` values.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, const ROOM: usize>(pub(crate) &'a [[f32; ROOM]; TALL]);

impl<const ROOM: usize> Left for Rows<'_, ROOM> {
    #[inline(always)]
    fn depth(self) -> usize {
        ROOM
    }

    #[inline(always)]
    unsafe fn value(self, row: usize, at: usize) -> f32 {
        // SAFETY: the caller says that it is there.
        unsafe { *self.0[row].get_unchecked(at) }
    }
}

/// Where a tile goes: these columns of rows of `stride`, of which there may be fewer than [`TALL`].
pub(crate) struct Out<'a> {
    pub(crate) rows: &'a mut [f32],
    pub(crate) stride: usize,
    /// [`WIDE`] of them or fewer.
    pub(crate) columns: Range<usize>,
    /// Whether the product is added to what is there.
    pub(crate) add: bool,
}

/// `out (=|+=) left · panel`, as deep as the panel.
///
/// # Panics
/// When the panel is deeper than the rows, or `out` has no such columns: a bug of the caller, never of a user.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(crate) fn product(left: impl Left, panel: &[Line], out: Out<'_>) {
    if out.add {
        // What is there comes from far when the tile's turn is over, if it is not asked for.
        for row in out.rows.chunks_exact(out.stride) {
            ask(&raw const row[out.columns.start]);
        }
    }
    match out.columns.len() > LANES {
        true => store(sums::<VECTORS>(left, panel), out),
        false => store(sums::<1>(left, panel), out),
    }
}

/// The products with the first `V` vectors of a panel's lines.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn sums<const V: usize>(left: impl Left, panel: &[Line]) -> [[__m256; V]; TALL] {
    const { assert!(V <= VECTORS) };
    assert!(panel.len() <= left.depth(), "rows are not as deep");
    let mut sums = [[_mm256_setzero_ps(); V]; TALL];
    // A few lines at a time: one of them is little work beside what a loop takes.
    let (fours, rest) = panel.as_chunks::<4>();
    for (four, lines) in fours.iter().enumerate() {
        for (i, line) in lines.iter().enumerate() {
            ask((&raw const *line).wrapping_add(AHEAD));
            // SAFETY: not as deep as the panel, which is not deeper than the rows.
            unsafe { add(&mut sums, left, four * 4 + i, line) };
        }
    }
    for (i, line) in rest.iter().enumerate() {
        // SAFETY: likewise.
        unsafe { add(&mut sums, left, fours.len() * 4 + i, line) };
    }
    sums
}

/// Adds what one line brings.
///
/// # Safety
/// Rows are deeper than `at`.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn add<const V: usize>(
    sums: &mut [[__m256; V]; TALL],
    left: impl Left,
    at: usize,
    line: &Line,
) {
    for (row, sums) in sums.iter_mut().enumerate() {
        // SAFETY: as the caller says; there are as many rows of sums.
        let value = _mm256_set1_ps(unsafe { left.value(row, at) });
        for (sum, &columns) in sums.iter_mut().zip(line) {
            *sum = _mm256_fmadd_ps(value, columns, *sum);
        }
    }
}

/// Brings sums to their place.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn store<const V: usize>(sums: [[__m256; V]; TALL], out: Out<'_>) {
    for (sums, row) in sums.iter().zip(out.rows.chunks_exact_mut(out.stride)) {
        let parts = row[out.columns.clone()].chunks_mut(LANES);
        for (&sum, part) in sums.iter().zip(parts) {
            let whole = part.len() == LANES;
            let lanes = lanes(0..part.len());
            let at = part.as_mut_ptr();
            // SAFETY: eight values are there, or lanes that are not there are not touched.
            unsafe {
                let sum = match (out.add, whole) {
                    (false, _) => sum,
                    (true, true) => _mm256_add_ps(sum, _mm256_loadu_ps(at)),
                    (true, false) => _mm256_add_ps(sum, _mm256_maskload_ps(at, lanes)),
                };
                match whole {
                    true => _mm256_storeu_ps(at, sum),
                    false => _mm256_maskstore_ps(at, lanes, sum),
                }
            }
        }
    }
}

/// A mask of these lanes of eight; those outside of 0 to 8 do not count.
#[target_feature(enable = "avx2")]
#[inline]
pub(crate) fn lanes(lanes: Range<usize>) -> __m256i {
    let each = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let from = _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes.start as i32), each);
    let to = _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes.end as i32), each);
    _mm256_andnot_si256(from, to)
}

/// Has the line of the cache that is there, if any is, brought near.
#[inline(always)]
pub(crate) fn ask<T>(at: *const T) {
    // SAFETY: no address is wrong to ask for.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
}
