//! f32 values as tiles of bf16, in one part (rounded) or three (all bits).
//!
//! A block's factor is [`SIDE`] rows or columns wide. For each tile's depth ([`DEEP`] values) and each part come two tiles. A line
//! of the left factor is a row's next values; a line of the right factor is a pair of values for each of sixteen columns.

use std::arch::x86_64::*;

use super::{DEEP, Line, SIDE, TILE, lines};
use crate::avx512::{mask, transpose};

/// Left factor: up to [`SIDE`] rows, `stride` apart, `depth` values of each. Missing rows and values are zeros.
///
/// # Panics
/// When shapes do not fit: a bug of the caller, never of a user.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(crate) fn rows<const PARTS: usize>(
    values: &[f32],
    stride: usize,
    count: usize,
    depth: usize,
    out: &mut [Line],
) {
    let out = &mut out[..lines(depth, PARTS)];
    for (step, out) in out.chunks_exact_mut(PARTS * SIDE).enumerate() {
        let deep = step * DEEP;
        for row in 0..SIDE {
            let pairs: [__m512i; PARTS] = if row < count {
                along(&values[row * stride + deep..], DEEP.min(depth - deep))
            } else {
                [_mm512_setzero_si512(); PARTS]
            };
            for (part, pairs) in pairs.into_iter().enumerate() {
                store(&mut out[part * SIDE + row], pairs);
            }
        }
    }
}

/// Right factor, transposed: `values` holds up to [`SIDE`] columns, `stride` apart, `depth` values of each.
///
/// # Panics
/// As [`rows`].
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(crate) fn transposed<const PARTS: usize>(
    values: &[f32],
    stride: usize,
    count: usize,
    depth: usize,
    out: &mut [Line],
) {
    let out = &mut out[..lines(depth, PARTS)];
    for (step, out) in out.chunks_exact_mut(PARTS * SIDE).enumerate() {
        let deep = step * DEEP;
        for first in (0..SIDE).step_by(TILE) {
            let mut squares = [[_mm512_setzero_ps(); TILE]; PARTS];
            for column in 0..TILE.min(count.saturating_sub(first)) {
                let values = &values[(first + column) * stride + deep..];
                let pairs = along::<PARTS>(values, DEEP.min(depth - deep));
                for (square, pairs) in squares.iter_mut().zip(pairs) {
                    square[column] = _mm512_castsi512_ps(pairs);
                }
            }
            store_transposed(squares, first, out);
        }
    }
}

/// Right factor: `depth` rows, `stride` apart, of up to [`SIDE`] columns.
///
/// # Panics
/// As [`rows`].
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(crate) fn columns<const PARTS: usize>(
    values: &[f32],
    stride: usize,
    count: usize,
    depth: usize,
    out: &mut [Line],
) {
    let out = &mut out[..lines(depth, PARTS)];
    for (step, out) in out.chunks_exact_mut(PARTS * SIDE).enumerate() {
        for pair in 0..TILE {
            let row = step * DEEP + 2 * pair;
            for first in (0..SIDE).step_by(TILE) {
                let width = TILE.min(count.saturating_sub(first));
                let parts = pairs::<PARTS>(values, stride, [row, depth], [first, width]);
                for (part, pairs) in parts.into_iter().enumerate() {
                    store(&mut out[part * SIDE + first + pair], pairs);
                }
            }
        }
    }
}

/// Left factor, transposed: `depth` rows, `stride` apart, of up to [`SIDE`] columns, which become its rows.
///
/// # Panics
/// As [`rows`].
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(crate) fn rows_transposed<const PARTS: usize>(
    values: &[f32],
    stride: usize,
    count: usize,
    depth: usize,
    out: &mut [Line],
) {
    let out = &mut out[..lines(depth, PARTS)];
    for (step, out) in out.chunks_exact_mut(PARTS * SIDE).enumerate() {
        for first in (0..SIDE).step_by(TILE) {
            let width = TILE.min(count.saturating_sub(first));
            let mut squares = [[_mm512_setzero_ps(); TILE]; PARTS];
            for pair in 0..TILE {
                let row = step * DEEP + 2 * pair;
                let parts = pairs::<PARTS>(values, stride, [row, depth], [first, width]);
                for (square, pairs) in squares.iter_mut().zip(parts) {
                    square[pair] = _mm512_castsi512_ps(pairs);
                }
            }
            store_transposed(squares, first, out);
        }
    }
}

/// Values of two rows next to each other, `width` ≤ 16 columns from `first` on; zeros beyond `depth` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
pub(crate) fn pairs<const PARTS: usize>(
    values: &[f32],
    stride: usize,
    [row, depth]: [usize; 2],
    [first, width]: [usize; 2],
) -> [__m512i; PARTS] {
    const ORDER: [u16; 32] = {
        let mut order = [0; 32];
        let mut i = 0;
        while i < 32 {
            order[i] = (i / 2 + i % 2 * 16) as u16;
            i += 1;
        }
        order
    };
    let load = |row: usize| match row < depth && width > 0 {
        true => load(&values[row * stride + first..], width),
        false => _mm512_setzero_ps(),
    };
    let [even, odd] = [load(row), load(row + 1)];
    if PARTS == 1 {
        // SAFETY: 64 bytes.
        let order = unsafe { _mm512_loadu_si512(ORDER.as_ptr().cast()) };
        return [_mm512_permutexvar_epi16(order, rounded(even, odd)); PARTS];
    }
    let mut pairs = [_mm512_setzero_si512(); PARTS];
    for (pair, [even, odd]) in pairs.iter_mut().zip(split::<PARTS>(even, odd)) {
        *pair = _mm512_or_si512(_mm512_srli_epi32::<16>(even), odd);
    }
    pairs
}

/// Each part's words, columns become rows, to one of a step's two tiles.
#[target_feature(enable = "avx512f")]
#[inline]
fn store_transposed<const PARTS: usize>(
    squares: [[__m512; TILE]; PARTS],
    first: usize,
    out: &mut [Line],
) {
    for (part, mut square) in squares.into_iter().enumerate() {
        transpose(&mut square);
        for (line, pairs) in out[part * SIDE + first..].iter_mut().zip(square) {
            store(line, _mm512_castps_si512(pairs));
        }
    }
}

/// The first `count` ≤ [`DEEP`] values, zeros behind them, in parts.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
fn along<const PARTS: usize>(values: &[f32], count: usize) -> [__m512i; PARTS] {
    let low = load(values, count.min(TILE));
    let high = match count.checked_sub(TILE) {
        None | Some(0) => _mm512_setzero_ps(),
        Some(rest) => load(&values[TILE..], rest),
    };
    if PARTS == 1 {
        return [rounded(low, high); PARTS];
    }
    const UPPER: [u16; 32] = {
        let mut words = [0; 32];
        let mut i = 0;
        while i < 32 {
            words[i] = 2 * i as u16 + 1;
            i += 1;
        }
        words
    };
    // SAFETY: 64 bytes.
    let upper = unsafe { _mm512_loadu_si512(UPPER.as_ptr().cast()) };
    let mut pairs = [_mm512_setzero_si512(); PARTS];
    for (pair, [low, high]) in pairs.iter_mut().zip(split::<PARTS>(low, high)) {
        *pair = _mm512_permutex2var_epi16(low, upper, high);
    }
    pairs
}

/// Two vectors in bf16, the first's sixteen values before the second's.
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn rounded(low: __m512, high: __m512) -> __m512i {
    // SAFETY: both are 64 bytes of any values.
    unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) }
}

/// Parts of two vectors, in the upper halves of their words: each part is what is left, rounded, and nothing is left by the third.
#[target_feature(enable = "avx512f")]
#[inline]
fn split<const PARTS: usize>(low: __m512, high: __m512) -> [[__m512i; 2]; PARTS] {
    let upper = _mm512_set1_epi32(0xffff_0000_u32 as i32);
    let half = _mm512_set1_epi32(0x8000);
    // No closures: they would not become part of what calls them.
    let mut left = [low, high];
    let mut parts = [[_mm512_setzero_si512(); 2]; PARTS];
    for (i, part) in parts.iter_mut().enumerate() {
        for (part, left) in part.iter_mut().zip(&mut left) {
            let mut bits = _mm512_castps_si512(*left);
            // Added to what is no number, it could make it one: not to the last part.
            if i + 1 < PARTS {
                bits = _mm512_add_epi32(bits, half);
            }
            *part = _mm512_and_si512(bits, upper);
            *left = _mm512_sub_ps(*left, _mm512_castsi512_ps(*part));
        }
    }
    parts
}

/// `1 ≤ count ≤ 16` values, zeros behind them.
#[target_feature(enable = "avx512f")]
#[inline]
fn load(values: &[f32], count: usize) -> __m512 {
    let values = &values[..count];
    // SAFETY: the mask is of the values that are there.
    unsafe { _mm512_maskz_loadu_ps(mask(count), values.as_ptr()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(line: &mut Line, words: __m512i) {
    // SAFETY: a line has 64 bytes, and is aligned to as many.
    unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), words) };
}
