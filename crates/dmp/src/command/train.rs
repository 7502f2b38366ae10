//! `dmp train`: a patch on a frozen backbone.

use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::Device;
use clap::{Args, ValueEnum};
use dmp_math::schedule::BetaSchedule;
use dmp_math::weight::LossWeight;
use dmp_model::denoiser::Backbone;
use dmp_model::patch::{
    BalanceForm, BalanceLoss, GateInput, GateKind, Init, PatchConfig, Position,
};

use crate::models::{open_backbone, open_data};
use crate::run::{Interrupt, RunDir};
use crate::train::{Cadence, Decay, PatchSettings, train_patch};

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MethodName {
    /// Prompts mixed by a gate
    Dmp,
    /// Prompts without a gate (mask = 1)
    PromptTuning,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PositionName {
    /// Prompt i is added to token i
    Add,
    /// Prompts are extra tokens
    Prepend,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GateName {
    /// Linear map of the gate's input and the block
    Linear,
    /// Every prompt 1/N
    Uniform,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GateInputName {
    /// Timestep and label
    Conditioning,
    /// Timestep alone
    Timestep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum InitName {
    /// All zeros: starts as the bare backbone
    Zero,
    /// Xavier-uniform
    Random,
}

/// Train a patch on a frozen backbone; rerun the same command to go on with an interrupted run
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dmp train --model demo --data demo --out runs/patch --steps 200 --seed 1"
)]
pub struct TrainArgs {
    /// Backbone: 'demo', a .safetensors file or a run directory
    #[arg(long, default_value = "demo")]
    model: String,
    /// What to train on: 'demo' is the embedded Fashion-MNIST
    #[arg(long, default_value = "demo")]
    data: String,
    /// Run directory; the patch is its patch.safetensors
    #[arg(long)]
    out: PathBuf,
    /// What to train
    #[arg(long, value_enum, default_value_t = MethodName::Dmp)]
    method: MethodName,
    /// Steps
    #[arg(long, default_value_t = 1000)]
    steps: u64,
    /// Images a step
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// AdamW's learning rate for prompts
    #[arg(long, default_value_t = 1e-2)]
    prompt_rate: f64,
    /// AdamW's learning rate for gate and noise weights
    #[arg(long, default_value_t = 1e-3)]
    gate_rate: f64,
    /// Steps of linear warm-up
    #[arg(long, default_value_t = 0)]
    warmup: u64,
    /// Learning rate after the warm-up
    #[arg(long, value_enum, default_value_t = Decay::Constant)]
    decay: Decay,
    /// Where prompts go
    #[arg(long, value_enum, default_value_t = PositionName::Add)]
    position: PositionName,
    /// What makes the mask
    #[arg(long, value_enum, default_value_t = GateName::Linear)]
    gate: GateName,
    /// What the gate looks at
    #[arg(long, value_enum, default_value_t = GateInputName::Conditioning)]
    gate_input: GateInputName,
    /// Share of prompts a gate may select
    #[arg(long, default_value_t = 1.0)]
    top_k: f64,
    /// How the patch starts
    #[arg(long, value_enum, default_value_t = InitName::Zero)]
    init: InitName,
    /// Prompts a block [default: one a token]
    #[arg(long)]
    prompts: Option<usize>,
    /// Blocks patched, from the first [default: all]
    #[arg(long)]
    depth: Option<usize>,
    /// Balance loss: shazeer or reference
    #[arg(long, default_value_t = BalanceForm::Shazeer)]
    balance: BalanceForm,
    /// Weight of the balance loss's importance term
    #[arg(long, default_value_t = 0.01)]
    importance: f64,
    /// Weight of the balance loss's load term
    #[arg(long, default_value_t = 0.01)]
    load: f64,
    /// Share of labels dropped
    #[arg(long, default_value_t = 0.1)]
    label_dropout: f64,
    /// Do not mirror images at random
    #[arg(long)]
    no_flip: bool,
    /// Scale gradients down to this norm [default: off]
    #[arg(long)]
    clip_norm: Option<f64>,
    /// Noise schedule the backbone was trained with: linear or squaredcos_cap_v2
    #[arg(long, default_value_t = BetaSchedule::Linear)]
    schedule: BetaSchedule,
    /// Weight of the loss over noise levels: constant, min-snr[:GAMMA], p2[:K,GAMMA]
    #[arg(long, default_value_t = LossWeight::Constant)]
    loss_weight: LossWeight,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Steps between lines of stats.jsonl
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    log_every: u64,
    /// Steps between checkpoints
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_every: u64,
}

impl TrainArgs {
    /// The patch asked for, on this backbone.
    fn patch_config(&self, backbone: &impl Backbone) -> PatchConfig {
        PatchConfig {
            position: match self.position {
                PositionName::Add => Position::Add,
                PositionName::Prepend => Position::Prepend,
            },
            gate: match (self.method, self.gate) {
                (MethodName::PromptTuning, _) => GateKind::None,
                (MethodName::Dmp, GateName::Linear) => GateKind::Linear,
                (MethodName::Dmp, GateName::Uniform) => GateKind::Uniform,
            },
            gate_input: match self.gate_input {
                GateInputName::Conditioning => GateInput::Conditioning,
                GateInputName::Timestep => GateInput::Timestep,
            },
            top_k: self.top_k,
            init: match self.init {
                InitName::Zero => Init::Zero,
                InitName::Random => Init::Random,
            },
            num_prompts: self.prompts.unwrap_or(backbone.num_tokens()),
            hidden_size: backbone.hidden_size(),
            depth: self.depth.unwrap_or(backbone.depth()),
        }
    }

    fn settings(&self, patch: PatchConfig) -> PatchSettings {
        PatchSettings {
            model: self.model.clone(),
            data: self.data.clone(),
            seed: self.seed,
            steps: self.steps,
            batch: self.batch,
            prompt_rate: self.prompt_rate,
            gate_rate: self.gate_rate,
            warmup: self.warmup,
            decay: self.decay,
            flip: !self.no_flip,
            label_dropout: self.label_dropout,
            clip_norm: self.clip_norm,
            schedule: self.schedule,
            loss_weight: self.loss_weight,
            balance: BalanceLoss {
                form: self.balance,
                importance: self.importance,
                load: self.load,
            },
            patch,
        }
    }
}

/// Runs the command.
pub fn train(args: &TrainArgs, device: &Device) -> Result<()> {
    let backbone = open_backbone(&args.model, &device.clone().autodiff())?;
    let config = args.patch_config(&backbone.model);
    config.validate(
        backbone.model.num_tokens(),
        backbone.model.hidden_size(),
        backbone.model.depth(),
    )?;
    let settings = args.settings(config);
    let data = open_data(&args.data)?;
    // With a constant rate a finished run can be taken further; a cosine depends on where it ends.
    let free: &[&str] = if settings.decay == Decay::Constant {
        &["steps"]
    } else {
        &[]
    };
    anyhow::ensure!(args.batch > 0, "--batch is 0; give at least 1 image a step");
    let directory = RunDir::open(&args.out, &settings, free)?;
    let total = backbone.model.config().num_params();
    let added = settings.patch.added_params();
    eprintln!(
        "patch of {added} parameters (+{:.2} %), {} images",
        100.0 * added as f64 / total as f64,
        data.len()
    );
    let cadence = Cadence {
        log_every: args.log_every,
        checkpoint_every: args.checkpoint_every,
    };
    train_patch(
        &settings,
        backbone,
        data,
        &directory,
        cadence,
        &Interrupt::listen(),
        device,
    )?;
    println!("{}", directory.path("patch.safetensors").display());
    Ok(())
}
