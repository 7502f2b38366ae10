//! `dmp pretrain`: a backbone from scratch, with EMA.

use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::Device;
use clap::Args;
use dmp_math::schedule::BetaSchedule;
use dmp_math::weight::LossWeight;
use dmp_model::checkpoint::StoredType;
use dmp_model::dit::DitConfig;

use crate::models::open_data;
use crate::output::write_atomic;
use crate::run::{Interrupt, Prefetch, RunDir, RunPlan, run};
use crate::train::{BackboneSettings, BackboneTrainee, Decay};

/// Train a backbone from scratch; rerun the same command to go on with an interrupted run
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dmp pretrain --data demo --out runs/base --hidden-size 128 --depth 6 --num-heads 4 --steps 20000"
)]
pub struct PretrainArgs {
    /// What to train on: 'demo' is the embedded Fashion-MNIST
    #[arg(long, default_value = "demo")]
    data: String,
    /// Run directory
    #[arg(long)]
    out: PathBuf,
    /// Token width
    #[arg(long, default_value_t = 128)]
    hidden_size: usize,
    /// Blocks
    #[arg(long, default_value_t = 6)]
    depth: usize,
    /// Attention heads
    #[arg(long, default_value_t = 4)]
    num_heads: usize,
    /// Side of a patch, in pixels
    #[arg(long, default_value_t = 4)]
    patch_size: usize,
    /// Share of labels dropped, for guidance; 0 for none
    #[arg(long, default_value_t = 0.1)]
    label_dropout: f64,
    /// Steps
    #[arg(long, default_value_t = 20_000)]
    steps: u64,
    /// Images a step
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Learning rate of AdamW
    #[arg(long, default_value_t = 1e-3)]
    learning_rate: f64,
    /// Weight decay of AdamW
    #[arg(long, default_value_t = 0.0)]
    weight_decay: f32,
    /// Steps of linear warm-up
    #[arg(long, default_value_t = 500)]
    warmup: u64,
    /// Learning rate after the warm-up
    #[arg(long, value_enum, default_value_t = Decay::Cosine)]
    decay: Decay,
    /// Decay of the moving average of the weights
    #[arg(long, default_value_t = 0.9995)]
    ema_decay: f64,
    /// Scale gradients down to this norm [default: off]
    #[arg(long)]
    clip_norm: Option<f64>,
    /// Do not mirror images at random
    #[arg(long)]
    no_flip: bool,
    /// Noise schedule: linear or squaredcos_cap_v2
    #[arg(long, default_value_t = BetaSchedule::Linear)]
    schedule: BetaSchedule,
    /// Weight of the loss over noise levels: constant, min-snr[:GAMMA], p2[:K,GAMMA]
    #[arg(long, default_value_t = LossWeight::Constant)]
    loss_weight: LossWeight,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Steps between lines of stats.jsonl
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    log_every: u64,
    /// Steps between checkpoints
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_every: u64,
    /// Never remove checkpoints at multiples of this
    #[arg(long)]
    keep_every: Option<u64>,
}

/// Runs the command.
pub fn pretrain(args: &PretrainArgs, device: &Device) -> Result<()> {
    let data = open_data(&args.data)?;
    let shape = data.shape();
    anyhow::ensure!(
        shape.height == shape.width,
        "data '{}' has images of {}x{}; give square ones",
        args.data,
        shape.width,
        shape.height
    );
    let settings = BackboneSettings {
        data: args.data.clone(),
        seed: args.seed,
        steps: args.steps,
        batch: args.batch,
        learning_rate: args.learning_rate,
        weight_decay: args.weight_decay,
        warmup: args.warmup,
        decay: args.decay,
        ema_decay: args.ema_decay,
        flip: !args.no_flip,
        clip_norm: args.clip_norm,
        schedule: args.schedule,
        loss_weight: args.loss_weight,
        backbone: DitConfig {
            input_size: shape.height,
            patch_size: args.patch_size,
            in_channels: shape.channels,
            hidden_size: args.hidden_size,
            depth: args.depth,
            num_heads: args.num_heads,
            mlp_ratio: 4.0,
            learn_sigma: true,
            num_classes: data.num_classes(),
            class_dropout_prob: args.label_dropout,
        },
    };
    settings.backbone.validate()?;
    anyhow::ensure!(args.batch > 0, "--batch is 0; give at least 1 image a step");
    let directory = RunDir::open(&args.out, &settings, &[])?;
    let checkpoint = directory.latest_checkpoint()?;
    let done = checkpoint.as_ref().map_or(0, |(step, _)| *step);
    directory.begin(&settings, done)?;
    eprintln!(
        "backbone of {} parameters, {} images, step {done} of {}",
        settings.backbone.num_params(),
        data.len(),
        settings.steps
    );
    let from = checkpoint
        .as_ref()
        .map(|(step, folder)| (*step, folder.as_path()));
    let mut trainee = BackboneTrainee::new(&settings, from, device)?;
    let batches = Prefetch::start(settings.draw_plan(), data, done..settings.steps)?;
    let plan = RunPlan {
        done,
        steps: settings.steps,
        batch: settings.batch,
        log_every: args.log_every,
        checkpoint_every: args.checkpoint_every,
        keep_every: args.keep_every,
    };
    run(
        &plan,
        &directory,
        &mut trainee,
        batches,
        &Interrupt::listen(),
    )?;
    let path = directory.path("backbone.safetensors");
    write_atomic(&path, &trainee.average_bytes(StoredType::F32)?)?;
    println!("{}", path.display());
    Ok(())
}
