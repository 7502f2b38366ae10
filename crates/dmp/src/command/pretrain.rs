//! `dmp pretrain`: a backbone from scratch, with EMA.

use anyhow::Result;
use burn::tensor::Device;
use clap::Args;
use dmp_math::schedule::BetaSchedule;
use dmp_math::timesteps::Timesteps;
use dmp_model::dit::DitConfig;

use crate::data::{Dataset, ImageShape};
use crate::flags;
use crate::output::say;
use crate::run::{Interrupt, RunDir};
use crate::train::{BackboneSettings, Decay, LoopArgs, Session, note_warmup, train_backbone};

/// Train a backbone from scratch; rerun the same command to go on with an interrupted run
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dmp pretrain --data demo --out runs/base --hidden-size 128 --depth 6 --num-heads 4 --steps 20000"
)]
pub struct PretrainArgs {
    #[command(flatten)]
    training: LoopArgs,
    /// Side that images are cropped to, in pixels; 'demo' has its own
    #[arg(long, value_parser = flags::side)]
    image_size: Option<usize>,
    /// Make images grey; 'demo' is
    #[arg(long)]
    grey: bool,
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
    #[arg(long, default_value_t = 0.1, value_parser = flags::share)]
    label_dropout: f64,
    /// Steps
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Learning rate of AdamW
    #[arg(long, default_value_t = 1e-3, value_parser = flags::non_negative)]
    learning_rate: f64,
    /// Weight decay of AdamW
    #[arg(long, default_value_t = 0.0, value_parser = flags::non_negative)]
    weight_decay: f64,
    /// Steps of linear warm-up
    #[arg(long, default_value_t = 500)]
    warmup: u64,
    /// Learning rate after the warm-up
    #[arg(long, value_enum, default_value_t = Decay::Cosine)]
    decay: Decay,
    /// Decay of the moving average of the weights
    #[arg(long, default_value_t = 0.9995, value_parser = flags::ema_decay)]
    ema_decay: f64,
    /// Noise schedule: linear or squaredcos_cap_v2
    #[arg(long, default_value_t = BetaSchedule::Linear)]
    schedule: BetaSchedule,
}

impl PretrainArgs {
    fn settings(&self, data: &Dataset) -> BackboneSettings {
        let (training, shape) = (&self.training, data.shape());
        BackboneSettings {
            model: None,
            model_sha256: None,
            data: training.data.clone(),
            data_sha256: data.fingerprint(),
            class: training.class.clone(),
            seed: training.seed,
            steps: self.steps,
            batch: training.batch,
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay as f32,
            warmup: self.warmup,
            decay: self.decay,
            ema_decay: self.ema_decay,
            flip: training.flips(data.is_oriented()),
            label_dropout: self.label_dropout,
            clip_norm: training.clip_norm,
            accumulate: training.accumulate,
            schedule: self.schedule,
            loss_weight: training.loss_weight,
            timesteps: training.timesteps(Timesteps::Uniform),
            stable_targets: training.stable_targets,
            backbone: DitConfig {
                input_size: shape.height,
                patch_size: self.patch_size,
                in_channels: shape.channels,
                hidden_size: self.hidden_size,
                depth: self.depth,
                num_heads: self.num_heads,
                mlp_ratio: 4.0,
                learn_sigma: true,
                num_classes: data.num_classes(),
                // Without classes nothing is dropped, so a null label would never be trained.
                class_dropout_prob: if data.num_classes() > 1 {
                    self.label_dropout
                } else {
                    0.0
                },
            },
        }
    }
}

/// Runs the command.
pub fn pretrain(args: &PretrainArgs, device: &Device) -> Result<()> {
    note_warmup(args.warmup, args.steps);
    anyhow::ensure!(
        args.training.data != "demo" || (args.image_size.is_none() && !args.grey),
        "--image-size and --grey are for your own images; those of 'demo' are grey and of 28x28"
    );
    let data = args
        .training
        .open_data(args.image_size.map(|side| ImageShape {
            channels: if args.grey { 1 } else { 3 },
            height: side,
            width: side,
        }))?;
    anyhow::ensure!(
        data.pixels(0).is_some() || (args.image_size.is_none() && !args.grey),
        "--image-size and --grey are for images; data '{}' holds latents, which 'dmp cache --image-size' makes of them",
        args.training.data
    );
    let shape = data.shape();
    anyhow::ensure!(
        shape.height == shape.width,
        "data '{}' has images of {}x{}; give square ones",
        args.training.data,
        shape.width,
        shape.height
    );
    if let Some(classes) = &args.training.class {
        crate::tell!(
            "note: the model has {} classes and learns {classes} alone; give --class {classes} when drawing from it",
            data.num_classes()
        );
    }
    let settings = args.settings(&data);
    settings.backbone.validate()?;
    let work = args.training.whole_work(&settings.backbone);
    args.training.ensure_memory(&work, device)?;
    let directory = RunDir::open(&args.training.out, &settings, args.decay.free_settings())?;
    crate::tell!(
        "backbone of {} parameters, {} images",
        settings.backbone.num_params(),
        data.len(),
    );
    args.training.tell(&settings, &work)?;
    let session = Session {
        directory: &directory,
        data,
        cadence: args.training.cadence(),
        checkpointing: args.training.checkpointing.into(),
        interrupt: &Interrupt::listen(),
        dry_run: args.training.dry_run,
    };
    train_backbone(&settings, None, session, device)?;
    say(directory.path("backbone.safetensors").display())?;
    Ok(())
}
