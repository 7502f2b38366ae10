//! Rebuilds what is embedded in the binary. Nothing here is needed to build or use `dmp`.

use anyhow::Result;
use clap::{Parser, Subcommand};

mod assets;

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
}

fn main() -> Result<()> {
    match Cli::parse().task {
        Task::Assets(args) => assets::run(&args),
    }
}
