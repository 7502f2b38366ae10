//! The diffusion training objective: noise prediction, and the learned variance through the
//! variational bound (Nichol & Dhariwal, arXiv 2102.09672).

use burn::tensor::{Bool, Device, IndexingUpdateOp, Int, Tensor, TensorData};
use dmp_math::diffusion::Diffusion;

/// Clean images, the noise put on them, and the diffusion step of each.
///
/// # Shapes
/// `x_start`, `noise` and `target` are `[B, C, H, W]`; `steps` holds B indices into the diffusion's tables.
#[derive(Debug, Clone)]
pub struct NoisedBatch {
    /// x₀ in [-1, 1] (or scaled latents).
    pub x_start: Tensor<4>,
    /// ε ~ N(0, 1).
    pub noise: Tensor<4>,
    /// Index of each image's step.
    pub steps: Vec<usize>,
    /// What the prediction is held against instead of the noise: what is to be expected of it (arXiv 2302.00670).
    pub target: Option<Tensor<4>>,
}

/// Loss of each image, `[B]` each, unweighted.
#[derive(Debug, Clone)]
pub struct LossTerms {
    /// Mean squared error of the predicted noise.
    pub mse: Tensor<1>,
    /// Variational bound in bits per dimension, its gradient reaching the variance alone; `None` for a
    /// network that predicts no variance.
    pub vb: Option<Tensor<1>>,
}

impl NoisedBatch {
    /// x_t = √ᾱ_t·x₀ + √(1-ᾱ_t)·ε, `[B, C, H, W]`.
    pub fn noised(&self, diffusion: &Diffusion) -> Tensor<4> {
        let at = Steps::new(&self.steps, &self.x_start.device());
        self.x_start.clone() * at.gather(diffusion.sqrt_alphas_cumprod())
            + self.noise.clone() * at.gather(diffusion.sqrt_one_minus_alphas_cumprod())
    }

    /// The loss terms of a network's `output`, `[B, C, H, W]` or `[B, 2C, H, W]`, for this batch.
    pub fn loss(&self, diffusion: &Diffusion, output: Tensor<4>) -> LossTerms {
        let [_, channels, _, _] = self.x_start.dims();
        let predicted = output.clone().narrow(1, 0, channels);
        let target = self.target.as_ref().unwrap_or(&self.noise).clone();
        let mse = mean_of_each((target - predicted.clone()).square());
        let vb = (output.dims()[1] == 2 * channels).then(|| {
            self.variational_bound(
                diffusion,
                predicted.detach(),
                output.narrow(1, channels, channels),
            )
        });
        LossTerms { mse, vb }
    }

    /// KL(q(x_{t-1}|x_t,x₀) ‖ p(x_{t-1}|x_t)), and at step 0 the discretised negative log-likelihood, in bits.
    fn variational_bound(
        &self,
        diffusion: &Diffusion,
        epsilon: Tensor<4>,
        variance_logits: Tensor<4>,
    ) -> Tensor<1> {
        let at = Steps::new(&self.steps, &self.x_start.device());
        let x_t = self.noised(diffusion);
        let predicted_start = x_t.clone() * at.gather(diffusion.sqrt_recip_alphas_cumprod())
            - epsilon * at.gather(diffusion.sqrt_recipm1_alphas_cumprod());
        let posterior_mean = |start: Tensor<4>| {
            start * at.gather(diffusion.posterior_mean_coef1())
                + x_t.clone() * at.gather(diffusion.posterior_mean_coef2())
        };
        let true_mean = posterior_mean(self.x_start.clone());
        let mean = posterior_mean(predicted_start);
        let min_log = at.gather(diffusion.posterior_log_variance_clipped());
        let max_log = at.gather(diffusion.log_betas());
        let fraction = (variance_logits + 1.0) / 2.0;
        let log_variance = fraction.clone() * max_log + (-fraction + 1.0) * min_log.clone();

        let kl = mean_of_each(normal_kl(
            true_mean,
            min_log,
            mean.clone(),
            log_variance.clone(),
        ));
        let bound = match at.first() {
            None => kl,
            Some((first, indices)) => {
                // Of those at step 0 alone: it costs more than all the rest.
                let pick = |tensor: Tensor<4>| tensor.select(0, indices.clone());
                let nll = -mean_of_each(discretized_log_likelihood(
                    pick(self.x_start.clone()),
                    pick(mean),
                    pick(log_variance) * 0.5,
                ));
                kl.mask_fill(first, 0.0)
                    .select_assign(0, indices, nll, IndexingUpdateOp::Add)
            }
        };
        bound / std::f64::consts::LN_2
    }
}

/// Looks up per-step constants for a batch.
struct Steps<'a> {
    steps: &'a [usize],
    device: Device,
}

impl<'a> Steps<'a> {
    fn new(steps: &'a [usize], device: &Device) -> Self {
        Self {
            steps,
            device: device.clone(),
        }
    }

    /// `[B, 1, 1, 1]` of a table's values at the batch's steps.
    fn gather(&self, table: &[f64]) -> Tensor<4> {
        let values: Vec<f32> = self.steps.iter().map(|&step| table[step] as f32).collect();
        Tensor::from_data(
            TensorData::new(values, [self.steps.len(), 1, 1, 1]),
            &self.device,
        )
    }

    /// Which images are at step 0, `[B]`, and their indices; `None` if there are none.
    fn first(&self) -> Option<(Tensor<1, Bool>, Tensor<1, Int>)> {
        let first: Vec<bool> = self.steps.iter().map(|&step| step == 0).collect();
        let indices: Vec<i64> = (0_i64..)
            .zip(&first)
            .filter_map(|(index, &first)| first.then_some(index))
            .collect();
        let count = indices.len();
        (count > 0).then(|| {
            (
                Tensor::from_data(TensorData::new(first, [self.steps.len()]), &self.device),
                Tensor::from_data(TensorData::new(indices, [count]), &self.device),
            )
        })
    }
}

/// `[B, C, H, W]` → mean of each image, `[B]`.
fn mean_of_each(values: Tensor<4>) -> Tensor<1> {
    values.flatten::<2>(1, 3).mean_dim(1).squeeze_dim(1)
}

/// KL between two diagonal normals, in nats, elementwise.
fn normal_kl(
    mean_1: Tensor<4>,
    log_variance_1: Tensor<4>,
    mean_2: Tensor<4>,
    log_variance_2: Tensor<4>,
) -> Tensor<4> {
    let ratio = (log_variance_1.clone() - log_variance_2.clone()).exp();
    let distance = (mean_1 - mean_2).square() * (-log_variance_2.clone()).exp();
    (log_variance_2 - log_variance_1 + ratio + distance - 1.0) * 0.5
}

/// log P of 8-bit pixels x in [-1, 1] under a normal, each pixel a bin of width 2/255, the outer bins open.
fn discretized_log_likelihood(x: Tensor<4>, mean: Tensor<4>, log_scale: Tensor<4>) -> Tensor<4> {
    let inverse_std = (-log_scale).exp();
    let centred = x.clone() - mean;
    let cdf_plus = approximate_normal_cdf((centred.clone() + 1.0 / 255.0) * inverse_std.clone());
    let cdf_minus = approximate_normal_cdf((centred - 1.0 / 255.0) * inverse_std);
    let log = |p: Tensor<4>| p.clamp_min(1e-12).log();
    let inner = log(cdf_plus.clone() - cdf_minus.clone());
    inner
        .mask_where(x.clone().lower_elem(-0.999), log(cdf_plus))
        .mask_where(x.greater_elem(0.999), log(-cdf_minus + 1.0))
}

/// The tanh approximation of Φ that the reference implementation uses.
fn approximate_normal_cdf(x: Tensor<4>) -> Tensor<4> {
    let cubic = x.clone() + x.powi_scalar(3) * 0.044715;
    ((cubic * (2.0 / std::f64::consts::PI).sqrt()).tanh() + 1.0) * 0.5
}
