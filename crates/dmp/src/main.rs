//! The `dmp` binary.

use std::process::ExitCode;

use clap::Parser;
use dmp::cli::{Cli, Command};
use dmp::command;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
            eprintln!("error: {}", chain.join(": "));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let device = burn::tensor::Device::flex();
    match &cli.command {
        Command::Demo(args) => command::demo::demo(args, &device),
        Command::Train(args) => command::train::train(args, &device),
        Command::Sample(args) => command::sample::sample(args, &device),
        Command::Eval(args) => command::eval::eval(args, &device),
        Command::Inspect(args) => command::inspect::inspect(args, &device),
        Command::Pretrain(args) => command::pretrain::pretrain(args, &device),
    }
}
