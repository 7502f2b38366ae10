//! One step of DDPM or DDIM.

use burn::tensor::Tensor;
use dmp_math::diffusion::Diffusion;

use super::{Method, NoiseSource, SampleRequest};
use crate::denoiser::Denoiser;

/// x_t → x_{t-1} at index `step` of the respaced schedule. Noise is drawn at every step, also where it is
/// not used, so that a stream's position does not depend on the method.
pub(super) fn step(
    denoiser: &impl Denoiser,
    request: &SampleRequest<'_>,
    x: Tensor<4>,
    step: usize,
    noise: &mut impl NoiseSource,
) -> Tensor<4> {
    let diffusion = request.diffusion;
    let [batch, channels, _, _] = x.dims();
    let timesteps = vec![diffusion.timestep_map()[step]; batch];
    let output = denoiser.predict(x.clone(), &timesteps, request.labels);
    let epsilon = output.clone().narrow(1, 0, channels);
    let start = predict_start(diffusion, step, &x, epsilon);
    let start = if request.clip {
        start.clamp(-1.0, 1.0)
    } else {
        start
    };
    let z = noise.next();
    match request.method {
        Method::Ddpm => {
            let mean = start * diffusion.posterior_mean_coef1()[step] as f32
                + x * diffusion.posterior_mean_coef2()[step] as f32;
            if step == 0 {
                return mean;
            }
            let min_log = diffusion.posterior_log_variance_clipped()[step] as f32;
            if !denoiser.learns_variance() {
                return mean + z * (0.5 * min_log).exp();
            }
            let max_log = diffusion.log_betas()[step] as f32;
            let fraction = (output.narrow(1, channels, channels) + 1.0) / 2.0;
            let log_variance = fraction.clone() * max_log + (-fraction + 1.0) * min_log;
            mean + z * (log_variance * 0.5).exp()
        }
        Method::Ddim { eta } => {
            let at = diffusion.ddim(step, eta);
            // ε is derived anew, since clamping changes x₀.
            let epsilon = (x * diffusion.sqrt_recip_alphas_cumprod()[step] as f32 - start.clone())
                / diffusion.sqrt_recipm1_alphas_cumprod()[step] as f32;
            let mean = start * at.sqrt_alpha_prev as f32 + epsilon * at.direction as f32;
            if step == 0 || at.sigma == 0.0 {
                mean
            } else {
                mean + z * at.sigma as f32
            }
        }
    }
}

/// x₀ = √(1/ᾱ_t)·x_t − √(1/ᾱ_t − 1)·ε.
fn predict_start(
    diffusion: &Diffusion,
    step: usize,
    x: &Tensor<4>,
    epsilon: Tensor<4>,
) -> Tensor<4> {
    x.clone() * diffusion.sqrt_recip_alphas_cumprod()[step] as f32
        - epsilon * diffusion.sqrt_recipm1_alphas_cumprod()[step] as f32
}
