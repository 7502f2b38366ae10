//! LayerNorm without learned scale, then adaLN modulation: `u = x̂·(1 + scale) + shift`.

use crate::simd::sum2;
use crate::vectorised;

/// ε of every LayerNorm in DiT.
pub const EPSILON: f32 = 1e-6;

/// Mean and 1/√(variance + ε) of one row.
#[inline(always)]
fn statistics(row: &[f32]) -> (f32, f32) {
    let n = row.len() as f32;
    let mean = sum2(row, row, |x, _| x) / n;
    let variance = sum2(row, row, |x, _| (x - mean) * (x - mean)) / n;
    (mean, 1.0 / (variance + EPSILON).sqrt())
}

vectorised! {
    /// Rows `[N, D]` of one image, its `shift` and `scale` `[D]` → `out` `[N, D]`.
    pub fn norm_modulate(x: &[f32], shift: &[f32], scale: &[f32], out: &mut [f32]) {
        let d = shift.len();
        for (row, out) in x.chunks_exact(d).zip(out.chunks_exact_mut(d)) {
            let (mean, rstd) = statistics(row);
            for (((y, &x), &shift), &scale) in out.iter_mut().zip(row).zip(shift).zip(scale) {
                *y = (x - mean) * rstd * (1.0 + scale) + shift;
            }
        }
    }
}

vectorised! {
    /// Adds to `dx` what reaches `x` through [`norm_modulate`], given `du` `[N, D]`.
    pub fn norm_modulate_backward(x: &[f32], scale: &[f32], du: &[f32], dx: &mut [f32]) {
        let d = scale.len();
        let inverse = 1.0 / d as f32;
        let mut dxhat = vec![0.0f32; d];
        for ((row, du), dx) in x.chunks_exact(d).zip(du.chunks_exact(d)).zip(dx.chunks_exact_mut(d)) {
            let (mean, rstd) = statistics(row);
            for ((g, &du), &scale) in dxhat.iter_mut().zip(du).zip(scale) {
                *g = du * (1.0 + scale);
            }
            let sum = sum2(&dxhat, row, |g, _| g) * inverse;
            let dot = sum2(&dxhat, row, |g, x| g * (x - mean)) * rstd * inverse;
            for ((dx, &g), &x) in dx.iter_mut().zip(&dxhat).zip(row) {
                *dx += rstd * (g - sum - (x - mean) * rstd * dot);
            }
        }
    }
}

vectorised! {
    /// Adds to `dshift` and `dscale` `[D]` the gradients of one image's modulation, given `du` `[N, D]`.
    pub fn modulation_backward(x: &[f32], du: &[f32], dshift: &mut [f32], dscale: &mut [f32]) {
        let d = dshift.len();
        for (row, du) in x.chunks_exact(d).zip(du.chunks_exact(d)) {
            let (mean, rstd) = statistics(row);
            for (((shift, scale), &g), &x) in dshift.iter_mut().zip(dscale.iter_mut()).zip(du).zip(row) {
                *shift += g;
                *scale += g * (x - mean) * rstd;
            }
        }
    }
}

vectorised! {
    /// `branch ← branch + bias`; `out ← x + gate ⊙ branch`, rows `[N, D]` of one image.
    pub fn gated_residual(x: &[f32], branch: &mut [f32], bias: &[f32], gate: &[f32], out: &mut [f32]) {
        let d = gate.len();
        for ((x, branch), out) in x.chunks_exact(d).zip(branch.chunks_exact_mut(d)).zip(out.chunks_exact_mut(d)) {
            for ((((y, &x), b), &bias), &gate) in out.iter_mut().zip(x).zip(branch).zip(bias).zip(gate) {
                *b += bias;
                *y = x + gate * *b;
            }
        }
    }
}

vectorised! {
    /// `out ← gate ⊙ gradient`, rows `[N, D]` of one image.
    pub fn gate_rows(gradient: &[f32], gate: &[f32], out: &mut [f32]) {
        let d = gate.len();
        for (g, out) in gradient.chunks_exact(d).zip(out.chunks_exact_mut(d)) {
            for ((y, &g), &gate) in out.iter_mut().zip(g).zip(gate) {
                *y = g * gate;
            }
        }
    }
}

vectorised! {
    /// `sums[d] += Σ_rows a[row, d]·b[row, d]`.
    pub fn add_column_products(a: &[f32], b: &[f32], sums: &mut [f32]) {
        let d = sums.len();
        for (a, b) in a.chunks_exact(d).zip(b.chunks_exact(d)) {
            for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
                *sum += a * b;
            }
        }
    }
}

vectorised! {
    /// `sums[d] += Σ_rows a[row, d]`.
    pub fn add_column_sums(a: &[f32], sums: &mut [f32]) {
        let d = sums.len();
        for a in a.chunks_exact(d) {
            for (sum, &a) in sums.iter_mut().zip(a) {
                *sum += a;
            }
        }
    }
}

vectorised! {
    /// Adds `bias` `[D]` to each row.
    pub fn add_bias(rows: &mut [f32], bias: &[f32]) {
        for row in rows.chunks_exact_mut(bias.len()) {
            for (x, b) in row.iter_mut().zip(bias) {
                *x += b;
            }
        }
    }
}
