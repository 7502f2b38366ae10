//! The command line: what can be said. Nothing acts here.

use std::ffi::OsString;

use anyhow::{Result, bail};
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::command::bake::BakeArgs;
use crate::command::bench::BenchArgs;
use crate::command::cache::CacheArgs;
use crate::command::convert::ConvertArgs;
use crate::command::demo::DemoArgs;
use crate::command::eval::EvalArgs;
use crate::command::inspect::InspectArgs;
use crate::command::loss::LossArgs;
use crate::command::pretrain::PretrainArgs;
use crate::command::report::ReportArgs;
use crate::command::sample::SampleArgs;
use crate::command::sweep::SweepArgs;
use crate::command::train::TrainArgs;
use crate::device::DeviceName;
use crate::recipe;

/// Make a converged, frozen diffusion model better with a small patch
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to compute on: auto (the best there is), cpu, cuda, cuda:N, metal or vulkan
    #[arg(long, global = true, default_value_t)]
    pub device: DeviceName,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// What the user of this process said. Ends the process with a usage message where it cannot be understood.
    ///
    /// # Errors
    /// When a file of flags that was named cannot be read, or says what is no flag.
    pub fn read() -> Result<Self> {
        let command = allow_negative_numbers(Self::command());
        let mut words: Vec<OsString> = std::env::args_os().collect();
        // What is missing may be in the file.
        let first = command.clone().ignore_errors(true);
        let recipe = match first.try_get_matches_from(&words) {
            Ok(matches) => recipe::flags(&command, &matches)?,
            Err(_) => None,
        };
        let Some(recipe) = recipe else {
            return Ok(Self::of(&command.get_matches_from(&words)));
        };
        // What was typed without the recipe is complained of as ever, unless it only lacks what the recipe says.
        let mut typed = command.clone();
        if let Err(error) = typed.try_get_matches_from_mut(&words)
            && error.kind() != ErrorKind::MissingRequiredArgument
        {
            error.exit();
        }
        words.extend(recipe.words.into_iter().map(OsString::from));
        match command.try_get_matches_from(&words) {
            Ok(matches) => Ok(Self::of(&matches)),
            Err(error) => bail!(
                "recipe {}: {}",
                recipe.path.display(),
                in_one_sentence(&error.to_string())
            ),
        }
    }

    fn of(matches: &clap::ArgMatches) -> Self {
        Self::from_arg_matches(matches).unwrap_or_else(|error| error.exit())
    }
}

/// Whether the program would understand these words, the name of a command and its flags; else a sentence that says why
/// not.
pub fn understood(words: &[String]) -> std::result::Result<(), String> {
    let words = std::iter::once("dmp").chain(words.iter().map(String::as_str));
    match allow_negative_numbers(Cli::command()).try_get_matches_from(words) {
        Ok(_) => Ok(()),
        Err(error) => Err(in_one_sentence(&error.to_string())),
    }
}

/// What clap says on several lines, up to where it comes to usage in general.
fn in_one_sentence(said: &str) -> String {
    let parts: Vec<&str> = said
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .map(|line| line.strip_prefix("error: ").unwrap_or(line))
        .collect();
    parts.join("; ").replace(":; ", ": ")
}

/// Lets a flag's value be negative, so that what is wrong with `--steps -3` is told of `--steps` and not of a flag `-3`.
fn allow_negative_numbers(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            let value = arg.get_action().takes_values() && !arg.is_positional();
            arg.allow_negative_numbers(value)
        })
        .mut_subcommands(allow_negative_numbers)
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Patch the embedded model, and measure it before and after
    Demo(DemoArgs),
    /// Train a patch on a frozen backbone, or a LoRA or the whole backbone to compare
    Train(Box<TrainArgs>),
    /// Draw images from a model, with or without a patch
    Sample(SampleArgs),
    /// Measure images, given or drawn from a model, against a reference
    Eval(EvalArgs),
    /// Measure the error of the predicted noise by noise level, with and without a patch
    Loss(LossArgs),
    /// Show what a patch, LoRA or backbone file holds
    Inspect(InspectArgs),
    /// Time a forward pass and a training step of a patched model
    Bench(BenchArgs),
    /// Train a backbone from scratch
    Pretrain(PretrainArgs),
    /// Encode a folder of images into latents
    Cache(CacheArgs),
    /// Turn a patch's gate and prompts into tensors a sampler's step
    Bake(BakeArgs),
    /// Turn a checkpoint of the public PyTorch code into a patch, or the other way
    Convert(ConvertArgs),
    /// Compare how runs trained: their loss, and the entropy of their gates' masks
    Report(ReportArgs),
    /// Train and measure settings with several seeds, and make one table of them
    Sweep(SweepArgs),
}

#[cfg(test)]
mod tests {
    use super::understood;

    #[test]
    fn what_is_not_understood_is_one_sentence() {
        let words = |line: &str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
        assert_eq!(
            understood(&words("train --out x --gate-noise false")),
            Ok(())
        );
        let sentence = understood(&words("train --out x --promts 3")).unwrap_err();
        assert!(
            sentence.starts_with(
                "unexpected argument '--promts' found; tip: a similar argument exists: '--prompts'"
            ),
            "{sentence}"
        );
        assert!(
            !sentence.contains('\n') && !sentence.contains("Usage"),
            "{sentence}"
        );
    }
}
