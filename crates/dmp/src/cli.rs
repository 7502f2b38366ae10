//! The command line: what can be said. Nothing acts here.

use clap::{Parser, Subcommand};

use crate::command::pretrain::PretrainArgs;

/// Make a converged, frozen diffusion model better with a patch of a few megabytes
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a backbone from scratch
    Pretrain(PretrainArgs),
}
