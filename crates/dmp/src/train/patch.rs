//! Training a patch on a frozen backbone.

use std::path::Path;

use anyhow::{Context, Result};
use burn::module::Module;
use burn::tensor::Device;
use dmp_math::diffusion::Diffusion;
use dmp_math::schedule::BetaSchedule;
use dmp_math::weight::LossWeight;
use dmp_model::checkpoint::{
    BackboneFile, PatchMetadata, TensorFile, collect, fingerprint, load_patch, patch_bytes,
};
use dmp_model::denoiser::Denoiser;
use dmp_model::dit::{Dit, public_key};
use dmp_model::patch::{BalanceLoss, GateKind, Patch, PatchConfig};
use dmp_model::patched::Patched;
use dmp_model::train::{Objective, PatchOptimizer, PatchRates};
use serde::{Deserialize, Serialize};

use super::rate::{Decay, RateSchedule};
use super::read;
use super::record::record;
use crate::data::Dataset;
use crate::output::write_atomic;
use crate::run::{
    DrawPlan, HostBatch, Interrupt, Prefetch, RunDir, RunPlan, StepRecord, Trainee, run,
};

/// Everything that decides what a patch's training does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchSettings {
    /// The backbone.
    pub model: String,
    /// What to train on.
    pub data: String,
    /// Seed of every stream.
    pub seed: u64,
    /// Steps in all.
    pub steps: u64,
    /// Images a step.
    pub batch: usize,
    /// AdamW's learning rate for prompts.
    pub prompt_rate: f64,
    /// AdamW's learning rate for the gate and its noise weights.
    pub gate_rate: f64,
    /// Steps of warm-up.
    pub warmup: u64,
    /// What follows the warm-up.
    pub decay: Decay,
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
    /// Balance terms.
    pub balance: BalanceLoss,
    /// The patch.
    pub patch: PatchConfig,
}

impl PatchSettings {
    /// What is drawn for each step, for a backbone with this null label and this many classes.
    pub fn draw_plan(&self, null_label: Option<usize>, num_classes: usize) -> DrawPlan {
        DrawPlan {
            seed: self.seed,
            batch: self.batch,
            diffusion_steps: crate::DIFFUSION_STEPS,
            flip: self.flip,
            label_dropout: null_label.map(|null| (self.label_dropout, null)),
            labelled: num_classes > 1,
            gate: (self.patch.gate == GateKind::Linear)
                .then_some((self.patch.depth, self.patch.num_prompts)),
        }
    }
}

/// A patch that learns on a backbone that does not.
pub struct PatchTrainee {
    model: Patched<Dit>,
    optimizer: PatchOptimizer,
    objective: Objective,
    rate: RateSchedule,
    settings: PatchSettings,
    metadata: PatchMetadata,
    device: Device,
}

impl PatchTrainee {
    /// Starts anew, or from a checkpoint's folder. `backbone` is on the autodiff device and requires no gradients.
    pub fn new(
        settings: &PatchSettings,
        backbone: BackboneFile,
        from: Option<&Path>,
        device: &Device,
    ) -> Result<Self> {
        let device = device.clone().autodiff();
        let size = backbone.model.config().input_size;
        let mut metadata = PatchMetadata {
            base_sha256: backbone.fingerprint,
            architecture: "dit".to_owned(),
            title: format!("DMP patch of {}", settings.model),
            resolution: format!("{size}x{size}"),
            date: crate::today(),
        };
        // A new patch goes through bytes too, so that parameters have the identities they have when resumed.
        let (bytes, optimizer) = match from {
            None => {
                let patch = Patch::init(&settings.patch, settings.seed, &device);
                (patch_bytes(&patch, &metadata)?, PatchOptimizer::default())
            }
            Some(folder) => {
                let state = [
                    read(&folder.join("prompts.bin"))?,
                    read(&folder.join("gate.bin"))?,
                ];
                (
                    read(&folder.join("patch.safetensors"))?,
                    PatchOptimizer::from_state(state)?,
                )
            }
        };
        let file = load_patch(TensorFile::from_bytes(&bytes)?, &device)?;
        file.check_backbone(&metadata.base_sha256)
            .context("the run's checkpoint")?;
        // A run keeps the day it began.
        metadata.date = file.metadata.date;
        let patch = file.patch;
        let objective = Objective {
            diffusion: Diffusion::new(settings.schedule, crate::DIFFUSION_STEPS),
            weight: settings.loss_weight,
            balance: settings.balance,
        };
        Ok(Self {
            model: Patched::new(backbone.model.no_grad(), patch)?,
            optimizer,
            objective,
            rate: RateSchedule {
                warmup: settings.warmup,
                decay: settings.decay,
                steps: settings.steps,
            },
            settings: settings.clone(),
            metadata,
            device,
        })
    }

    /// The patch's file.
    pub fn patch_bytes(&self) -> Result<Vec<u8>> {
        Ok(patch_bytes(&self.model.patch().valid(), &self.metadata)?)
    }

    /// Verifies that not a byte of the backbone has changed.
    pub fn verify_frozen(&self) -> Result<()> {
        let now = fingerprint(&collect(&self.model.backbone().valid(), public_key));
        anyhow::ensure!(
            now == self.metadata.base_sha256,
            "the frozen backbone changed during training; this is a fault of the program, please report it"
        );
        Ok(())
    }
}

impl Trainee for PatchTrainee {
    fn step(&mut self, step: u64, batch: &HostBatch) -> Result<StepRecord> {
        let noise = batch.gate_noise(&self.device);
        let loss = self.objective.patched(
            &self.model,
            &batch.noised(&self.device),
            &batch.labels,
            noise.as_ref(),
        );
        let gradients = loss.total.backward();
        let factor = self.rate.factor(step);
        let rates = PatchRates {
            prompts: self.settings.prompt_rate * factor,
            gate: self.settings.gate_rate * factor,
        };
        let (optimizer, clip) = (&mut self.optimizer, self.settings.clip_norm);
        let mut norm = None;
        self.model = self.model.clone().map_patch(|patch| {
            let (patch, found) = optimizer.step(patch, gradients, rates, clip);
            norm = Some(found);
            patch
        });
        let norm = norm.context("the optimiser took no step")?;
        Ok(record(&loss, norm))
    }

    fn save(&self, folder: &Path) -> Result<()> {
        let [prompts, gate] = self.optimizer.state()?;
        write_atomic(&folder.join("patch.safetensors"), &self.patch_bytes()?)?;
        write_atomic(&folder.join("prompts.bin"), &prompts)?;
        write_atomic(&folder.join("gate.bin"), &gate)?;
        Ok(())
    }
}

/// How often a run writes.
#[derive(Debug, Clone, Copy)]
pub struct Cadence {
    /// Steps between lines of statistics.
    pub log_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
}

/// Trains a patch in a run directory, from where the directory stands, and writes its `patch.safetensors`.
/// `backbone` is on the autodiff form of `device`.
pub fn train_patch(
    settings: &PatchSettings,
    backbone: BackboneFile,
    data: Dataset,
    directory: &RunDir,
    cadence: Cadence,
    interrupt: &Interrupt,
    device: &Device,
) -> Result<()> {
    let config = backbone.model.config();
    let layout = backbone.model.layout();
    let shape = data.shape();
    anyhow::ensure!(
        (layout.channels, layout.height, layout.width)
            == (shape.channels, shape.height, shape.width),
        "the model takes {}x{}x{} images, data '{}' has {}x{}x{}; give the data the model was trained on",
        layout.channels,
        layout.height,
        layout.width,
        settings.data,
        shape.channels,
        shape.height,
        shape.width
    );
    anyhow::ensure!(
        config.num_classes == 1 || data.num_classes() <= config.num_classes,
        "data '{}' has {} classes, the model {}; give the data the model was trained on",
        settings.data,
        data.num_classes(),
        config.num_classes
    );
    let draw_plan = settings.draw_plan(backbone.model.null_label(), config.num_classes);
    let checkpoint = directory.latest_checkpoint()?;
    let done = checkpoint.as_ref().map_or(0, |(step, _)| *step);
    anyhow::ensure!(
        done <= settings.steps,
        "the run directory already holds {done} steps; give --steps {done} or more"
    );
    directory.begin(settings, done)?;
    let mut trainee = PatchTrainee::new(
        settings,
        backbone,
        checkpoint.as_ref().map(|(_, folder)| folder.as_path()),
        device,
    )?;
    let batches = Prefetch::start(draw_plan, data, done..settings.steps)?;
    let plan = RunPlan {
        done,
        steps: settings.steps,
        batch: settings.batch,
        log_every: cadence.log_every,
        checkpoint_every: cadence.checkpoint_every,
        keep_every: None,
    };
    run(&plan, directory, &mut trainee, batches, interrupt)?;
    trainee.verify_frozen()?;
    Ok(write_atomic(
        &directory.path("patch.safetensors"),
        &trainee.patch_bytes()?,
    )?)
}
