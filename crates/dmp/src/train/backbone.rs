//! Training a whole backbone, from scratch or from another, with an exponential moving average of its weights.

use std::path::Path;

use anyhow::{Context, Result};
use burn::module::Module;
use burn::tensor::Device;
use dmp_math::diffusion::Diffusion;
use dmp_math::schedule::BetaSchedule;
use dmp_math::timesteps::Timesteps;
use dmp_math::weight::LossWeight;
use dmp_model::checkpoint::{StoredType, TensorFile, backbone_bytes, load_backbone};
use dmp_model::dit::{Dit, DitConfig};
use dmp_model::patch::BalanceLoss;
use dmp_model::train::{Ema, Objective};
use serde::{Deserialize, Serialize};

use super::accumulate::{is_one, one};
use super::learner::{Learner, optimizer};
use super::rate::{Decay, RateSchedule};
use super::{Session, is_default, read_tensors, same_form};
use crate::data::Classes;
use crate::output::write_atomic;
use crate::run::{DrawPlan, HostBatch, StepRecord, TargetPlan, Trainee, Workers};

/// Everything that decides what the training of a whole backbone does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneSettings {
    /// The backbone it starts from; none is from scratch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its fingerprint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_sha256: Option<String>,
    /// What to train on.
    pub data: String,
    /// Its [`Dataset::fingerprint`](crate::data::Dataset::fingerprint): other images under the same name are no
    /// continuation.
    pub data_sha256: String,
    /// Classes of its images that are trained on, where they are not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Classes>,
    /// Seed of every stream.
    pub seed: u64,
    /// Steps in all.
    pub steps: u64,
    /// Images a step.
    pub batch: usize,
    /// Pieces that a worker's images are computed in, one after the other.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub accumulate: usize,
    /// AdamW's learning rate.
    pub learning_rate: f64,
    /// AdamW's weight decay.
    pub weight_decay: f32,
    /// Steps of warm-up.
    pub warmup: u64,
    /// What follows the warm-up.
    pub decay: Decay,
    /// Decay of the moving average.
    pub ema_decay: f64,
    /// Whether images are mirrored at random.
    pub flip: bool,
    /// Share of labels dropped, if the backbone knows a null label.
    pub label_dropout: f64,
    /// Gradients are scaled down to this norm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Noise schedule, of 1000 steps.
    pub schedule: BetaSchedule,
    /// Weight of the loss over noise levels.
    pub loss_weight: LossWeight,
    /// How often each timestep is drawn.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timesteps: Timesteps,
    /// Images whose noises are averaged to be the target of each image's prediction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_targets: Option<usize>,
    /// The network.
    pub backbone: DitConfig,
}

impl BackboneSettings {
    /// The process trained with.
    pub fn diffusion(&self) -> Diffusion {
        Diffusion::new(self.schedule, crate::DIFFUSION_STEPS)
    }

    /// What is drawn for each step.
    pub fn draw_plan(&self) -> DrawPlan {
        let null_label = self.backbone.num_classes;
        DrawPlan {
            seed: self.seed,
            batch: self.batch,
            timesteps: self.timesteps.over(&self.diffusion()),
            flip: self.flip,
            label_dropout: (self.backbone.class_dropout_prob > 0.0)
                .then_some((self.label_dropout, null_label)),
            labelled: self.backbone.num_classes > 1,
            gate: None,
            targets: TargetPlan::of(self.stable_targets, &self.diffusion()),
        }
    }
}

/// A backbone that learns.
pub struct BackboneTrainee {
    learner: Learner<Dit>,
    /// That it was trained with.
    noise_schedule: BetaSchedule,
}

impl BackboneTrainee {
    /// Starts from `start` or, without one, from new weights; or goes on from a checkpoint's folder after so many
    /// steps.
    pub fn new(
        settings: &BackboneSettings,
        start: Option<&Dit>,
        from: Option<(u64, &Path)>,
        device: &Device,
    ) -> Result<Self> {
        let device = device.clone().autodiff();
        let optimizer = optimizer(settings.weight_decay, from.map(|(_, folder)| folder))?;
        let (model, average, updates) = match from {
            None => {
                // Through bytes, so that parameters have the identities they will have when resumed.
                let bytes = match start {
                    Some(model) => backbone_bytes(model, settings.schedule, StoredType::F32),
                    None => {
                        let model = Dit::init(&settings.backbone, settings.seed, &device);
                        backbone_bytes(&model, settings.schedule, StoredType::F32)
                    }
                }?;
                let model = load_backbone(TensorFile::from_bytes(&bytes)?, None, &device)?.model;
                (model.clone(), model, 0)
            }
            Some((done, folder)) => (
                open(&folder.join("model.safetensors"), settings, &device)?,
                open(&folder.join("ema.safetensors"), settings, &device)?,
                done,
            ),
        };
        let diffusion = settings.diffusion();
        let objective = Objective {
            draw: settings.timesteps.over(&diffusion),
            diffusion,
            weight: settings.loss_weight,
            balance: BalanceLoss::default(),
        };
        Ok(Self {
            learner: Learner {
                accumulate: settings.accumulate,
                module: trainable(model),
                ema: Some(Ema::new(average, settings.ema_decay, updates)),
                optimizer,
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
            noise_schedule: settings.schedule,
        })
    }

    /// The file of the averaged backbone.
    pub fn average_bytes(&self, stored: StoredType) -> Result<Vec<u8>> {
        Ok(backbone_bytes(
            &self.learner.product(),
            self.noise_schedule,
            stored,
        )?)
    }
}

/// Everything but the fixed position table requires gradients.
fn trainable(model: Dit) -> Dit {
    let fixed = burn::module::ParamGroup::from_path("pos_embed");
    model
        .set_require_grad(true)
        .set_require_grad_group(fixed, false)
}

fn open(path: &Path, settings: &BackboneSettings, device: &Device) -> Result<Dit> {
    let file = read_tensors(path)?;
    let shown = || path.display().to_string();
    let model = load_backbone(file, None, device).with_context(shown)?.model;
    same_form(model.config() == &settings.backbone).with_context(shown)?;
    Ok(model)
}

impl Trainee for BackboneTrainee {
    fn step(&mut self, step: u64, batch: &HostBatch) -> Result<StepRecord> {
        Ok(self.learner.step(step, batch, Dit::clone))
    }

    fn save(&self, folder: &Path) -> Result<()> {
        let model = self.learner.module.valid();
        write_atomic(
            &folder.join("model.safetensors"),
            &backbone_bytes(&model, self.noise_schedule, StoredType::F32)?,
        )?;
        write_atomic(
            &folder.join("ema.safetensors"),
            &self.average_bytes(StoredType::F32)?,
        )?;
        self.learner.save_optimizer(folder)
    }
}

/// Trains a whole backbone in a run directory, from where the directory stands, and writes the averaged weights
/// to its `backbone.safetensors`. A run begins from `start` or, without one, from new weights.
pub fn train_backbone(
    settings: &BackboneSettings,
    start: Option<&Dit>,
    session: Session<'_>,
    device: &Device,
) -> Result<()> {
    if let Some(model) = start {
        session.check_data(model, &settings.data)?;
    }
    let path = session.directory.path("backbone.safetensors");
    let checkpointing = session.checkpointing;
    let trainee = session.train(settings, settings.draw_plan(), settings.steps, |from| {
        let mut trainee = BackboneTrainee::new(settings, start, from, device)?;
        trainee.learner.module.set_checkpointing(checkpointing);
        Ok(trainee)
    })?;
    Ok(write_atomic(
        &path,
        &trainee.average_bytes(StoredType::F32)?,
    )?)
}

#[cfg(test)]
mod tests;
