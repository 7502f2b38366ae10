//! The demo's backbone: pre-trained by `dmp pretrain`, gone on with by `dmp train --method full`, rounded to f16.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;
use dmp::cli::{Cli, Command};
use dmp_model::checkpoint::{StoredType, TensorFile};

/// First stage, after `dmp pretrain --out RUN`. The loss is the one that patches are trained with: after another one, a
/// patch would gain by the change of objective alone.
pub const FIRST: &str = "--data demo --hidden-size 64 --depth 6 --num-heads 2 --patch-size 4 --steps 30000 --batch 64 \
    --learning-rate 2e-3 --warmup 500 --decay cosine --ema-decay 0.9995 --clip-norm 1 --schedule squaredcos_cap_v2 \
    --loss-weight constant --seed 0 --log-every 100 --checkpoint-every 500 --keep-every 1500";

/// Steps of the first stage.
pub const FIRST_STEPS: u64 = 30_000;

/// Second stage, after `dmp train --method full --model RUN --out RUN/second`: the last quarter, at the rate that full
/// fine-tuning has, so that what fine-tuning could gain is gained here.
pub const SECOND: &str = "--data demo --steps 10000 --batch 64 --learning-rate 1e-4 --decay constant --ema-decay 0.9995 \
    --clip-norm 1 --loss-weight constant --seed 1 --log-every 100 --checkpoint-every 500 --keep-every 1000";

/// Where the second stage of the backbone in `run` is.
pub fn second_stage(run: &Path) -> PathBuf {
    run.join("second")
}

/// Trains the backbone in the run directory `run`, or goes on with what is there, and gives the asset's bytes.
pub fn build(run: &Path) -> Result<Vec<u8>> {
    let second = second_stage(run);
    let folder = |path: &Path| -> Result<String> {
        let path = path.to_str().context("--run: the path is no text")?;
        Ok(path.to_owned())
    };
    execute(&["pretrain", "--out", &folder(run)?], FIRST)?;
    execute(
        &[
            "train",
            "--method",
            "full",
            "--model",
            &folder(run)?,
            "--out",
            &folder(&second)?,
        ],
        SECOND,
    )?;
    let path = second.join("backbone.safetensors");
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(TensorFile::from_bytes(&bytes)?.to_bytes(StoredType::F16)?)
}

/// Runs `dmp HEAD SETTINGS`.
fn execute(head: &[&str], settings: &str) -> Result<()> {
    let cli = parse(head, settings)?;
    let device = cli.device.open();
    match &cli.command {
        Command::Pretrain(args) => dmp::command::pretrain::pretrain(args, &device),
        Command::Train(args) => dmp::command::train::train(args, &device),
        _ => bail!("the settings are no training command"),
    }
}

fn parse(head: &[&str], settings: &str) -> Result<Cli, clap::Error> {
    let words = head.iter().copied().chain(settings.split_whitespace());
    Cli::try_parse_from(["dmp"].into_iter().chain(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_commands() {
        let first = parse(&["pretrain", "--out", "x"], FIRST).unwrap();
        assert!(matches!(first.command, Command::Pretrain(_)));
        assert!(FIRST.contains(&format!("--steps {FIRST_STEPS} ")));
        let head = ["train", "--method", "full", "--model", "x", "--out", "y"];
        let second = parse(&head, SECOND).unwrap();
        assert!(matches!(second.command, Command::Train(_)));
    }
}
