//! Softmax of rows of scores, in whole vectors: rows are `stride` apart, a multiple of 16.

use std::arch::x86_64::*;

use crate::avx512::mask;

/// Softmax of `scale` times the first `n` values of each of `rows` rows, in place; the rest of the last vector becomes 0.
#[target_feature(enable = "avx512f")]
pub(in crate::attention) fn softmax(
    scores: &mut [f32],
    [rows, n]: [usize; 2],
    stride: usize,
    scale: f32,
) {
    let scale = _mm512_set1_ps(scale);
    let last = mask(n);
    for row in scores.chunks_exact_mut(stride).take(rows) {
        let (vectors, _) = row.as_chunks_mut::<16>();
        let lanes = |v: usize| if (v + 1) * 16 <= n { !0 } else { last };
        let low = _mm512_set1_ps(f32::NEG_INFINITY);
        let largest = vectors.iter().enumerate().fold(low, |largest, (v, x)| {
            _mm512_mask_max_ps(largest, lanes(v), largest, load(x))
        });
        let largest = _mm512_set1_ps(_mm512_reduce_max_ps(largest));
        let mut sum = _mm512_setzero_ps();
        for (v, x) in vectors.iter_mut().enumerate() {
            let e = _mm512_maskz_mov_ps(
                lanes(v),
                exp(_mm512_mul_ps(scale, _mm512_sub_ps(load(x), largest))),
            );
            store(x, e);
            sum = _mm512_add_ps(sum, e);
        }
        let inverse = _mm512_set1_ps(1.0 / _mm512_reduce_add_ps(sum));
        for x in vectors {
            let p = _mm512_mul_ps(inverse, load(x));
            store(x, p);
        }
    }
}

/// `ds ← scale · p ⊙ (ds − Σ ds·p)` for each of `rows` rows; where `p` is 0 the result is too.
#[target_feature(enable = "avx512f")]
pub(in crate::attention) fn softmax_backward(
    p: &[f32],
    ds: &mut [f32],
    [rows, stride]: [usize; 2],
    scale: f32,
) {
    let scale = _mm512_set1_ps(scale);
    let rows = p
        .chunks_exact(stride)
        .zip(ds.chunks_exact_mut(stride))
        .take(rows);
    for (p, ds) in rows {
        let ((p, _), (ds, _)) = (p.as_chunks::<16>(), ds.as_chunks_mut::<16>());
        let dot = p.iter().zip(&*ds).fold(_mm512_setzero_ps(), |dot, (p, g)| {
            _mm512_fmadd_ps(load(p), load(g), dot)
        });
        let dot = _mm512_set1_ps(_mm512_reduce_add_ps(dot));
        for (p, g) in p.iter().zip(ds) {
            let through = _mm512_sub_ps(load(g), dot);
            store(g, _mm512_mul_ps(scale, _mm512_mul_ps(load(p), through)));
        }
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(from: &[f32; 16]) -> __m512 {
    // SAFETY: sixteen values.
    unsafe { _mm512_loadu_ps(from.as_ptr()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(to: &mut [f32; 16], values: __m512) {
    // SAFETY: sixteen values.
    unsafe { _mm512_storeu_ps(to.as_mut_ptr(), values) }
}

/// eˣ for x ≤ 0, as [`crate::simd::exp`] makes it; of NaN it is NaN.
#[target_feature(enable = "avx512f")]
#[inline]
fn exp(x: __m512) -> __m512 {
    // The second of the two where one is NaN.
    let x = _mm512_max_ps(_mm512_set1_ps(-87.0), x);
    let n = _mm512_mul_ps(x, _mm512_set1_ps(std::f32::consts::LOG2_E));
    let n = _mm512_roundscale_ps::<0>(n);
    let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693_359_4), x);
    let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.121_944_4e-4), r);
    let coefficients = [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_6e-1,
        0.5,
        1.0,
        1.0,
    ];
    let mut y = _mm512_set1_ps(1.987_569_1e-4);
    for coefficient in coefficients {
        y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(coefficient));
    }
    _mm512_scalef_ps(y, n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Level, level};

    #[test]
    fn exp_follows_the_standard_library() {
        if level() != Level::Avx512 {
            return;
        }
        for i in 0..=8700 {
            let x = -(i as f32) / 100.0;
            let mut lanes = [0.0; 16];
            // SAFETY: the CPU has AVX-512.
            unsafe { store(&mut lanes, exp(_mm512_set1_ps(x))) };
            let want = f64::from(x).exp();
            assert!((f64::from(lanes[0]) / want - 1.0).abs() < 3e-7, "exp {x}");
        }
    }
}
