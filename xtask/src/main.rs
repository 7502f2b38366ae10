//! Rebuilds what is embedded in the binary, and shows what it is worth. Nothing here is needed to build or use `dmp`.

use anyhow::Result;
use clap::{Parser, Subcommand};

mod assets;
mod curve;

/// Developers' tasks.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Rebuild the embedded demo assets
    Assets(assets::Args),
    /// Measure the checkpoints of the backbone's training, and draw the curve in docs/
    Curve(curve::Args),
}

fn main() -> Result<()> {
    match Cli::parse().task {
        Task::Assets(args) => assets::run(&args),
        Task::Curve(args) => curve::run(&args),
    }
}
