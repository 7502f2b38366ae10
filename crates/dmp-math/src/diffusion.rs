//! The Gaussian diffusion process as tables: every per-step scalar a sampler or a loss needs.

use crate::respacing::{self, RespacingError};
use crate::schedule::BetaSchedule;

/// Per-step scalars of a (possibly respaced) diffusion process, in f64.
///
/// Every table has [`len`](Self::len) entries; entry i belongs to step i, step 0 being the least noisy.
/// ᾱ is the running product of 1 − β. Equation numbers are those of DDPM (Ho et al. 2006.11239).
#[derive(Clone, Debug, PartialEq)]
pub struct Diffusion {
    betas: Vec<f64>,
    log_betas: Vec<f64>,
    alphas_cumprod: Vec<f64>,
    alphas_cumprod_prev: Vec<f64>,
    sqrt_alphas_cumprod: Vec<f64>,
    sqrt_one_minus_alphas_cumprod: Vec<f64>,
    sqrt_recip_alphas_cumprod: Vec<f64>,
    sqrt_recipm1_alphas_cumprod: Vec<f64>,
    posterior_variance: Vec<f64>,
    posterior_log_variance_clipped: Vec<f64>,
    posterior_mean_coef1: Vec<f64>,
    posterior_mean_coef2: Vec<f64>,
    timestep_map: Vec<usize>,
}

/// Coefficients of one DDIM step (Song et al. 2010.02502, eq. 12):
/// x_{t−1} = `sqrt_alpha_prev` · x̂₀ + `direction` · ε̂ + `sigma` · z, with z ~ N(0, 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DdimStep {
    /// √ᾱ_{t−1}, the weight of the predicted clean image.
    pub sqrt_alpha_prev: f64,
    /// √(1 − ᾱ_{t−1} − σ²), the weight of the predicted noise.
    pub direction: f64,
    /// σ = η √((1 − ᾱ_{t−1}) / (1 − ᾱ_t)) √(1 − ᾱ_t / ᾱ_{t−1}), the weight of fresh noise; 0 at step 0.
    pub sigma: f64,
}

impl Diffusion {
    /// The full process: `steps` steps of `schedule`, told to the network as 0 … `steps` − 1.
    pub fn new(schedule: BetaSchedule, steps: usize) -> Self {
        Self::from_betas(schedule.betas(steps), (0..steps).collect())
    }

    /// The shorter process that visits only the steps `spec` keeps (see [`respacing::parse`]).
    ///
    /// ᾱ at the kept steps stays what it was: β'_i = 1 − ᾱ_i / ᾱ_{i−1} over kept steps
    /// (Nichol & Dhariwal 2102.09672, eq. 19). The network goes on seeing the original timesteps.
    ///
    /// # Errors
    /// When `spec` does not fit a process of [`len`](Self::len) steps.
    pub fn respaced(&self, spec: &str) -> Result<Self, RespacingError> {
        let kept = respacing::parse(self.len(), spec)?;
        let mut previous = 1.0;
        let betas = kept
            .iter()
            .map(|&t| {
                let beta = 1.0 - self.alphas_cumprod[t] / previous;
                previous = self.alphas_cumprod[t];
                beta
            })
            .collect();
        Ok(Self::from_betas(
            betas,
            kept.iter().map(|&t| self.timestep_map[t]).collect(),
        ))
    }

    /// `betas` and `timestep_map` have one entry a step.
    fn from_betas(betas: Vec<f64>, timestep_map: Vec<usize>) -> Self {
        let alphas_cumprod: Vec<f64> = betas
            .iter()
            .scan(1.0, |product, beta| {
                *product *= 1.0 - beta;
                Some(*product)
            })
            .collect();
        let alphas_cumprod_prev: Vec<f64> = std::iter::once(1.0)
            .chain(alphas_cumprod.iter().copied())
            .take(betas.len())
            .collect();
        let table = |f: &dyn Fn(f64, f64, f64) -> f64| -> Vec<f64> {
            let prev = alphas_cumprod_prev.iter();
            betas
                .iter()
                .zip(&alphas_cumprod)
                .zip(prev)
                .map(|((&beta, &bar), &bar_prev)| f(beta, bar, bar_prev))
                .collect()
        };
        let posterior_variance =
            table(&|beta, bar, bar_prev| beta * (1.0 - bar_prev) / (1.0 - bar));
        Self {
            log_betas: table(&|beta, _, _| beta.ln()),
            sqrt_alphas_cumprod: table(&|_, bar, _| bar.sqrt()),
            sqrt_one_minus_alphas_cumprod: table(&|_, bar, _| (1.0 - bar).sqrt()),
            sqrt_recip_alphas_cumprod: table(&|_, bar, _| (1.0 / bar).sqrt()),
            sqrt_recipm1_alphas_cumprod: table(&|_, bar, _| (1.0 / bar - 1.0).sqrt()),
            posterior_log_variance_clipped: clipped_log(&posterior_variance, &betas),
            posterior_mean_coef1: table(&|beta, bar, bar_prev| {
                beta * bar_prev.sqrt() / (1.0 - bar)
            }),
            posterior_mean_coef2: table(&|beta, bar, bar_prev| {
                (1.0 - bar_prev) * (1.0 - beta).sqrt() / (1.0 - bar)
            }),
            posterior_variance,
            alphas_cumprod_prev,
            alphas_cumprod,
            betas,
            timestep_map,
        }
    }

    /// Number of steps.
    pub fn len(&self) -> usize {
        self.betas.len()
    }

    /// Whether there is no step at all.
    pub fn is_empty(&self) -> bool {
        self.betas.is_empty()
    }

    /// β_t.
    pub fn betas(&self) -> &[f64] {
        &self.betas
    }

    /// log β_t, the upper end of the learned log-variance range.
    pub fn log_betas(&self) -> &[f64] {
        &self.log_betas
    }

    /// ᾱ_t.
    pub fn alphas_cumprod(&self) -> &[f64] {
        &self.alphas_cumprod
    }

    /// ᾱ_{t−1}, 1 at step 0.
    pub fn alphas_cumprod_prev(&self) -> &[f64] {
        &self.alphas_cumprod_prev
    }

    /// √ᾱ_t, the weight of x₀ in x_t (eq. 4).
    pub fn sqrt_alphas_cumprod(&self) -> &[f64] {
        &self.sqrt_alphas_cumprod
    }

    /// √(1 − ᾱ_t), the weight of ε in x_t (eq. 4).
    pub fn sqrt_one_minus_alphas_cumprod(&self) -> &[f64] {
        &self.sqrt_one_minus_alphas_cumprod
    }

    /// √(1 / ᾱ_t), the weight of x_t in the predicted x₀.
    pub fn sqrt_recip_alphas_cumprod(&self) -> &[f64] {
        &self.sqrt_recip_alphas_cumprod
    }

    /// √(1 / ᾱ_t − 1), the weight of −ε in the predicted x₀.
    pub fn sqrt_recipm1_alphas_cumprod(&self) -> &[f64] {
        &self.sqrt_recipm1_alphas_cumprod
    }

    /// β̃_t, the variance of q(x_{t−1} | x_t, x₀) (eq. 7); 0 at step 0.
    pub fn posterior_variance(&self) -> &[f64] {
        &self.posterior_variance
    }

    /// log β̃_t with step 0 (where β̃ = 0) given step 1's value; a one-step process takes log β₀.
    pub fn posterior_log_variance_clipped(&self) -> &[f64] {
        &self.posterior_log_variance_clipped
    }

    /// The weight of x₀ in the posterior mean (eq. 7).
    pub fn posterior_mean_coef1(&self) -> &[f64] {
        &self.posterior_mean_coef1
    }

    /// The weight of x_t in the posterior mean (eq. 7).
    pub fn posterior_mean_coef2(&self) -> &[f64] {
        &self.posterior_mean_coef2
    }

    /// What the network is told at each step: the timestep of the process it was trained on.
    pub fn timestep_map(&self) -> &[usize] {
        &self.timestep_map
    }

    /// Log-variance for a network's range logit `v` (Nichol & Dhariwal 2102.09672, eq. 15):
    /// frac · log β_t + (1 − frac) · log β̃_t with frac = (v + 1) / 2.
    ///
    /// # Panics
    /// When `step` is not below [`len`](Self::len).
    pub fn learned_range_log_variance(&self, step: usize, v: f64) -> f64 {
        let frac = (v + 1.0) / 2.0;
        frac * self.log_betas[step] + (1.0 - frac) * self.posterior_log_variance_clipped[step]
    }

    /// Coefficients of the DDIM step from `step` to the one before; `eta` 0 is deterministic, 1 is as
    /// noisy as DDPM.
    ///
    /// # Panics
    /// When `step` is not below [`len`](Self::len).
    pub fn ddim(&self, step: usize, eta: f64) -> DdimStep {
        let (bar, bar_prev) = (self.alphas_cumprod[step], self.alphas_cumprod_prev[step]);
        let sigma = eta * ((1.0 - bar_prev) / (1.0 - bar)).sqrt() * (1.0 - bar / bar_prev).sqrt();
        DdimStep {
            sqrt_alpha_prev: bar_prev.sqrt(),
            // An eta above 1 can ask for more noise than the step holds.
            direction: (1.0 - bar_prev - sigma * sigma).max(0.0).sqrt(),
            sigma,
        }
    }

    /// Signal-to-noise ratio ᾱ_t / (1 − ᾱ_t).
    ///
    /// # Panics
    /// When `step` is not below [`len`](Self::len).
    pub fn snr(&self, step: usize) -> f64 {
        let bar = self.alphas_cumprod[step];
        bar / (1.0 - bar)
    }
}

/// log of the posterior variance, its first entry (log 0) replaced by the second.
fn clipped_log(posterior_variance: &[f64], betas: &[f64]) -> Vec<f64> {
    let first = posterior_variance.get(1).or(betas.first()).copied();
    first
        .into_iter()
        .chain(posterior_variance.iter().skip(1).copied())
        .map(f64::ln)
        .collect()
}

#[cfg(test)]
mod tests;
