//! Transposing rows into panels.

use std::arch::x86_64::*;

use super::tile::mask;

/// Columns of a panel: four vectors.
pub(crate) const PANEL: usize = 64;

/// Values that [`pack`] writes for `n` rows of `width`.
pub(crate) fn panels(n: usize, width: usize) -> usize {
    n.div_ceil(PANEL) * PANEL * width
}

/// `n` rows of `width`, `stride` apart, transposed into panels `[width, PANEL]`, with zeros in the rest of the last vector.
///
/// # Panics
/// When shapes do not fit: a bug of the caller, never of a user.
#[target_feature(enable = "avx512f")]
pub(crate) fn pack(rows: &[f32], stride: usize, n: usize, width: usize, out: &mut [f32]) {
    assert!(
        n == 0 || (n - 1) * stride + width <= rows.len(),
        "rows exceed their slice"
    );
    let panels = out.chunks_exact_mut(PANEL * width);
    for (panel, first) in panels.zip((0..n).step_by(PANEL)) {
        for token in (first..n.min(first + PANEL)).step_by(16) {
            for column in (0..width).step_by(16) {
                let columns = 16.min(width - column);
                let mut square: [__m512; 16] = std::array::from_fn(|row| {
                    if token + row < n {
                        let at = rows[(token + row) * stride + column..].as_ptr();
                        // SAFETY: `columns` values are left of the row, and the mask is theirs.
                        unsafe { _mm512_maskz_loadu_ps(mask(columns), at) }
                    } else {
                        _mm512_setzero_ps()
                    }
                });
                transpose(&mut square);
                let lines = panel[column * PANEL..].chunks_exact_mut(PANEL);
                for (line, values) in lines.zip(square).take(columns) {
                    let to = &mut line[token - first..token - first + 16];
                    // SAFETY: sixteen values.
                    unsafe { _mm512_storeu_ps(to.as_mut_ptr(), values) };
                }
            }
        }
    }
}

/// Rows become columns: pairs of rows, then pairs of pairs, then quarters of vectors.
#[target_feature(enable = "avx512f")]
#[inline]
pub(crate) fn transpose(rows: &mut [__m512; 16]) {
    let mut fours = [_mm512_setzero_ps(); 16];
    for (rows, fours) in rows.chunks_exact(4).zip(fours.chunks_exact_mut(4)) {
        let low = |a, b| _mm512_castps_pd(_mm512_unpacklo_ps(a, b));
        let high = |a, b| _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
        let (a, b) = (low(rows[0], rows[1]), low(rows[2], rows[3]));
        let (c, d) = (high(rows[0], rows[1]), high(rows[2], rows[3]));
        fours[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
        fours[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        fours[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(c, d));
        fours[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(c, d));
    }
    // In the quarter q of fours[4g + c] lies column 4q + c of rows 4g to 4g + 3.
    for c in 0..4 {
        let (a, b, d, e) = (fours[c], fours[4 + c], fours[8 + c], fours[12 + c]);
        let even = |a, b| _mm512_shuffle_f32x4::<0x88>(a, b);
        let odd = |a, b| _mm512_shuffle_f32x4::<0xdd>(a, b);
        rows[c] = even(even(a, b), even(d, e));
        rows[4 + c] = even(odd(a, b), odd(d, e));
        rows[8 + c] = odd(even(a, b), even(d, e));
        rows[12 + c] = odd(odd(a, b), odd(d, e));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Level, level};

    #[test]
    fn every_value_finds_its_place() {
        if level() != Level::Avx512 {
            return;
        }
        for (n, width, stride) in [(1, 1, 1), (16, 16, 16), (70, 33, 40), (129, 8, 24)] {
            let rows: Vec<f32> = (0..n * stride).map(|i| i as f32).collect();
            let mut out = vec![f32::NAN; panels(n, width)];
            // SAFETY: the CPU has AVX-512.
            unsafe { pack(&rows, stride, n, width, &mut out) };
            for token in 0..n.next_multiple_of(16) {
                for column in 0..width {
                    let found = out[(token / PANEL * width + column) * PANEL + token % PANEL];
                    let wanted = if token < n {
                        rows[token * stride + column]
                    } else {
                        0.0
                    };
                    assert_eq!(found, wanted, "row {token}, column {column}");
                }
            }
        }
    }
}
