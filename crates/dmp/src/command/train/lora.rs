//! `dmp train --method lora`: its flags, and what they make.

use anyhow::{Result, ensure};
use burn::tensor::Device;
use clap::Args;
use dmp_math::timesteps::Timesteps;
use dmp_model::dit::DitConfig;
use dmp_model::lora::{LoraConfig, Target};

use super::plan::Subject;
use super::{TrainArgs, report_size, shape};
use crate::compute::Dtype;
use crate::flags::{self, first_given};
use crate::models::schedule_of;
use crate::run::Interrupt;
use crate::train::{LoraSettings, Work, train_lora};

/// What a LoRA is. Each is an option, so that one given to another method can be refused by name.
#[derive(Debug, Args)]
pub(super) struct LoraArgs {
    /// Rank of each weight's change [default: 4]
    #[arg(long)]
    rank: Option<usize>,
    /// The changes are scaled by alpha / rank [default: the rank, a scale of 1]
    #[arg(long, value_parser = flags::positive)]
    alpha: Option<f64>,
    /// Linear maps adapted in every block, of qkv, proj, fc1 and fc2 [default: qkv,proj,fc1,fc2]
    #[arg(long, value_delimiter = ',')]
    targets: Option<Vec<Target>>,
}

impl LoraArgs {
    /// The LoRA asked for, on this backbone, at timesteps below this one.
    fn config(&self, sizes: &DitConfig, patch_below: Option<usize>) -> LoraConfig {
        let default = LoraConfig::new(self.rank.unwrap_or(4), sizes);
        LoraConfig {
            alpha: self.alpha.unwrap_or(default.alpha),
            targets: match &self.targets {
                Some(targets) => targets.iter().copied().collect(),
                None => default.targets,
            },
            patch_below,
            ..default
        }
    }

    /// The first of these flags that was given.
    pub(super) fn first_given(&self) -> Option<&'static str> {
        first_given(&[
            ("--rank", self.rank.is_some()),
            ("--alpha", self.alpha.is_some()),
            ("--targets", self.targets.is_some()),
        ])
    }
}

impl TrainArgs {
    fn lora_settings(&self, lora: LoraConfig, subject: Subject) -> LoraSettings {
        LoraSettings {
            model: self.model.clone(),
            model_sha256: subject.model_sha256,
            data: self.training.data.clone(),
            data_sha256: subject.data_sha256,
            class: self.training.class.clone(),
            seed: self.training.seed,
            steps: self.steps,
            batch: self.training.batch,
            learning_rate: self.whole.learning_rate(1e-3),
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
            lora,
        }
    }
}

/// Trains a LoRA; gives the name of its file.
pub(super) fn lora(args: &TrainArgs, device: &Device) -> Result<&'static str> {
    ensure!(
        args.patch.dtype() == Dtype::F32,
        "--dtype bf16 is for weights that stay as they are, and --method lora changes them; leave it out"
    );
    let work = |sizes, config: &LoraConfig| {
        let added = config.added_params();
        Work {
            // The gradient of a factor is one of the weight that it changes.
            weights_learn: true,
            joined: config.adapted_weights(),
            ..args.training.work(sizes, added, added)
        }
    };
    let below = args.patch.patch_below();
    if let Some(sizes) = args.stand_in() {
        let config = args.lora.config(&sizes, below);
        config.validate(&sizes)?;
        let settings = args.lora_settings(config, Subject::unknown(args.schedule));
        return Err(args.told(&settings, &work(&sizes, &settings.lora))?);
    }
    let backbone = args.backbone(&device.clone().autodiff())?;
    let sizes = backbone.model.config();
    let schedule = schedule_of(backbone.schedule, args.schedule)?;
    let config = args.lora.config(sizes, below);
    config.validate(sizes)?;
    args.training.ensure_memory(&work(sizes, &config), device)?;
    let data = args.training.open_data(Some(shape(sizes)))?;
    let settings = args.lora_settings(config, Subject::of(&backbone, &data, schedule));
    let directory = args.directory(&settings)?;
    report_size("LoRA", settings.lora.added_params(), sizes, &data);
    args.training
        .tell(&settings, &work(sizes, &settings.lora))?;
    let interrupt = Interrupt::listen();
    let session = args.session(&directory, data, &interrupt);
    train_lora(&settings, backbone, session, device)?;
    Ok("lora.safetensors")
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;

    /// A flag that is not in the list would be accepted, and do nothing, where it has no meaning.
    #[test]
    fn every_flag_is_in_the_list() {
        let source = include_str!("lora.rs");
        for arg in LoraArgs::augment_args(clap::Command::new("")).get_arguments() {
            let flag = arg.get_long().unwrap();
            assert!(source.contains(&format!("(\"--{flag}\", self.")), "{flag}");
        }
    }
}
