//! `dmp eval`: how good images are.

mod compared;
mod inception;
mod save;

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use burn::tensor::Device;
use clap::Args;
use serde_json::json;

use crate::data::{Split, demo};
use crate::evaluate::{METRIC, score};
use crate::models::Model;
use crate::output::say;
use crate::run::DryRun;
use crate::sampling::{Drawing, Sampling, SamplingArgs, open_model};
use compared::compared;
use inception::InceptionArgs;

/// Measure images, or what a model draws, against a reference
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  dmp eval --model demo --patch runs/patch/patch.safetensors --count 10000 --json\n  \
                  dmp eval samples/ --reference photographs.npz --metrics fid,kid"
)]
pub struct EvalArgs {
    /// Images to measure: a folder, a .tar, .parquet or .npz ('arr_0') of them, or a .safetensors of features [default: draw
    /// them from --model]
    samples: Option<PathBuf>,
    /// Backbone to draw from: 'demo', a .safetensors or .pt file, a run directory, a folder that diffusers wrote, or
    /// owner/name on the hub
    #[arg(long, default_value = "demo")]
    model: String,
    /// Patch or LoRA to put on it: its file, its run directory, or owner/name on the hub
    #[arg(long)]
    patch: Option<PathBuf>,
    /// What to compare with: a folder, .tar or .parquet of images, an .npz of images or statistics, a .safetensors of features; or, for
    /// what the demo's model draws and in the features of the demo's own network, 'held-out' (Fashion-MNIST's 10 000
    /// test images: report against these), 'validation' (10 000 that the model has not seen: choose settings with
    /// these) or 'train' (the embedded 20 000); with --class, those of its images that are of these classes
    #[arg(long, default_value = "held-out")]
    reference: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Check flags, model and reference, and measure nothing
    #[arg(long)]
    dry_run: bool,
    /// Folder that drawn images are kept in, one PNG each; those that are there already are not drawn again, so that what was stopped goes
    /// on, and other measures take the same images
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten, next_help_heading = "With Inception's features")]
    inception: InceptionArgs,
}

impl EvalArgs {
    /// How images are drawn.
    pub fn sampling(&self) -> &SamplingArgs {
        &self.sampling
    }
}

/// Runs the command.
pub fn eval(args: &EvalArgs, device: &Device) -> Result<()> {
    let split = match args.reference.as_str() {
        "held-out" => Some(Split::HeldOut),
        "validation" => Some(Split::Validation),
        "train" => Some(Split::Train),
        _ => None,
    };
    if let Some(out) = args.out.as_ref().filter(|out| out.is_file()) {
        bail!(
            "--out {}: is a file; give a folder, which need not be there",
            out.display()
        );
    }
    match split {
        Some(split) => embedded(args, split, device),
        None => compared(args, device),
    }
}

fn model(args: &EvalArgs, device: &Device) -> Result<Model> {
    open_model(&args.model, args.patch.as_deref(), &args.sampling, device)
}

/// The end of a dry run.
fn nothing_measured() -> anyhow::Error {
    DryRun("dry run: nothing was measured".to_owned()).into()
}

/// So few images hardly determine a covariance of 128 features.
const FEW: usize = 1000;

/// With the embedded network and its statistics.
fn embedded(args: &EvalArgs, split: Split, device: &Device) -> Result<()> {
    ensure!(
        args.samples.is_none(),
        "--reference {} is for what the demo's model draws; give --reference FOLDER or FILE to compare images with",
        args.reference
    );
    if let Some(flag) = args.inception.first_given() {
        bail!(
            "{flag} is for Inception's features, and --reference {} is measured in the embedded network's; leave it \
             out, or give --reference FOLDER or FILE",
            args.reference
        );
    }
    ensure!(
        args.sampling.count > 1,
        "--count {}: a distance is between two images or more on each side, and says something with thousands; give --count 10000",
        args.sampling.count
    );
    let model = model(args, device)?;
    if let Some(classes) = &args.sampling.class
        && let Some(class) = classes.beyond(demo::NUM_CLASSES)
    {
        bail!(
            "--class {classes}: --reference {} has classes 0 to {}, not {class}; leave it out, or give --reference FOLDER or FILE",
            args.reference,
            demo::NUM_CLASSES - 1
        );
    }
    if args.dry_run {
        Sampling::new(&model, &args.sampling, device)?;
        return Err(nothing_measured());
    }
    if args.sampling.count < FEW {
        crate::tell!(
            "note: a distance of {} images is too large and compares only with others of as many; give --count 10000 to \
             compare models",
            args.sampling.count
        );
    }
    let (drawn, seen) = (model.image_layout(), demo::SHAPE);
    let resized = [drawn.height, drawn.width] != [seen.height, seen.width];
    let drawing = Drawing::new(&model, &args.sampling, args.out.as_deref(), device)?;
    let score = score(drawing, split, "sampling", device, |_| {})?;
    if args.json {
        let object = json!({
            "metric": METRIC,
            "resized_to": resized.then_some("28x28, bicubic"),
            "reference": args.reference,
            "model": args.model,
            "patch": args.patch.as_ref().map(|path| path.display().to_string()),
            "frechet": score.frechet,
            "frechet_of_means": score.frechet_of_means,
            "accuracy": score.accuracy,
            "count": score.count,
            "reference_count": score.reference_count,
            "sampling": args.sampling,
            "schedule": model.schedule,
        });
        say(format_args!("{object:#}"))?;
    } else {
        say(format_args!("{METRIC}: {:.4}", score.frechet))?;
        if let Some(means) = score.frechet_of_means {
            say(format_args!("of the means alone: {means:.4}"))?;
        }
        say(format_args!(
            "classifier accuracy: {:.2} %",
            100.0 * score.accuracy
        ))?;
        say(format_args!("images: {}", score.count))?;
        if let (Some(classes), Some(count)) = (&args.sampling.class, score.reference_count) {
            say(format_args!(
                "held against: the {count} of class {classes} in {}",
                args.reference
            ))?;
        }
    }
    Ok(())
}
