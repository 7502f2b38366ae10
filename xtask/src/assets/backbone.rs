//! The demo's backbone: pre-trained by `dmp pretrain`, rounded to f16.

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Parser;
use dmp::cli::{Cli, Command};
use dmp_model::checkpoint::{StoredType, TensorFile};

/// The command line that makes it, after `dmp pretrain --out RUN`.
pub const SETTINGS: &str = "--data demo --hidden-size 128 --depth 6 --num-heads 4 --patch-size 4 --steps 30000 --batch 64 \
    --learning-rate 1e-3 --warmup 500 --decay cosine --ema-decay 0.9995 --clip-norm 1 --schedule squaredcos_cap_v2 \
    --loss-weight min-snr:5 --seed 0 --log-every 100 --checkpoint-every 500 --keep-every 1500";

/// Trains the backbone in the run directory `run`, or goes on with what is there, and gives the asset's bytes.
pub fn build(run: &Path) -> Result<Vec<u8>> {
    let folder = run.to_str().context("--run: the path is no text")?;
    let line = ["dmp", "pretrain", "--out", folder]
        .into_iter()
        .chain(SETTINGS.split_whitespace());
    let cli = Cli::try_parse_from(line)?;
    let Command::Pretrain(args) = &cli.command else {
        bail!("the settings are no pretrain command")
    };
    dmp::command::pretrain::pretrain(args, &cli.device.open())?;
    let path = run.join("backbone.safetensors");
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(TensorFile::from_bytes(&bytes)?.to_bytes(StoredType::F16)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_a_command() {
        let line = ["dmp", "pretrain", "--out", "x"]
            .into_iter()
            .chain(SETTINGS.split_whitespace());
        assert!(matches!(
            Cli::try_parse_from(line).unwrap().command,
            Command::Pretrain(_)
        ));
    }
}
