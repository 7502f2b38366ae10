//! What learns as one: a module, one optimiser and one rate for all of it, with or without a moving average. A whole
//! backbone does, and so does a LoRA.

use std::path::Path;

use anyhow::{Context, Result};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;
use dmp_model::denoiser::Denoiser;
use dmp_model::train::{Ema, Objective, WholeOptimizer};

use super::accumulate::over_pieces;
use super::rate::RateSchedule;
use super::read;
use super::record::record;
use crate::output::write_atomic;
use crate::run::{HostBatch, StepRecord, Workers};

/// File of the optimiser's state in a checkpoint.
const OPTIMIZER: &str = "optimizer.bin";

/// Most parts a batch is split into: each holds gradients of every weight until they are added up.
const MOST_PARTS: usize = 8;

/// A module that learns, and how.
pub(super) struct Learner<M> {
    /// What is trained.
    pub module: M,
    /// Its moving average, if there is one.
    pub ema: Option<Ema<M>>,
    /// AdamW over all of it.
    pub optimizer: WholeOptimizer,
    /// What is minimised.
    pub objective: Objective,
    /// The full learning rate.
    pub learning_rate: f64,
    /// Factor on it at each step.
    pub schedule: RateSchedule,
    /// Gradients are scaled down to this norm.
    pub clip_norm: Option<f64>,
    /// Pieces that a worker's images are computed in.
    pub accumulate: usize,
    /// Who computes.
    pub workers: Workers,
    /// Where, with autodiff.
    pub device: Device,
}

impl<M: Module> Learner<M> {
    /// Gradients and figures of a batch, its images spread over `workers`, each part with a graph of its own. `network` is
    /// what the module makes of itself to predict with.
    pub fn gradients<D: Denoiser>(
        &self,
        batch: &HostBatch,
        workers: &Workers,
        network: impl Fn(&M) -> D + Sync,
    ) -> (Vec<GradientsParams>, StepRecord) {
        let (objective, device, accumulate) = (&self.objective, &self.device, self.accumulate);
        let parts = batch.split(workers.count().min(MOST_PARTS)).into_iter();
        let parts = workers.map(
            parts
                .map(|part| (self.module.clone().fork(device), part))
                .collect(),
            |(module, part)| {
                over_pieces(&module, &part, accumulate, batch.len(), |piece, share| {
                    let noised = piece.noised(device);
                    let loss = objective.bare(&network(&module), &noised, &piece.labels);
                    let gradients = (loss.total.clone() * share).backward();
                    (
                        GradientsParams::from_grads(gradients, &module),
                        record(&loss),
                    )
                })
            },
        );
        let mut record = StepRecord::default();
        let mut gradients = Vec::with_capacity(parts.len());
        for (part, figures) in parts {
            record.add_share(&figures, 1.0);
            gradients.push(part);
        }
        (gradients, record)
    }

    /// Takes one step; `step` counts from 0.
    pub fn step<D: Denoiser>(
        &mut self,
        step: u64,
        batch: &HostBatch,
        network: impl Fn(&M) -> D + Sync,
    ) -> StepRecord {
        let (gradients, mut record) = self.gradients(batch, &self.workers, network);
        let rate = self.learning_rate * self.schedule.factor(step);
        let (module, norm) =
            self.optimizer
                .step(self.module.clone(), gradients, rate, self.clip_norm);
        self.module = module;
        if let Some(ema) = &mut self.ema {
            ema.update(&self.module);
        }
        record.grad_norm = norm.0;
        record
    }

    /// What is written in the end: the average, if there is one.
    pub fn product(&self) -> M {
        match &self.ema {
            Some(ema) => ema.average().clone(),
            None => self.module.valid(),
        }
    }

    /// Writes the optimiser's state into a checkpoint's folder.
    pub fn save_optimizer(&self, folder: &Path) -> Result<()> {
        Ok(write_atomic(
            &folder.join(OPTIMIZER),
            &self.optimizer.state()?,
        )?)
    }
}

/// A new optimiser, or that of a checkpoint's folder.
pub(super) fn optimizer(weight_decay: f32, folder: Option<&Path>) -> Result<WholeOptimizer> {
    let optimizer = WholeOptimizer::new(weight_decay);
    match folder {
        None => Ok(optimizer),
        Some(folder) => optimizer
            .load_state(read(&folder.join(OPTIMIZER))?)
            .with_context(|| folder.display().to_string()),
    }
}
