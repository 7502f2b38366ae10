//! `dmp train`: a patch on a frozen backbone, or a LoRA or the whole backbone to compare with.

use std::path::PathBuf;

use anyhow::{Result, bail};
use burn::tensor::Device;
use clap::{Args, ValueEnum};
use dmp_math::schedule::BetaSchedule;
use dmp_math::timesteps::Timesteps;
use dmp_model::dit::DitConfig;
use dmp_model::patch::PatchConfig;

use crate::data::{Dataset, ImageShape};
use crate::flags;
use crate::models::schedule_of;
use crate::output::say;
use crate::run::{Interrupt, RunDir};
use crate::train::{
    BackboneSettings, Decay, LoopArgs, PatchSettings, Session, Work, note_warmup, train_backbone,
    train_patch,
};

mod gate;
mod lora;
mod patch;
mod plan;
mod whole;

use lora::LoraArgs;
use patch::PatchArgs;
use plan::{Expected, Subject};
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
    /// Low-rank changes of the backbone's weights
    Lora,
}

/// Train a patch on a frozen backbone, or a LoRA or the whole backbone to compare; rerun the same command to go on with an interrupted run
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dmp train --model demo --data demo --out runs/patch --steps 200 --seed 1\n  \
                  dmp train recipes/ffhq-dit-l2.toml --dry-run"
)]
pub struct TrainArgs {
    /// A file with a table [train] of flags, as in 'prompt-rate = 0.1'; those given here win
    #[arg(value_name = "RECIPE")]
    recipe: Option<PathBuf>,
    /// Backbone: 'demo', a .safetensors or .pt file, a run directory, a folder that diffusers wrote, or owner/name on the
    /// hub
    #[arg(long, default_value = "demo")]
    model: String,
    /// What the backbone must be: a preset (dit-s-2 to dit-xl-8), or as in dit-l-2,side=32,classes=1000. With --dry-run the
    /// model need not be here
    #[arg(long)]
    preset: Option<Expected>,
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
    /// How the learning rate goes on after the warm-up. With constant a finished run can be taken further
    #[arg(long, value_enum, default_value_t = Decay::Cosine)]
    decay: Decay,
    /// Decay of the moving average of what is trained, which is what is written; 0 for no average
    /// [default: 0 for a patch or a LoRA, 0.99 for --method full]
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
    #[command(flatten, next_help_heading = "Of --method full and lora")]
    whole: WholeArgs,
    #[command(flatten, next_help_heading = "Of --method lora")]
    lora: LoraArgs,
}

impl TrainArgs {
    /// Refuses flags that mean nothing to the method.
    fn refuse_foreign_flags(&self) -> Result<()> {
        if self.method == MethodName::Dmp
            && let Some(flag) = self.patch.gate.idle()
        {
            bail!("{flag} is of a gate that learns, not of --gate uniform; leave it out");
        }
        let whole = (self.whole.first_given(), "--method full and lora");
        let lora = (self.lora.first_given(), "--method lora");
        let foreign = match self.method {
            MethodName::Dmp => vec![whole, lora],
            MethodName::PromptTuning => {
                vec![whole, lora, (self.patch.gate.first_given(), "--method dmp")]
            }
            MethodName::Full => vec![
                (self.patch.first_of_any(), "a patch or a LoRA"),
                (self.patch.first_given(), "a patch"),
                lora,
            ],
            MethodName::Lora => vec![(self.patch.first_of_prompts(), "a patch")],
        };
        for (flag, of) in foreign {
            if let Some(flag) = flag {
                bail!("{flag} is of {of}, not of this training; leave it out");
            }
        }
        let reasons = [
            self.patch.alike(self.method),
            self.patch.grid_in_vain(),
            self.patch.gate.hidden_in_vain(),
        ];
        if let Some(reason) = reasons.into_iter().flatten().next() {
            bail!("{reason}");
        }
        match self.patch.gate.load_in_vain() {
            Some(reason) => bail!("--load weighs selection, and {reason}; leave it out"),
            None => Ok(()),
        }
    }

    fn patch_settings(&self, patch: PatchConfig, tokens: usize, subject: Subject) -> PatchSettings {
        PatchSettings {
            model: self.model.clone(),
            model_sha256: subject.model_sha256,
            data: self.training.data.clone(),
            data_sha256: subject.data_sha256,
            class: self.training.class.clone(),
            seed: self.training.seed,
            steps: self.steps,
            batch: self.training.batch,
            prompt_rate: self.patch.prompt_rate(&patch, tokens),
            gate_rate: self.patch.gate_rate(),
            gate_after: self.patch.gate.after(),
            warmup: self.warmup,
            decay: self.decay,
            ema_decay: self.ema_decay.unwrap_or(0.0),
            flip: self.training.flips(subject.oriented),
            label_dropout: self.label_dropout,
            clip_norm: self.training.clip_norm,
            accumulate: self.training.accumulate,
            schedule: subject.schedule,
            loss_weight: self.training.loss_weight,
            timesteps: self.training.timesteps(Timesteps::Importance),
            stable_targets: self.training.stable_targets,
            gate_noise: self.patch.gate.noise(),
            dtype: self.patch.dtype(),
            balance: self.patch.gate.balance_loss(),
            patch,
        }
    }

    fn whole_settings(&self, sizes: &DitConfig, subject: Subject) -> BackboneSettings {
        BackboneSettings {
            model: Some(self.model.clone()),
            model_sha256: Some(subject.model_sha256),
            data: self.training.data.clone(),
            data_sha256: subject.data_sha256,
            class: self.training.class.clone(),
            seed: self.training.seed,
            steps: self.steps,
            batch: self.training.batch,
            learning_rate: self.whole.learning_rate(1e-4),
            weight_decay: 0.0,
            warmup: self.warmup,
            decay: self.decay,
            ema_decay: self.ema_decay.unwrap_or(0.99),
            flip: self.training.flips(subject.oriented),
            label_dropout: self.label_dropout,
            clip_norm: self.training.clip_norm,
            accumulate: self.training.accumulate,
            schedule: subject.schedule,
            loss_weight: self.training.loss_weight,
            timesteps: self.training.timesteps(Timesteps::Importance),
            stable_targets: self.training.stable_targets,
            backbone: sizes.clone(),
        }
    }

    /// Opens the run directory.
    fn directory(&self, settings: &impl serde::Serialize) -> Result<RunDir> {
        let free = self.decay.free_settings();
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
    note_warmup(args.warmup, args.steps);
    let product = match args.method {
        MethodName::Dmp | MethodName::PromptTuning => patch(args, device)?,
        MethodName::Full => whole(args, device)?,
        MethodName::Lora => lora::lora(args, device)?,
    };
    say(args.training.out.join(product).display())?;
    Ok(())
}

fn patch(args: &TrainArgs, device: &Device) -> Result<&'static str> {
    args.patch.dtype().check(device)?;
    let work = |sizes, config: &PatchConfig| Work {
        prepended: config.prepended(),
        ..args
            .training
            .work(sizes, config.added_params(), config.trained_params())
    };
    if let Some(sizes) = args.stand_in() {
        let config = args.patch.config(args.method, &sizes);
        config.validate(sizes.num_tokens(), sizes.hidden_size, sizes.depth)?;
        let settings =
            args.patch_settings(config, sizes.num_tokens(), Subject::unknown(args.schedule));
        return Err(args.told(&settings, &work(&sizes, &settings.patch))?);
    }
    let backbone = args.backbone(&device.clone().autodiff())?;
    let sizes = backbone.model.config();
    let schedule = schedule_of(backbone.schedule, args.schedule)?;
    let config = args.patch.config(args.method, sizes);
    config.validate(sizes.num_tokens(), sizes.hidden_size, sizes.depth)?;
    args.training.ensure_memory(&work(sizes, &config), device)?;
    let data = args.training.open_data(Some(shape(sizes)))?;
    let subject = Subject::of(&backbone, &data, schedule);
    let settings = args.patch_settings(config, sizes.num_tokens(), subject);
    let directory = args.directory(&settings)?;
    report_size("patch", settings.patch.added_params(), sizes, &data);
    args.training
        .tell(&settings, &work(sizes, &settings.patch))?;
    let interrupt = Interrupt::listen();
    let session = args.session(&directory, data, &interrupt);
    train_patch(&settings, backbone, session, device)?;
    Ok("patch.safetensors")
}

fn whole(args: &TrainArgs, device: &Device) -> Result<&'static str> {
    if let Some(sizes) = args.stand_in() {
        let settings = args.whole_settings(&sizes, Subject::unknown(args.schedule));
        return Err(args.told(&settings, &args.training.whole_work(&sizes))?);
    }
    let backbone = args.backbone(device)?;
    let sizes = backbone.model.config();
    let schedule = schedule_of(backbone.schedule, args.schedule)?;
    let work = args.training.whole_work(sizes);
    args.training.ensure_memory(&work, device)?;
    let data = args.training.open_data(Some(shape(sizes)))?;
    let settings = args.whole_settings(sizes, Subject::of(&backbone, &data, schedule));
    let directory = args.directory(&settings)?;
    crate::tell!(
        "all {} parameters, {} images",
        settings.backbone.num_params(),
        data.len()
    );
    args.training.tell(&settings, &work)?;
    let interrupt = Interrupt::listen();
    let session = args.session(&directory, data, &interrupt);
    train_backbone(&settings, Some(&backbone.model), session, device)?;
    Ok("backbone.safetensors")
}

/// Says how large an addition to the backbone is, and what it will be trained on.
fn report_size(kind: &str, added: usize, sizes: &DitConfig, data: &Dataset) {
    crate::tell!(
        "{kind} of {added} parameters (+{:.2} %), {} images",
        100.0 * added as f64 / sizes.num_params() as f64,
        data.len()
    );
}

/// What the backbone takes.
fn shape(sizes: &DitConfig) -> ImageShape {
    ImageShape {
        channels: sizes.in_channels,
        height: sizes.input_size,
        width: sizes.input_size,
    }
}
