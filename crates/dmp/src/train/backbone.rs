//! Pre-training a backbone, with an exponential moving average of its weights.

use std::path::Path;

use anyhow::{Context, Result};
use burn::module::Module;
use burn::tensor::Device;
use dmp_math::diffusion::Diffusion;
use dmp_math::schedule::BetaSchedule;
use dmp_math::weight::LossWeight;
use dmp_model::checkpoint::{StoredType, TensorFile, backbone_bytes, load_backbone};
use dmp_model::dit::{Dit, DitConfig};
use dmp_model::patch::BalanceLoss;
use dmp_model::train::{Ema, Objective, WholeOptimizer};
use serde::{Deserialize, Serialize};

use super::rate::{Decay, RateSchedule};
use super::read;
use super::record::record;
use crate::output::write_atomic;
use crate::run::{DrawPlan, HostBatch, StepRecord, Trainee};

/// Everything that decides what a pre-training run does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneSettings {
    /// What to train on.
    pub data: String,
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
    /// Gradients are scaled down to this norm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Noise schedule, of 1000 steps.
    pub schedule: BetaSchedule,
    /// Weight of the loss over noise levels.
    pub loss_weight: LossWeight,
    /// The network.
    pub backbone: DitConfig,
}

impl BackboneSettings {
    /// What is drawn for each step.
    pub fn draw_plan(&self) -> DrawPlan {
        let dropout = self.backbone.class_dropout_prob;
        DrawPlan {
            seed: self.seed,
            batch: self.batch,
            diffusion_steps: crate::DIFFUSION_STEPS,
            flip: self.flip,
            label_dropout: (dropout > 0.0).then_some((dropout, self.backbone.num_classes)),
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
    device: Device,
}

impl BackboneTrainee {
    /// Starts anew, or from a checkpoint's folder after `done` steps.
    pub fn new(
        settings: &BackboneSettings,
        from: Option<(u64, &Path)>,
        device: &Device,
    ) -> Result<Self> {
        let device = device.clone().autodiff();
        let mut optimizer = WholeOptimizer::new(settings.weight_decay);
        let (model, average, updates) = match from {
            None => {
                // Through bytes, so that parameters have the identities they will have when resumed.
                let bytes = backbone_bytes(
                    &Dit::init(&settings.backbone, settings.seed, &device),
                    StoredType::F32,
                )?;
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
        let objective = Objective {
            diffusion: Diffusion::new(settings.schedule, crate::DIFFUSION_STEPS),
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
            device,
        })
    }

    /// The file of the averaged backbone.
    pub fn average_bytes(&self, stored: StoredType) -> Result<Vec<u8>> {
        let ema = self
            .ema
            .as_ref()
            .context("the moving average is lost after a failed step")?;
        Ok(backbone_bytes(ema.average(), stored)?)
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

impl Trainee for BackboneTrainee {
    fn step(&mut self, step: u64, batch: &HostBatch) -> Result<StepRecord> {
        let noised = batch.noised(&self.device);
        let loss = self.objective.bare(&self.model, &noised, &batch.labels);
        let gradients = loss.total.backward();
        let rate = self.settings.learning_rate * self.rate.factor(step);
        let (model, norm) =
            self.optimizer
                .step(self.model.clone(), gradients, rate, self.settings.clip_norm);
        self.model = model;
        self.ema = self.ema.take().map(|ema| ema.update(&self.model));
        Ok(record(&loss, norm))
    }

    fn save(&self, folder: &Path) -> Result<()> {
        write_atomic(
            &folder.join("model.safetensors"),
            &backbone_bytes(&self.model.valid(), StoredType::F32)?,
        )?;
        write_atomic(
            &folder.join("ema.safetensors"),
            &self.average_bytes(StoredType::F32)?,
        )?;
        write_atomic(&folder.join("optimizer.bin"), &self.optimizer.state()?)?;
        Ok(())
    }
}
