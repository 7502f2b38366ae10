//! Training a LoRA of a frozen backbone, to compare a patch with.

mod settings;

use std::path::Path;

use anyhow::{Context, Result};
use burn::module::Module;
use burn::tensor::Device;
use dmp_model::checkpoint::{
    BackboneFile, LoraFile, PatchMetadata, TensorFile, load_lora, lora_bytes,
};
use dmp_model::denoiser::Denoiser;
use dmp_model::dit::Dit;
use dmp_model::lora::Lora;
use dmp_model::patch::BalanceLoss;
use dmp_model::train::{Ema, Objective};

pub use settings::LoraSettings;

use super::learner::{Learner, optimizer};
use super::rate::RateSchedule;
use super::{Session, frozen, read_tensors, same_form};
use crate::output::write_atomic;
use crate::run::{HostBatch, StepRecord, Trainee, Workers};

/// Of a run directory, and of each of its checkpoints.
const PRODUCT: &str = "lora.safetensors";
const AVERAGE: &str = "average.safetensors";

/// A LoRA that learns on a backbone that does not.
pub struct LoraTrainee {
    backbone: Dit,
    learner: Learner<Lora>,
    metadata: PatchMetadata,
    /// Of the backbone, before the first step.
    frozen: String,
}

impl LoraTrainee {
    /// Starts anew, or goes on from a checkpoint's folder after so many steps. `backbone` is on the autodiff device.
    pub fn new(
        settings: &LoraSettings,
        backbone: BackboneFile,
        from: Option<(u64, &Path)>,
        device: &Device,
    ) -> Result<Self> {
        settings.lora.validate(backbone.model.config())?;
        let device = device.clone().autodiff();
        let mut metadata = frozen::metadata("LoRA", &settings.model, &backbone, settings.schedule);
        let folder = from.map(|(_, folder)| folder);
        let file = match folder {
            // Through bytes, so that parameters have the identities they will have when resumed.
            None => {
                let lora = Lora::init(&settings.lora, settings.seed, &device);
                load_lora(
                    TensorFile::from_bytes(&lora_bytes(&lora, &metadata)?)?,
                    &device,
                )?
            }
            Some(folder) => open(&folder.join(PRODUCT), &metadata, settings, &device)?,
        };
        // A run keeps the day it began.
        metadata.date = file.metadata.date;
        let ema = match from {
            _ if settings.ema_decay == 0.0 => None,
            None => Some(Ema::new(file.lora.clone(), settings.ema_decay, 0)),
            Some((done, folder)) => {
                let average = open(&folder.join(AVERAGE), &metadata, settings, &device)?.lora;
                Some(Ema::new(average, settings.ema_decay, done))
            }
        };
        let objective = Objective {
            draw: settings.timestep_draw(),
            diffusion: settings.diffusion(),
            weight: settings.loss_weight,
            balance: BalanceLoss::default(),
        };
        let backbone = backbone.model.no_grad();
        let frozen = backbone.frozen_hash();
        Ok(Self {
            backbone,
            learner: Learner {
                accumulate: settings.accumulate,
                module: file.lora,
                ema,
                optimizer: optimizer(0.0, folder)?,
                objective,
                learning_rate: settings.learning_rate,
                schedule: RateSchedule {
                    warmup: settings.warmup,
                    decay: settings.decay,
                    steps: settings.steps,
                },
                clip_norm: settings.clip_norm,
                workers: Workers::on(&device)?,
                device,
            },
            metadata,
            frozen,
        })
    }

    /// The file of what was trained: the average, if there is one.
    pub fn lora_bytes(&self) -> Result<Vec<u8>> {
        Ok(lora_bytes(&self.learner.product(), &self.metadata)?)
    }

    /// Verifies that not a byte of the backbone has changed.
    pub fn verify_frozen(&self) -> Result<()> {
        frozen::verify(&self.backbone, &self.frozen)
    }
}

/// A file of a checkpoint, of the backbone that `metadata` name.
fn open(
    path: &Path,
    metadata: &PatchMetadata,
    settings: &LoraSettings,
    device: &Device,
) -> Result<LoraFile> {
    let shown = || path.display().to_string();
    let file = load_lora(read_tensors(path)?, device).with_context(shown)?;
    file.metadata
        .check_backbone(&metadata.base_sha256)
        .with_context(shown)?;
    same_form(file.lora.config() == &settings.lora).with_context(shown)?;
    Ok(file)
}

impl Trainee for LoraTrainee {
    fn step(&mut self, step: u64, batch: &HostBatch) -> Result<StepRecord> {
        let backbone = &self.backbone;
        Ok(self
            .learner
            .step(step, batch, |lora: &Lora| lora.join(backbone)))
    }

    fn save(&self, folder: &Path) -> Result<()> {
        let trained = lora_bytes(&self.learner.module.valid(), &self.metadata)?;
        write_atomic(&folder.join(PRODUCT), &trained)?;
        if self.learner.ema.is_some() {
            write_atomic(&folder.join(AVERAGE), &self.lora_bytes()?)?;
        }
        self.learner.save_optimizer(folder)
    }
}

/// Trains a LoRA in a run directory, from where the directory stands, and writes its `lora.safetensors`. `backbone` is on
/// the autodiff form of `device`.
pub fn train_lora(
    settings: &LoraSettings,
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
    let path = session.directory.path(PRODUCT);
    let trainee = session.train(settings, draws, settings.steps, |from| {
        LoraTrainee::new(settings, backbone, from, device)
    })?;
    trainee.verify_frozen()?;
    Ok(write_atomic(&path, &trainee.lora_bytes()?)?)
}

#[cfg(test)]
mod tests;
