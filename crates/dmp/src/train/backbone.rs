//! Training a whole backbone, from scratch or from another, with an exponential moving average of its weights.

use std::path::Path;

use anyhow::{Context, Result};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;
use dmp_math::diffusion::Diffusion;
use dmp_math::schedule::BetaSchedule;
use dmp_math::timesteps::Timesteps;
use dmp_math::weight::LossWeight;
use dmp_model::checkpoint::{StoredType, TensorFile, backbone_bytes, load_backbone};
use dmp_model::dit::{Dit, DitConfig};
use dmp_model::patch::BalanceLoss;
use dmp_model::train::{Ema, Objective, WholeOptimizer};
use serde::{Deserialize, Serialize};

use super::rate::{Decay, RateSchedule};
use super::record::record;
use super::{Session, is_default, read};
use crate::output::write_atomic;
use crate::run::{DrawPlan, HostBatch, StepRecord, Trainee, Workers};

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
    /// Seed of every stream.
    pub seed: u64,
    /// Steps in all.
    pub steps: u64,
    /// Images a step.
    pub batch: usize,
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
        }
    }
}

/// A backbone that learns.
pub struct BackboneTrainee {
    model: Dit,
    ema: Option<Ema<Dit>>,
    optimizer: WholeOptimizer,
    objective: Objective,
    rate: RateSchedule,
    settings: BackboneSettings,
    workers: Workers,
    device: Device,
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
        let mut optimizer = WholeOptimizer::new(settings.weight_decay);
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
            Some((done, folder)) => {
                optimizer = optimizer.load_state(read(&folder.join("optimizer.bin"))?)?;
                (
                    open(&folder.join("model.safetensors"), &device)?,
                    open(&folder.join("ema.safetensors"), &device)?,
                    done,
                )
            }
        };
        let diffusion = settings.diffusion();
        let objective = Objective {
            draw: settings.timesteps.over(&diffusion),
            diffusion,
            weight: settings.loss_weight,
            balance: BalanceLoss::default(),
        };
        Ok(Self {
            model: trainable(model),
            ema: Some(Ema::new(average, settings.ema_decay, updates)),
            optimizer,
            objective,
            rate: RateSchedule {
                warmup: settings.warmup,
                decay: settings.decay,
                steps: settings.steps,
            },
            settings: settings.clone(),
            workers: Workers::on(&device)?,
            device,
        })
    }

    /// The file of the averaged backbone.
    pub fn average_bytes(&self, stored: StoredType) -> Result<Vec<u8>> {
        let ema = self
            .ema
            .as_ref()
            .context("the moving average is lost after a failed step")?;
        Ok(backbone_bytes(
            ema.average(),
            self.settings.schedule,
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

fn open(path: &Path, device: &Device) -> Result<Dit> {
    let file = TensorFile::from_bytes(&read(path)?).with_context(|| path.display().to_string())?;
    Ok(load_backbone(file, None, device)
        .with_context(|| path.display().to_string())?
        .model)
}

/// Most parts a batch is split into: each holds gradients of every weight until they are added up.
const MOST_PARTS: usize = 8;

impl BackboneTrainee {
    /// Gradients and figures of a batch, its images spread over `workers`, each part with a graph of its own.
    fn gradients(
        &self,
        batch: &HostBatch,
        workers: &Workers,
    ) -> (Vec<GradientsParams>, StepRecord) {
        let parts = batch.split(workers.count().min(MOST_PARTS)).into_iter();
        let parts = workers.map(
            parts
                .map(|part| (self.model.clone().fork(&self.device), part))
                .collect(),
            |(model, part)| {
                let share = part.len() as f64 / batch.len() as f64;
                let noised = part.noised(&self.device);
                let loss = self.objective.bare(&model, &noised, &part.labels);
                let gradients = (loss.total.clone() * share).backward();
                let gradients = GradientsParams::from_grads(gradients, &model);
                (gradients, record(&loss), share)
            },
        );
        let mut record = StepRecord::default();
        let mut gradients = Vec::with_capacity(parts.len());
        for (part, figures, share) in parts {
            record.add_share(&figures, share);
            gradients.push(part);
        }
        (gradients, record)
    }
}

impl Trainee for BackboneTrainee {
    fn step(&mut self, step: u64, batch: &HostBatch) -> Result<StepRecord> {
        let (gradients, mut record) = self.gradients(batch, &self.workers);
        let rate = self.settings.learning_rate * self.rate.factor(step);
        let (model, norm) =
            self.optimizer
                .step(self.model.clone(), gradients, rate, self.settings.clip_norm);
        self.model = model;
        if let Some(ema) = &mut self.ema {
            ema.update(&self.model);
        }
        record.grad_norm = norm.0;
        Ok(record)
    }

    fn save(&self, folder: &Path) -> Result<()> {
        write_atomic(
            &folder.join("model.safetensors"),
            &backbone_bytes(&self.model.valid(), self.settings.schedule, StoredType::F32)?,
        )?;
        write_atomic(
            &folder.join("ema.safetensors"),
            &self.average_bytes(StoredType::F32)?,
        )?;
        write_atomic(&folder.join("optimizer.bin"), &self.optimizer.state()?)?;
        Ok(())
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
        trainee.model.set_checkpointing(checkpointing);
        Ok(trainee)
    })?;
    Ok(write_atomic(
        &path,
        &trainee.average_bytes(StoredType::F32)?,
    )?)
}

#[cfg(test)]
mod tests;
