//! `dmp train`: a patch on a frozen backbone, or the whole backbone to compare with.

use anyhow::{Result, bail};
use burn::tensor::Device;
use clap::{Args, ValueEnum};
use dmp_math::schedule::BetaSchedule;
use dmp_model::checkpoint::BackboneFile;
use dmp_model::denoiser::Backbone;
use dmp_model::patch::PatchConfig;

use crate::data::{Dataset, ImageShape};
use crate::flags;
use crate::models::{open_backbone, schedule_of};
use crate::output::say;
use crate::run::{Interrupt, RunDir};
use crate::train::{
    BackboneSettings, Decay, LoopArgs, PatchSettings, Session, train_backbone, train_patch,
};

mod patch;
mod whole;

use patch::PatchArgs;
use whole::WholeArgs;

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MethodName {
    /// Prompts mixed by a gate
    Dmp,
    /// Prompts without a gate (mask = 1)
    PromptTuning,
    /// Every weight of the backbone: full fine-tuning
    Full,
}

/// Train a patch on a frozen backbone, or fine-tune the backbone to compare; rerun the same command to go on with an interrupted run
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dmp train --model demo --data demo --out runs/patch --steps 200 --seed 1"
)]
pub struct TrainArgs {
    /// Backbone: 'demo', a .safetensors or .pt file, or a run directory
    #[arg(long, default_value = "demo")]
    model: String,
    /// What to train
    #[arg(long, value_enum, default_value_t = MethodName::Dmp)]
    method: MethodName,
    /// Steps
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    #[command(flatten)]
    training: LoopArgs,
    /// Steps of linear warm-up
    #[arg(long, default_value_t = 0)]
    warmup: u64,
    /// Learning rate after the warm-up
    #[arg(long, value_enum, default_value_t = Decay::Constant)]
    decay: Decay,
    /// Decay of the moving average of what is trained, which is what is written; 0 for no average
    /// [default: 0 for a patch, 0.99 for --method full]
    #[arg(long, value_parser = flags::ema_decay)]
    ema_decay: Option<f64>,
    /// Share of labels dropped, if the backbone knows a null label
    #[arg(long, default_value_t = 0.1, value_parser = flags::share)]
    label_dropout: f64,
    /// Noise schedule the backbone was trained with, linear or squaredcos_cap_v2 [default: what its file
    /// says, or linear]
    #[arg(long)]
    schedule: Option<BetaSchedule>,
    #[command(flatten, next_help_heading = "Of --method dmp and prompt-tuning")]
    patch: PatchArgs,
    #[command(flatten, next_help_heading = "Of --method full")]
    whole: WholeArgs,
}

impl TrainArgs {
    /// Refuses flags that mean nothing to the method.
    fn refuse_foreign_flags(&self) -> Result<()> {
        let (foreign, of) = match self.method {
            MethodName::Dmp => match self.patch.gate.idle() {
                Some(flag) => {
                    bail!("{flag} is of a gate that learns, not of --gate uniform; leave it out")
                }
                None => (self.whole.first_given(), "--method full"),
            },
            MethodName::PromptTuning => (
                self.whole.first_given().or(self.patch.gate.first_given()),
                "another --method",
            ),
            MethodName::Full => (self.patch.first_given(), "a patch"),
        };
        if let Some(flag) = foreign {
            bail!("{flag} is of {of}, not of this training; leave it out");
        }
        if let Some(reason) = self.patch.alike(self.method) {
            bail!("{reason}");
        }
        match self.patch.gate.load_in_vain() {
            Some(reason) => bail!("--load weighs selection, and {reason}; leave it out"),
            None => Ok(()),
        }
    }

    fn patch_settings(
        &self,
        patch: PatchConfig,
        backbone: &BackboneFile,
        schedule: BetaSchedule,
        data: &Dataset,
    ) -> PatchSettings {
        PatchSettings {
            model: self.model.clone(),
            model_sha256: backbone.fingerprint.clone(),
            data: self.training.data.clone(),
            data_sha256: data.fingerprint(),
            seed: self.training.seed,
            steps: self.steps,
            batch: self.training.batch,
            prompt_rate: self.patch.prompt_rate(),
            gate_rate: self.patch.gate_rate(),
            gate_after: self.patch.gate_after(),
            warmup: self.warmup,
            decay: self.decay,
            ema_decay: self.ema_decay.unwrap_or(0.0),
            flip: self.training.flips(data),
            label_dropout: self.label_dropout,
            clip_norm: self.training.clip_norm,
            schedule,
            loss_weight: self.training.loss_weight,
            timesteps: self.training.timesteps,
            gate_noise: self.patch.gate_noise(),
            dtype: self.patch.dtype(),
            balance: self.patch.balance(),
            patch,
        }
    }

    fn whole_settings(
        &self,
        backbone: &BackboneFile,
        schedule: BetaSchedule,
        data: &Dataset,
    ) -> BackboneSettings {
        BackboneSettings {
            model: Some(self.model.clone()),
            model_sha256: Some(backbone.fingerprint.clone()),
            data: self.training.data.clone(),
            data_sha256: data.fingerprint(),
            seed: self.training.seed,
            steps: self.steps,
            batch: self.training.batch,
            learning_rate: self.whole.learning_rate(),
            weight_decay: 0.0,
            warmup: self.warmup,
            decay: self.decay,
            ema_decay: self.ema_decay.unwrap_or(0.99),
            flip: self.training.flips(data),
            label_dropout: self.label_dropout,
            clip_norm: self.training.clip_norm,
            schedule,
            loss_weight: self.training.loss_weight,
            timesteps: self.training.timesteps,
            backbone: backbone.model.config().clone(),
        }
    }

    /// Opens the run directory. With a constant rate a finished run can be taken further; a cosine depends on
    /// where it ends.
    fn directory(&self, settings: &impl serde::Serialize) -> Result<RunDir> {
        let free: &[&str] = match self.decay {
            Decay::Constant => &["steps"],
            Decay::Cosine => &[],
        };
        Ok(RunDir::open(&self.training.out, settings, free)?)
    }

    fn session<'a>(
        &self,
        directory: &'a RunDir,
        data: Dataset,
        interrupt: &'a Interrupt,
    ) -> Session<'a> {
        Session {
            directory,
            data,
            cadence: self.training.cadence(),
            checkpointing: self.training.checkpointing.into(),
            interrupt,
            dry_run: self.training.dry_run,
        }
    }
}

/// Runs the command.
pub fn train(args: &TrainArgs, device: &Device) -> Result<()> {
    args.refuse_foreign_flags()?;
    let product = match args.method {
        MethodName::Dmp | MethodName::PromptTuning => patch(args, device)?,
        MethodName::Full => whole(args, device)?,
    };
    say(args.training.out.join(product).display())?;
    Ok(())
}

fn patch(args: &TrainArgs, device: &Device) -> Result<&'static str> {
    let backbone = open_backbone(&args.model, &device.clone().autodiff())?;
    let schedule = schedule_of(backbone.schedule, args.schedule)?;
    let config = args.patch.config(args.method, &backbone.model);
    config.validate(
        backbone.model.num_tokens(),
        backbone.model.hidden_size(),
        backbone.model.depth(),
    )?;
    let data = args.training.open_data(Some(shape(&backbone)))?;
    let settings = args.patch_settings(config, &backbone, schedule, &data);
    let directory = args.directory(&settings)?;
    let total = backbone.model.config().num_params();
    let added = settings.patch.added_params();
    eprintln!(
        "patch of {added} parameters (+{:.2} %), {} images",
        100.0 * added as f64 / total as f64,
        data.len()
    );
    let interrupt = Interrupt::listen();
    let session = args.session(&directory, data, &interrupt);
    train_patch(&settings, backbone, session, device)?;
    Ok("patch.safetensors")
}

fn whole(args: &TrainArgs, device: &Device) -> Result<&'static str> {
    let backbone = open_backbone(&args.model, device)?;
    let schedule = schedule_of(backbone.schedule, args.schedule)?;
    let data = args.training.open_data(Some(shape(&backbone)))?;
    let settings = args.whole_settings(&backbone, schedule, &data);
    let directory = args.directory(&settings)?;
    eprintln!(
        "all {} parameters, {} images",
        settings.backbone.num_params(),
        data.len()
    );
    let interrupt = Interrupt::listen();
    let session = args.session(&directory, data, &interrupt);
    train_backbone(&settings, Some(&backbone.model), session, device)?;
    Ok("backbone.safetensors")
}

/// What the backbone takes.
fn shape(backbone: &BackboneFile) -> ImageShape {
    let config = backbone.model.config();
    ImageShape {
        channels: config.in_channels,
        height: config.input_size,
        width: config.input_size,
    }
}
