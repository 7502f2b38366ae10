//! Values as digits.
//!
//! The values of a tile's depth lie in the order in which four vectors of sixteen fit together: byte `j` of word `i` is of value
//! `16·j + i`. Which one it is makes no difference, as long as both factors agree.

use std::arch::x86_64::*;

use super::{DEEP, DIGITS, Line, TILE, lines};
use crate::avx512::mask;

/// What the largest value of a row becomes: 127 in its first digit.
const LARGEST: f32 = 127.0 * 65536.0;

/// Added to a value, it makes bytes of digits from 0; exclusive or with it then makes them signed.
const HALVES: i32 = 0x0080_8080;

/// What values of this largest are multiplied by, and what their first digits count.
///
/// A largest below 2⁻¹⁰⁰ counts as that, so that no scale overflows; where it is not finite, all is none.
fn scale(largest: f32) -> [f32; 2] {
    const LEAST: f32 = f32::from_bits((127 - 100) << 23);
    if !largest.is_finite() {
        return [0.0, f32::NAN];
    }
    let largest = largest.max(LEAST);
    [LARGEST / largest, largest / 127.0]
}

/// A right factor's column, to the tiles of sixteen of them; returns what its first digits count.
pub(super) fn column(
    values: impl Iterator<Item = f32> + Clone,
    column: usize,
    tiles: &mut [Line],
) -> f32 {
    let bits = values.clone().map(|value| value.abs().to_bits()).max();
    let [scale, unit] = scale(f32::from_bits(bits.unwrap_or(0)));
    for (k, value) in values.enumerate() {
        // What is no number becomes zero.
        let digits = ((value * scale).round_ties_even() as i32 + HALVES) ^ HALVES;
        let [third, second, first, _] = digits.to_le_bytes();
        let (step, word, byte) = (k / DEEP, k % TILE, k % DEEP / TILE);
        for (i, digit) in [first, second, third].into_iter().enumerate() {
            let line = &mut tiles[(step * DIGITS + i) * TILE + word];
            line.0[column] |= u32::from(digit) << (8 * byte);
        }
    }
    unit
}

/// A left factor's sixteen rows at the most, `depth` values of each, rows `stride` apart; `units` get what their first digits count.
///
/// # Panics
/// When shapes do not fit: a bug of the caller, never of a user.
#[target_feature(enable = "avx512f")]
pub(super) fn rows(
    values: &[f32],
    stride: usize,
    depth: usize,
    units: &mut [f32],
    out: &mut [Line],
) {
    let out = &mut out[..lines(depth)];
    for row in 0..TILE {
        let Some(unit) = units.get_mut(row) else {
            for line in out[row..].iter_mut().step_by(TILE) {
                *line = Line::default();
            }
            continue;
        };
        let values = &values[row * stride..][..depth];
        let scale;
        [scale, *unit] = self::scale(largest(values));
        for (values, out) in values.chunks(DEEP).zip(out.chunks_exact_mut(DIGITS * TILE)) {
            let digits = digits(values, scale);
            for (i, digit) in digits.into_iter().enumerate() {
                let line = &mut out[i * TILE + row];
                // SAFETY: a line has 64 bytes, and is aligned to as many.
                unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), digit) };
            }
        }
    }
}

/// Of the values, signs aside; no number where one of them is none.
#[target_feature(enable = "avx512f")]
#[inline]
fn largest(values: &[f32]) -> f32 {
    let magnitude = _mm512_set1_epi32(i32::MAX);
    // As whole numbers they are in the same order, and beyond infinity is what is no number.
    let mut most = [_mm512_setzero_si512(); 4];
    for values in values.chunks(DEEP) {
        for (most, values) in most.iter_mut().zip(values.chunks(TILE)) {
            let bits = _mm512_and_si512(_mm512_castps_si512(load(values)), magnitude);
            *most = _mm512_max_epu32(*most, bits);
        }
    }
    let [a, b, c, d] = most;
    let all = _mm512_max_epu32(_mm512_max_epu32(a, b), _mm512_max_epu32(c, d));
    f32::from_bits(_mm512_reduce_max_epu32(all))
}

/// Each digit of up to [`DEEP`] values.
#[target_feature(enable = "avx512f")]
#[inline]
fn digits(values: &[f32], scale: f32) -> [__m512i; DIGITS] {
    let (scale, halves) = (_mm512_set1_ps(scale), _mm512_set1_epi32(HALVES));
    // Four vectors' bytes, the first digits' in the third.
    let mut bytes = [_mm512_setzero_si512(); 4];
    for (bytes, values) in bytes.iter_mut().zip(values.chunks(TILE)) {
        let whole = _mm512_cvtps_epi32(_mm512_mul_ps(load(values), scale));
        *bytes = _mm512_xor_si512(_mm512_add_epi32(whole, halves), halves);
    }
    let [a, b, c, d] = bytes;
    let first = join(
        _mm512_srli_epi32::<16>(a),
        _mm512_srli_epi32::<8>(b),
        c,
        _mm512_slli_epi32::<8>(d),
    );
    let second = join(
        _mm512_srli_epi32::<8>(a),
        b,
        _mm512_slli_epi32::<8>(c),
        _mm512_slli_epi32::<16>(d),
    );
    let third = join(
        a,
        _mm512_slli_epi32::<8>(b),
        _mm512_slli_epi32::<16>(c),
        _mm512_slli_epi32::<24>(d),
    );
    [first, second, third]
}

/// Of each word, the lowest byte of the first, the next of the second, and so on.
#[target_feature(enable = "avx512f")]
#[inline]
fn join(a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> __m512i {
    /// The first where the last has bits, the second where it has none.
    const CHOOSE: i32 = 0b1110_0100;
    let low = _mm512_ternarylogic_epi32::<CHOOSE>(a, b, _mm512_set1_epi32(0xff));
    let high = _mm512_ternarylogic_epi32::<CHOOSE>(c, d, _mm512_set1_epi32(0xff_ffff));
    _mm512_ternarylogic_epi32::<CHOOSE>(low, high, _mm512_set1_epi32(0xffff))
}

/// Up to sixteen values, zeros behind them.
#[target_feature(enable = "avx512f")]
#[inline]
fn load(values: &[f32]) -> __m512 {
    // SAFETY: the mask is of the values that are there.
    unsafe { _mm512_maskz_loadu_ps(mask(values.len().min(TILE)), values.as_ptr()) }
}
