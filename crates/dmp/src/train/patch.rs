//! Training a patch on a frozen backbone.

mod settings;

use std::path::Path;

use anyhow::{Context, Result};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;
use dmp_model::checkpoint::{BackboneFile, PatchMetadata, TensorFile, load_patch, patch_bytes};
use dmp_model::denoiser::Denoiser;
use dmp_model::dit::Dit;
use dmp_model::patch::Patch;
use dmp_model::patched::Patched;
use dmp_model::train::{Ema, Objective, PatchOptimizer, PatchRates};

pub use settings::PatchSettings;

use super::accumulate::over_pieces;
use super::rate::RateSchedule;
use super::record::{gate_record, record};
use super::{Session, frozen, read, read_tensors, same_form};
use crate::output::write_atomic;
use crate::run::{HostBatch, StepRecord, Trainee, Workers};

/// A patch that learns on a backbone that does not.
pub struct PatchTrainee {
    model: Patched<Dit>,
    /// The moving average, if there is one.
    ema: Option<Ema<Patch>>,
    optimizer: PatchOptimizer,
    objective: Objective,
    rate: RateSchedule,
    settings: PatchSettings,
    workers: Workers,
    metadata: PatchMetadata,
    /// Of the backbone, before the first step.
    frozen: String,
    device: Device,
}

impl PatchTrainee {
    /// Starts anew, or goes on from a checkpoint's folder after so many steps. `backbone` is on the autodiff device.
    pub fn new(
        settings: &PatchSettings,
        mut backbone: BackboneFile,
        from: Option<(u64, &Path)>,
        device: &Device,
    ) -> Result<Self> {
        let device = device.clone().autodiff();
        let mut metadata =
            frozen::metadata("DMP patch", &settings.model, &backbone, settings.schedule);
        // A new patch goes through bytes too, so that parameters have the identities they have when resumed.
        let (file, optimizer) = match from {
            None => {
                let patch = Patch::init(&settings.patch, settings.seed, &device);
                let bytes = patch_bytes(&patch, &metadata)?;
                (TensorFile::from_bytes(&bytes)?, PatchOptimizer::default())
            }
            Some((_, folder)) => {
                let state = [
                    read(&folder.join("prompts.bin"))?,
                    read(&folder.join("gate.bin"))?,
                ];
                (
                    read_tensors(&folder.join("patch.safetensors"))?,
                    PatchOptimizer::from_state(state)
                        .with_context(|| folder.display().to_string())?,
                )
            }
        };
        let shown = || match from {
            Some((_, folder)) => folder.display().to_string(),
            None => "new patch".to_owned(),
        };
        let file = load_patch(file, &device).with_context(shown)?;
        file.metadata
            .check_backbone(&metadata.base_sha256)
            .with_context(shown)?;
        same_form(file.patch.config() == &settings.patch).with_context(shown)?;
        // A run keeps the day it began.
        metadata.date = file.metadata.date;
        let patch = file.patch;
        let ema = match from {
            _ if settings.ema_decay == 0.0 => None,
            None => Some(Ema::new(patch.clone(), settings.ema_decay, 0)),
            Some((done, folder)) => {
                let file = read_tensors(&folder.join("average.safetensors"))?;
                let average = load_patch(file, &device).with_context(shown)?.patch;
                same_form(average.config() == &settings.patch).with_context(shown)?;
                Some(Ema::new(average, settings.ema_decay, done))
            }
        };
        let objective = Objective {
            draw: settings.timestep_draw(),
            diffusion: settings.diffusion(),
            weight: settings.loss_weight,
            balance: settings.balance,
        };
        settings.dtype.pack_weights(&mut backbone.model, &device)?;
        let frozen = backbone.model.frozen_hash();
        Ok(Self {
            model: Patched::new(backbone.model.no_grad(), patch)?,
            ema,
            optimizer,
            objective,
            rate: RateSchedule {
                warmup: settings.warmup,
                decay: settings.decay,
                steps: settings.steps,
            },
            settings: settings.clone(),
            workers: Workers::on(&device)?,
            metadata,
            frozen,
            device,
        })
    }

    /// The file of what was trained: the average, if there is one.
    pub fn patch_bytes(&self) -> Result<Vec<u8>> {
        match &self.ema {
            Some(ema) => Ok(patch_bytes(ema.average(), &self.metadata)?),
            None => self.trained_bytes(),
        }
    }

    fn trained_bytes(&self) -> Result<Vec<u8>> {
        Ok(patch_bytes(&self.model.patch().valid(), &self.metadata)?)
    }

    /// Verifies that not a byte of the backbone has changed.
    pub fn verify_frozen(&self) -> Result<()> {
        frozen::verify(self.model.backbone(), &self.frozen)
    }
}

impl PatchTrainee {
    /// Of the mean over images, some images' `share` of it. `model` has parameters that are leaves of a graph of its
    /// own, so that parts can be computed at once.
    fn images(
        &self,
        model: &Patched<Dit>,
        part: &HostBatch,
        share: f64,
    ) -> (GradientsParams, StepRecord) {
        let noise = part.gate_noise(&self.device);
        let batch = part.noised(&self.device);
        let loss = self
            .objective
            .images(model, &batch, &part.labels, noise.as_ref());
        let gradients = (loss.total.clone() * share).backward();
        let gradients = GradientsParams::from_grads(gradients, model.patch());
        (gradients, record(&loss))
    }

    /// Of the balance terms, which do not split; the backbone's blocks do not run for them.
    fn balance(
        &self,
        model: &Patched<Dit>,
        batch: &HostBatch,
    ) -> (Option<GradientsParams>, StepRecord) {
        let noise = batch.gate_noise(&self.device);
        let timesteps = self.objective.timesteps(batch.steps());
        let routing = model.route(&timesteps, &batch.labels, noise.as_ref());
        let balance = self.objective.balance(&routing);
        let record = gate_record(&routing, balance.as_ref());
        // The masks of a uniform gate have balance terms, and no gradient.
        let weighted = balance
            .and_then(|balance| balance.weighted)
            .filter(|_| model.patch().config().gate.learns());
        let gradients =
            weighted.map(|total| GradientsParams::from_grads(total.backward(), model.patch()));
        (gradients, record)
    }

    /// Gradients and figures of a batch, its images spread over `workers`.
    fn gradients(
        &self,
        batch: &HostBatch,
        workers: &Workers,
    ) -> (Vec<GradientsParams>, StepRecord) {
        let forked = || {
            let model = self.model.clone();
            model.map_patch(|patch| patch.fork(&self.device))
        };
        let parts = batch.split(workers.count()).into_iter();
        let (parts, balance) = workers.map_beside(
            parts.map(|part| (forked(), part)).collect(),
            |(model, part)| {
                let pieces = self.settings.accumulate;
                over_pieces(model.patch(), &part, pieces, batch.len(), |piece, share| {
                    self.images(&model, piece, share)
                })
            },
            || self.balance(&forked(), batch),
        );
        let (gradients, mut record) = balance;
        let mut gradients: Vec<_> = gradients.into_iter().collect();
        for (part, figures) in parts {
            record.add_share(&figures, 1.0);
            gradients.push(part);
        }
        (gradients, record)
    }
}

impl Trainee for PatchTrainee {
    fn step(&mut self, step: u64, batch: &HostBatch) -> Result<StepRecord> {
        let (gradients, mut record) = self.gradients(batch, &self.workers);
        let factor = self.rate.factor(step);
        let rates = PatchRates {
            prompts: self.settings.prompt_rate * factor,
            gate: (step >= self.settings.gate_after).then_some(self.settings.gate_rate * factor),
        };
        let (optimizer, clip) = (&mut self.optimizer, self.settings.clip_norm);
        self.model = self.model.clone().map_patch(|patch| {
            let (patch, norm) = optimizer.step(patch, gradients, rates, clip);
            record.grad_norm = norm.0;
            patch
        });
        if let Some(ema) = &mut self.ema {
            ema.update(self.model.patch());
        }
        Ok(record)
    }

    fn save(&self, folder: &Path) -> Result<()> {
        let [prompts, gate] = self.optimizer.state()?;
        write_atomic(&folder.join("patch.safetensors"), &self.trained_bytes()?)?;
        if self.ema.is_some() {
            write_atomic(&folder.join("average.safetensors"), &self.patch_bytes()?)?;
        }
        write_atomic(&folder.join("prompts.bin"), &prompts)?;
        write_atomic(&folder.join("gate.bin"), &gate)?;
        Ok(())
    }
}

/// Trains a patch in a run directory, from where the directory stands, and writes its `patch.safetensors`.
/// `backbone` is on the autodiff form of `device`.
pub fn train_patch(
    settings: &PatchSettings,
    mut backbone: BackboneFile,
    session: Session<'_>,
    device: &Device,
) -> Result<()> {
    session.check_data(&backbone.model, &settings.data)?;
    let draws = settings.draw_plan(
        backbone.model.null_label(),
        backbone.model.config().num_classes,
    );
    backbone.model.set_checkpointing(session.checkpointing);
    let path = session.directory.path("patch.safetensors");
    let trainee = session.train(settings, draws, settings.steps, |from| {
        PatchTrainee::new(settings, backbone, from, device)
    })?;
    trainee.verify_frozen()?;
    Ok(write_atomic(&path, &trainee.patch_bytes()?)?)
}

#[cfg(test)]
mod tests;
