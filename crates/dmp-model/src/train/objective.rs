//! What training minimises.

use burn::tensor::{Tensor, TensorData};
use dmp_math::diffusion::Diffusion;
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

impl Objective {
    /// Loss of a patched backbone; `noise` is the gate's.
    pub fn patched<M: Backbone>(
        &self,
        model: &Patched<M>,
        batch: &NoisedBatch,
        labels: &[usize],
        noise: Option<&GateNoise>,
    ) -> StepLoss {
        let (output, routing) = model.predict_training(
            batch.noised(&self.diffusion),
            &self.timesteps(batch),
            labels,
            noise,
        );
        let (mse, vb) = self.weighted(batch, batch.loss(&self.diffusion, output));
        let mut total = mse.clone();
        if let Some(vb) = &vb {
            total = total + vb.clone();
        }
        let balance = self.balance.form.terms(&routing);
        if let Some(term) = balance.as_ref().and_then(|terms| self.balance.weigh(terms)) {
            total = total + term;
        }
        StepLoss {
            total,
            mse,
            vb,
            balance,
            routing,
        }
    }

    /// Loss of a network on its own.
    pub fn bare(&self, model: &impl Denoiser, batch: &NoisedBatch, labels: &[usize]) -> StepLoss {
        let output = model.predict(
            batch.noised(&self.diffusion),
            &self.timesteps(batch),
            labels,
        );
        let (mse, vb) = self.weighted(batch, batch.loss(&self.diffusion, output));
        let total = vb.iter().fold(mse.clone(), |sum, vb| sum + vb.clone());
        StepLoss {
            total,
            mse,
            vb,
            balance: None,
            routing: Routing::default(),
        }
    }

    fn timesteps(&self, batch: &NoisedBatch) -> Vec<usize> {
        batch
            .steps
            .iter()
            .map(|&step| self.diffusion.timestep_map()[step])
            .collect()
    }

    /// Means over the batch.
    fn weighted(&self, batch: &NoisedBatch, terms: LossTerms) -> (Tensor<1>, Option<Tensor<1>>) {
        let weights: Vec<f32> = batch
            .steps
            .iter()
            .map(|&step| self.weight.at(self.diffusion.snr(step)) as f32)
            .collect();
        let weights = Tensor::<1>::from_data(
            TensorData::new(weights, [batch.steps.len()]),
            &terms.mse.device(),
        );
        ((terms.mse * weights).mean(), terms.vb.map(|vb| vb.mean()))
    }
}
