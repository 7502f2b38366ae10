//! `dmp eval`: how good a model's images are.

use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::Device;
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::data::demo::{self, Split};
use crate::evaluate::{METRIC, Score, Scorer};
use crate::models::Model;
use crate::run::progress_bar;
use crate::sampling::{Sampling, SamplingArgs};

/// Reference images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Reference {
    /// Fashion-MNIST's 10 000 test images: report against these
    HeldOut,
    /// 10 000 training images that the demo's backbone has not seen: choose settings with these
    Validation,
    /// The embedded 20 000 themselves
    Train,
}

/// Sample from a model and measure the images against reference statistics
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dmp eval --model demo --patch runs/patch/patch.safetensors --count 10000 --json"
)]
pub struct EvalArgs {
    /// Backbone: 'demo', a .safetensors file or a run directory
    #[arg(long, default_value = "demo")]
    model: String,
    /// Patch to put on it
    #[arg(long)]
    patch: Option<PathBuf>,
    /// What to compare with
    #[arg(long, value_enum, default_value_t = Reference::HeldOut)]
    reference: Reference,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sampling: SamplingArgs,
}

/// Runs the command.
pub fn eval(args: &EvalArgs, device: &Device) -> Result<()> {
    let model = Model::open(
        &args.model,
        args.patch.as_deref(),
        args.sampling.schedule,
        device,
    )?;
    let score = measure(&model, args, device)?;
    if args.json {
        let object = json!({
            "metric": METRIC,
            "reference": args.reference.to_possible_value().map(|value| value.get_name().to_owned()),
            "model": args.model,
            "patch": args.patch,
            "frechet": score.frechet,
            "accuracy": score.accuracy,
            "count": score.count,
            "sampling": args.sampling,
            "schedule": model.schedule,
        });
        println!("{object:#}");
    } else {
        println!("{METRIC}: {:.4}", score.frechet);
        println!("classifier accuracy: {:.2} %", 100.0 * score.accuracy);
        println!("images: {}", score.count);
    }
    Ok(())
}

fn measure(model: &Model, args: &EvalArgs, device: &Device) -> Result<Score> {
    let split = match args.reference {
        Reference::HeldOut => Split::HeldOut,
        Reference::Validation => Split::Validation,
        Reference::Train => Split::Train,
    };
    let reference = demo::statistics(split)?;
    let mut scorer = Scorer::new(device)?;
    let bar = progress_bar(args.sampling.count as u64, 0, "images").with_prefix("sampling");
    for batch in Sampling::new(model, &args.sampling, device)? {
        let batch = batch?;
        scorer.push(&batch)?;
        bar.inc(batch.labels.len() as u64);
    }
    bar.finish_and_clear();
    scorer.finish(&reference)
}
