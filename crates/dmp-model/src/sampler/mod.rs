//! Samplers: functions over a [`Denoiser`] that know no architecture.

mod guidance;
mod noise;
mod step;

use burn::tensor::Tensor;
use dmp_math::diffusion::Diffusion;

pub use guidance::{Guided, GuidedChannels};
pub use noise::{ImageNoise, NoiseSource};

use crate::denoiser::Denoiser;

/// How one step goes from x_t to x_{t-1}.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// Ancestral sampling with the learned variance, or β where none is learnt (arXiv 2006.11239, 2102.09672).
    Ddpm,
    /// Denoising diffusion implicit model (arXiv 2010.02502); `eta` 0 is deterministic.
    Ddim {
        /// Share of the ancestral noise that is added, from 0 to 1.
        eta: f64,
    },
}

/// What to sample and how.
#[derive(Debug, Clone)]
pub struct SampleRequest<'a> {
    /// The respaced schedule; its steps are the sampler's.
    pub diffusion: &'a Diffusion,
    /// The step rule.
    pub method: Method,
    /// Whether predicted images are clamped to [-1, 1] at every step (pixels: yes; latents: no).
    pub clip: bool,
    /// Label of each image.
    pub labels: &'a [usize],
}

/// Draws images `[B, C, H, W]` from noise; `on_step(done, of)` is called after each step.
///
/// Returns `None` when `on_step` asks to stop by returning `false`.
pub fn sample(
    denoiser: &impl Denoiser,
    request: &SampleRequest<'_>,
    noise: &mut impl NoiseSource,
    mut on_step: impl FnMut(usize, usize) -> bool,
) -> Option<Tensor<4>> {
    let steps = request.diffusion.len();
    let mut x = noise.next();
    for step in (0..steps).rev() {
        x = step::step(denoiser, request, x, step, noise);
        if !on_step(steps - step, steps) {
            return None;
        }
    }
    Some(x)
}
