//! What training minimises.

use burn::tensor::{Tensor, TensorData};
use dmp_math::diffusion::Diffusion;
use dmp_math::timesteps::TimestepDraw;
use dmp_math::weight::LossWeight;

use crate::denoiser::{Backbone, Denoiser};
use crate::loss::{LossTerms, NoisedBatch};
use crate::patch::{BalanceLoss, BalanceTerms, GateNoise, Routing};
use crate::patched::Patched;

/// Weighted noise prediction + variational bound + balance.
#[derive(Debug, Clone)]
pub struct Objective {
    /// The schedule trained with.
    pub diffusion: Diffusion,
    /// Weight of the noise prediction over noise levels.
    pub weight: LossWeight,
    /// How the batches' steps are drawn.
    pub draw: TimestepDraw,
    /// Balance terms of a patch.
    pub balance: BalanceLoss,
}

/// The loss of one batch and its parts. Each tensor holds one value.
#[derive(Debug, Clone)]
pub struct StepLoss {
    /// What is differentiated.
    pub total: Tensor<1>,
    /// Weighted mean squared error.
    pub mse: Tensor<1>,
    /// Variational bound, bits per dimension.
    pub vb: Option<Tensor<1>>,
    /// Balance terms, unweighted.
    pub balance: Option<BalanceTerms>,
    /// What the gate did.
    pub routing: Routing,
}

/// What keeps a gate from using few prompts only: made of a whole batch, as it is no mean over images.
#[derive(Debug, Clone)]
pub struct Balance {
    /// The terms, unweighted.
    pub terms: BalanceTerms,
    /// Their weighted sum, if any weight is not 0.
    pub weighted: Option<Tensor<1>>,
}

impl Objective {
    /// Loss of a patched backbone; `noise` is the gate's.
    pub fn patched<M: Backbone>(
        &self,
        model: &Patched<M>,
        batch: &NoisedBatch,
        labels: &[usize],
        noise: Option<&GateNoise>,
    ) -> StepLoss {
        let mut loss = self.images(model, batch, labels, noise);
        if let Some(balance) = self.balance(&loss.routing) {
            if let Some(weighted) = balance.weighted {
                loss.total = loss.total + weighted;
            }
            loss.balance = Some(balance.terms);
        }
        loss
    }

    /// The part of [`patched`](Self::patched) that is a mean over images: all but the balance terms. Parts of a batch,
    /// weighed by their share of its images, add up to the whole.
    pub fn images<M: Backbone>(
        &self,
        model: &Patched<M>,
        batch: &NoisedBatch,
        labels: &[usize],
        noise: Option<&GateNoise>,
    ) -> StepLoss {
        let (output, routing) = model.predict_training(
            batch.noised(&self.diffusion),
            &self.timesteps(&batch.steps),
            labels,
            noise,
        );
        self.mean(batch, output, routing)
    }

    /// The balance of what the gate did on a whole batch; `None` without masks.
    pub fn balance(&self, routing: &Routing) -> Option<Balance> {
        let terms = self.balance.form.terms(routing)?;
        let weighted = self.balance.weigh(&terms);
        Some(Balance { terms, weighted })
    }

    /// Loss of a network on its own.
    pub fn bare(&self, model: &impl Denoiser, batch: &NoisedBatch, labels: &[usize]) -> StepLoss {
        let output = model.predict(
            batch.noised(&self.diffusion),
            &self.timesteps(&batch.steps),
            labels,
        );
        self.mean(batch, output, Routing::default())
    }

    /// The network's timestep of each diffusion step.
    pub fn timesteps(&self, steps: &[usize]) -> Vec<usize> {
        let map = self.diffusion.timestep_map();
        steps.iter().map(|&step| map[step]).collect()
    }

    fn mean(&self, batch: &NoisedBatch, output: Tensor<4>, routing: Routing) -> StepLoss {
        let (mse, vb) = self.weighted(batch, batch.loss(&self.diffusion, output));
        let total = vb.iter().fold(mse.clone(), |sum, vb| sum + vb.clone());
        StepLoss {
            total,
            mse,
            vb,
            balance: None,
            routing,
        }
    }

    /// Means over the batch.
    fn weighted(&self, batch: &NoisedBatch, terms: LossTerms) -> (Tensor<1>, Option<Tensor<1>>) {
        let device = terms.mse.device();
        let of_each = |weight: &dyn Fn(usize) -> f64| {
            let values: Vec<f32> = batch.steps.iter().map(|&t| weight(t) as f32).collect();
            Tensor::<1>::from_data(TensorData::new(values, [batch.steps.len()]), &device)
        };
        let drawn = of_each(&|step| self.draw.weight(step));
        let counted = of_each(&|step| self.weight.at(self.diffusion.snr(step)));
        let mse = terms.mse * counted * drawn.clone();
        (mse.mean(), terms.vb.map(|vb| (vb * drawn).mean()))
    }
}
