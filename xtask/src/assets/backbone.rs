//! The demo's backbone: pre-trained by `dmp pretrain`, gone on with by `dmp train --method full`, rounded to f16.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;
use dmp::cli::{Cli, Command};
use dmp_model::checkpoint::{StoredType, TensorFile};

/// A part of the training, with settings of its own.
pub struct Stage {
    /// Its run directory inside the backbone's.
    folder: &'static str,
    /// Optimiser steps.
    pub steps: u64,
    /// What differs from the other stages.
    settings: &'static str,
}

/// The stages in their order. The first is `dmp pretrain --out RUN`, the others `dmp train --method full --model BEFORE
/// --out RUN/folder`. The second's rate turned out too low to get far soon; the third's gets far, and hides it under the
/// noise of its steps. The fifth takes a high rate down to nothing with less noise in its gradients; the sixth, a quarter of
/// all steps, shows what more of it brings. The embedded model's fifth began with the fourth's weights rounded to f16.
pub const STAGES: [Stage; 6] = [
    Stage {
        folder: "",
        steps: 30_000,
        settings: "--hidden-size 64 --depth 6 --num-heads 2 --patch-size 4 --schedule squaredcos_cap_v2 \
            --learning-rate 2e-3 --warmup 500 --decay cosine --ema-decay 0.9995 --seed 0 --keep-every 1500",
    },
    Stage {
        folder: "second",
        steps: 15_000,
        settings: "--timesteps uniform --learning-rate 1e-4 --decay constant --ema-decay 0.9995 --seed 1 --keep-every 1000",
    },
    Stage {
        folder: "third",
        steps: 30_000,
        settings: "--timesteps uniform --learning-rate 5e-4 --decay constant --ema-decay 0.9998 --seed 2 --keep-every 1000",
    },
    Stage {
        folder: "fourth",
        steps: 25_000,
        settings: "--timesteps uniform --learning-rate 1e-4 --decay constant --ema-decay 0.9995 --seed 3 --keep-every 1000",
    },
    Stage {
        folder: "fifth",
        steps: 18_000,
        settings: "--timesteps importance --learning-rate 5e-4 --decay cosine --ema-decay 0.999 --seed 4 --keep-every 1000",
    },
    Stage {
        folder: "sixth",
        steps: 40_000,
        settings: "--timesteps importance --learning-rate 1e-5 --decay constant --ema-decay 0.9995 --seed 5 --keep-every 1000",
    },
];

/// What the stages have in common. The loss is the one that patches are trained with: after another one, a patch would
/// gain by the change of objective alone.
const COMMON: &str = "--data demo --batch 64 --clip-norm 1 --loss-weight constant --log-every 100 --checkpoint-every 500";

impl Stage {
    /// Its run directory, for a backbone in the run directory `run`.
    pub fn path(&self, run: &Path) -> PathBuf {
        match self.folder {
            "" => run.to_owned(),
            folder => run.join(folder),
        }
    }

    /// The command, after what came `before`.
    fn command(&self, run: &Path, before: Option<&Path>) -> Result<Cli> {
        let text = |path: &Path| {
            let text = path.to_str().context("--run: the path is no text")?;
            anyhow::Ok(text.to_owned())
        };
        let mut words = vec!["dmp".to_owned()];
        match before {
            None => words.push("pretrain".to_owned()),
            Some(before) => {
                words.extend(["train", "--method", "full", "--model"].map(str::to_owned));
                words.push(text(before)?);
            }
        }
        words.extend(["--out".to_owned(), text(&self.path(run))?]);
        words.extend(["--steps".to_owned(), self.steps.to_string()]);
        let settings = COMMON
            .split_whitespace()
            .chain(self.settings.split_whitespace());
        words.extend(settings.map(str::to_owned));
        Ok(Cli::try_parse_from(words)?)
    }
}

/// Trains the backbone in the run directory `run`, or goes on with what is there, and gives the asset's bytes. What came
/// before the last stage that has ended is not asked for.
pub fn build(run: &Path) -> Result<Vec<u8>> {
    let ended = STAGES
        .iter()
        .rposition(|stage| result(&stage.path(run)).exists());
    let mut before = ended.map(|stage| STAGES[stage].path(run));
    for stage in &STAGES[ended.map_or(0, |stage| stage + 1)..] {
        execute(&stage.command(run, before.as_deref())?)?;
        before = Some(stage.path(run));
    }
    let path = result(&before.context("no stages")?);
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(TensorFile::from_bytes(&bytes)?.to_bytes(StoredType::F16)?)
}

/// What a stage leaves in its run directory when it ends.
fn result(stage: &Path) -> PathBuf {
    stage.join("backbone.safetensors")
}

fn execute(cli: &Cli) -> Result<()> {
    let device = cli.device.open()?;
    match &cli.command {
        Command::Pretrain(args) => dmp::command::pretrain::pretrain(args, &device),
        Command::Train(args) => dmp::command::train::train(args, &device),
        _ => bail!("the settings are no training command"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_are_commands() {
        let run = Path::new("x");
        let mut before: Option<PathBuf> = None;
        for stage in &STAGES {
            let cli = stage.command(run, before.as_deref()).unwrap();
            match cli.command {
                Command::Pretrain(_) => assert!(before.is_none()),
                Command::Train(_) => assert!(before.is_some()),
                other => panic!("{other:?}"),
            }
            before = Some(stage.path(run));
        }
        assert_eq!(before.unwrap(), Path::new("x/sixth"));
    }
}
