//! The `dmp` binary.

use std::process::ExitCode;

use burn::tensor::Device;
use dmp::cli::{self, Cli, Command};
use dmp::command;
use dmp::device::{self, DeviceName};
use dmp::run::{DryRun, Interrupted};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Keeps the large buffers of every step instead of giving them back to the system and asking for them again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(filter)
        .init();
    let Err(error) = Cli::read().and_then(|cli| run(&cli)) else {
        return ExitCode::SUCCESS;
    };
    if error.is::<Interrupted>() {
        dmp::tell!("{}", sentence(&error));
        return ExitCode::from(130);
    }
    if error.is::<DryRun>() {
        dmp::tell!("{}", sentence(&error));
        return ExitCode::SUCCESS;
    }
    dmp::tell!("error: {}", sentence(&error));
    ExitCode::FAILURE
}

/// The error and its causes, but for causes that an error before them has already put into its own words.
fn sentence(error: &anyhow::Error) -> String {
    let mut sentence = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !sentence.contains(&cause) {
            sentence = format!("{sentence}: {cause}");
        }
    }
    sentence
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let device = match cli.command {
        // They compute nothing themselves: a sweep's steps are processes of their own, which open what was asked for.
        Command::Sweep(_) | Command::Report(_) => DeviceName::Cpu,
        _ => cli.device,
    };
    let device = device.open()?;
    if dmp_model::fused::available(&device) {
        return act(cli, &device);
    }
    device::guarded(|| act(cli, &device))?
}

fn act(cli: &Cli, device: &Device) -> anyhow::Result<()> {
    match &cli.command {
        Command::Demo(args) => command::demo::demo(args, device),
        Command::Train(args) => command::train::train(args, device),
        Command::Sample(args) => command::sample::sample(args, device),
        Command::Eval(args) => command::eval::eval(args, device),
        Command::Loss(args) => command::loss::loss(args, device),
        Command::Inspect(args) => command::inspect::inspect(args, device),
        Command::Bench(args) => command::bench::bench(args, device),
        Command::Pretrain(args) => command::pretrain::pretrain(args, device),
        Command::Cache(args) => command::cache::cache(args, device),
        Command::Bake(args) => command::bake::bake(args, device),
        Command::Convert(args) => command::convert::convert(args, device),
        Command::Report(args) => command::report::report(args),
        Command::Sweep(args) => command::sweep::sweep(args, cli.device, cli::understood),
    }
}
