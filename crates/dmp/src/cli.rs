//! The command line: what can be said. Nothing acts here.

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
use crate::command::sample::SampleArgs;
use crate::command::train::TrainArgs;
use crate::device::DeviceName;

/// Make a converged, frozen diffusion model better with a patch of a few megabytes
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
    pub fn read() -> Self {
        let matches = allow_negative_numbers(Self::command()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
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
    Train(TrainArgs),
    /// Draw images from a model, with or without a patch
    Sample(SampleArgs),
    /// Sample from a model and measure the images
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
}
