//! The patch's own operation: `x ← x + m ⊙ P`, prompt i scaled by m_i on token i.

use rayon::prelude::*;

use crate::vectorised;

vectorised! {
    /// Rows `x` `[N, D]` of one image ← x + mask `[N]` ⊙ prompts `[N, D]`.
    fn add_image(x: &mut [f32], mask: &[f32], prompts: &[f32]) {
        let d = prompts.len() / mask.len();
        for ((x, &m), p) in x.chunks_exact_mut(d).zip(mask).zip(prompts.chunks_exact(d)) {
            for (x, &p) in x.iter_mut().zip(p) {
                *x += m * p;
            }
        }
    }
}

vectorised! {
    /// `dprompts += m ⊙ g`, `dmask ← Σ_d g ⊙ P`, for one image.
    fn backward_image(gradient: &[f32], mask: &[f32], prompts: &[f32], dmask: &mut [f32], dprompts: &mut [f32]) {
        let d = prompts.len() / mask.len();
        let rows = gradient.chunks_exact(d).zip(prompts.chunks_exact(d)).zip(dprompts.chunks_exact_mut(d));
        for (((g, p), dp), (&m, dm)) in rows.zip(mask.iter().zip(dmask)) {
            *dm = crate::simd::sum2(g, p, |g, p| g * p);
            for (dp, &g) in dp.iter_mut().zip(g) {
                *dp += m * g;
            }
        }
    }
}

/// `x` `[B, N, D]` ← x + `mask` `[B, N]` ⊙ `prompts` `[N, D]`.
pub fn prompt_add(x: &mut [f32], mask: &[f32], prompts: &[f32], tokens: usize) {
    if prompts.is_empty() {
        return;
    }
    x.par_chunks_exact_mut(prompts.len())
        .zip(mask.par_chunks_exact(tokens))
        .for_each(|(x, mask)| add_image(x, mask, prompts));
}

/// Gradients of [`prompt_add`]: `dmask` `[B, N]` and `dprompts` `[N, D]`, both overwritten. The gradient
/// of `x` is `gradient` itself.
pub fn prompt_add_backward(
    gradient: &[f32],
    mask: &[f32],
    prompts: &[f32],
    tokens: usize,
    dmask: &mut [f32],
    dprompts: &mut [f32],
) {
    dprompts.fill(0.0);
    if prompts.is_empty() {
        return;
    }
    let images = gradient
        .chunks_exact(prompts.len())
        .zip(mask.chunks_exact(tokens))
        .zip(dmask.chunks_exact_mut(tokens));
    for ((gradient, mask), dmask) in images {
        backward_image(gradient, mask, prompts, dmask, dprompts);
    }
}
