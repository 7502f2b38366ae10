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
            let max_log = diffusion.log_betas()[step] as f32;
            if !denoiser.learns_variance() {
                // The original's FIXED_LARGE, which it takes for networks without a variance.
                return mean + z * (0.5 * max_log).exp();
            }
            let min_log = diffusion.posterior_log_variance_clipped()[step] as f32;
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

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use dmp_math::schedule::BetaSchedule;

    use super::*;
    use crate::denoiser::ImageLayout;
    use crate::host;

    /// Predicts no noise, and no variance.
    struct Silent;

    impl Denoiser for Silent {
        fn predict(&self, x: Tensor<4>, _: &[usize], _: &[usize]) -> Tensor<4> {
            x.zeros_like()
        }

        fn layout(&self) -> ImageLayout {
            ImageLayout {
                channels: 1,
                height: 1,
                width: 2,
            }
        }

        fn learns_variance(&self) -> bool {
            false
        }

        fn null_label(&self) -> Option<usize> {
            None
        }
    }

    /// The same value everywhere.
    struct Constant(f32);

    impl NoiseSource for Constant {
        fn next(&mut self) -> Tensor<4> {
            Tensor::full([1, 1, 1, 2], self.0, &Device::flex())
        }
    }

    #[test]
    fn without_a_learned_variance_it_is_beta() {
        let diffusion = Diffusion::new(BetaSchedule::Linear, 1000);
        let request = SampleRequest {
            diffusion: &diffusion,
            method: Method::Ddpm,
            clip: false,
            labels: &[0],
        };
        let stepped = |z| {
            let x = Constant(0.5).next();
            host::values(step(&Silent, &request, x, 400, &mut Constant(z)))[0]
        };
        let spread = f64::from(stepped(1.0) - stepped(0.0));
        let expected = diffusion.betas()[400].sqrt();
        assert!(
            (spread / expected - 1.0).abs() < 1e-4,
            "{spread} {expected}"
        );
    }
}
