//! What decides a LoRA's training.

use dmp_math::diffusion::Diffusion;
use dmp_math::schedule::BetaSchedule;
use dmp_math::timesteps::{TimestepDraw, Timesteps};
use dmp_math::weight::LossWeight;
use dmp_model::lora::LoraConfig;
use serde::{Deserialize, Serialize};

use crate::data::Classes;
use crate::run::{DrawPlan, TargetPlan};
use crate::train::accumulate::{is_one, one};
use crate::train::{Decay, is_default};

/// Everything that decides what a LoRA's training does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraSettings {
    /// The backbone.
    pub model: String,
    /// Its fingerprint.
    pub model_sha256: String,
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
    /// AdamW's learning rate, without weight decay.
    pub learning_rate: f64,
    /// Steps of warm-up.
    pub warmup: u64,
    /// What follows the warm-up.
    pub decay: Decay,
    /// Decay of the factors' moving average, which is what is written; 0 is the factors themselves.
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
    /// The LoRA.
    pub lora: LoraConfig,
}

impl LoraSettings {
    /// The process trained with.
    pub fn diffusion(&self) -> Diffusion {
        Diffusion::new(self.schedule, crate::DIFFUSION_STEPS)
    }

    /// How timesteps are drawn: those at which the LoRA acts.
    pub fn timestep_draw(&self) -> TimestepDraw {
        let diffusion = self.diffusion();
        let end = self.lora.patch_below.unwrap_or(diffusion.len());
        self.timesteps.below(&diffusion, end)
    }

    /// What is drawn for each step, for a backbone with this null label and this many classes.
    pub fn draw_plan(&self, null_label: Option<usize>, num_classes: usize) -> DrawPlan {
        DrawPlan {
            seed: self.seed,
            batch: self.batch,
            timesteps: self.timestep_draw(),
            flip: self.flip,
            label_dropout: null_label.map(|null| (self.label_dropout, null)),
            labelled: num_classes > 1,
            gate: None,
            targets: TargetPlan::of(self.stable_targets, &self.diffusion()),
        }
    }
}
