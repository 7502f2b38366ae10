//! `dmp eval`: how good images are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use clap::Args;
use dmp_model::denoiser::Denoiser;
use dmp_model::features::{Inception, Preprocess};
use serde_json::json;

use crate::data::Split;
use crate::evaluate::cache::Slot;
use crate::evaluate::extract::Extractor;
use crate::evaluate::figures::{Figures, Metric, Request, figures};
use crate::evaluate::pictures::Pictures;
use crate::evaluate::side::{self, Side};
use crate::evaluate::weights::{self, Weights};
use crate::evaluate::{METRIC, score};
use crate::flags;
use crate::models::Model;
use crate::output::say;
use crate::sampling::{Sampling, SamplingArgs};

/// Measure images, or what a model draws, against a reference
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  dmp eval --model demo --patch runs/patch/patch.safetensors --count 10000 --json\n  \
                  dmp eval samples/ --reference photographs.npz --metrics fid,kid"
)]
pub struct EvalArgs {
    /// Images to measure: a folder, an .npz ('arr_0'), or a .safetensors of features [default: draw them from
    /// --model]
    samples: Option<PathBuf>,
    /// Backbone to draw from: 'demo', a .safetensors or .pt file, or a run directory
    #[arg(long, default_value = "demo")]
    model: String,
    /// Patch to put on it
    #[arg(long)]
    patch: Option<PathBuf>,
    /// What to compare with: a folder of images, an .npz of images or statistics, a .safetensors of features; or, for
    /// what the demo's model draws and in the features of the demo's own network, 'held-out' (Fashion-MNIST's 10 000
    /// test images: report against these), 'validation' (10 000 that the model has not seen: choose settings with
    /// these) or 'train' (the embedded 20 000)
    #[arg(long, default_value = "held-out")]
    reference: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten, next_help_heading = "With Inception's features")]
    inception: InceptionArgs,
}

/// How FID and its kin are computed.
#[derive(Debug, Args)]
struct InceptionArgs {
    /// Inception's weights: torch-fidelity's or pytorch-fid's .pth, or the TorchScript .pt of StyleGAN and clean-fid
    /// [default: $DMP_INCEPTION, or one in the cache folder]
    #[arg(long)]
    inception: Option<PathBuf>,
    /// Whose resizing: torch-fidelity, pytorch-fid or clean
    #[arg(long, default_value_t = Preprocess::TorchFidelity)]
    preprocess: Preprocess,
    /// What to compute, of fid, sfid, is, kid, prdc (precision, recall, density, coverage) [default: all that can be]
    #[arg(long, value_delimiter = ',')]
    metrics: Vec<Metric>,
    /// Random subsets of the kernel distance
    #[arg(long, default_value_t = 100, value_parser = flags::count)]
    kid_subsets: usize,
    /// Images in such a subset
    #[arg(long, default_value_t = 1000, value_parser = flags::count)]
    kid_subset_size: usize,
    /// Neighbours that precision and recall reach to
    #[arg(long, default_value_t = 3, value_parser = flags::count)]
    neighbours: usize,
    /// Parts of the Inception score
    #[arg(long, default_value_t = 10, value_parser = flags::count)]
    splits: usize,
    /// Resamples for a 95 % interval of the FID; 0 for none
    #[arg(long, default_value_t = 0)]
    bootstrap: usize,
    /// Seed of subsets and shuffles; 2020 is torch-fidelity's
    #[arg(long, default_value_t = 2020)]
    metric_seed: u32,
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
    match split {
        Some(split) => embedded(args, split, device),
        None => compared(args, device),
    }
}

fn model(args: &EvalArgs, device: &Device) -> Result<Model> {
    Model::open(
        &args.model,
        args.patch.as_deref(),
        args.sampling.schedule,
        device,
    )
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
    let model = model(args, device)?;
    if args.sampling.count < FEW {
        eprintln!(
            "note: a distance of {} images is too large and compares only with others of as many; give --count 10000 to \
             compare models",
            args.sampling.count
        );
    }
    let score = score(&model, &args.sampling, split, "sampling", device, |_| {})?;
    if args.json {
        let object = json!({
            "metric": METRIC,
            "reference": args.reference,
            "model": args.model,
            "patch": args.patch,
            "frechet": score.frechet,
            "accuracy": score.accuracy,
            "count": score.count,
            "sampling": args.sampling,
            "schedule": model.schedule,
        });
        say(format_args!("{object:#}"))?;
    } else {
        say(format_args!("{METRIC}: {:.4}", score.frechet))?;
        say(format_args!(
            "classifier accuracy: {:.2} %",
            100.0 * score.accuracy
        ))?;
        say(format_args!("images: {}", score.count))?;
    }
    Ok(())
}

/// With Inception's features, or features that both sides bring.
fn compared(args: &EvalArgs, device: &Device) -> Result<()> {
    ensure!(
        args.samples.is_none() || args.patch.is_none(),
        "--patch is for what a model draws, not for given images; leave out one of them"
    );
    let reference_path = Path::new(&args.reference);
    ensure!(
        reference_path.exists(),
        "--reference {}: no such file or folder; give one, or held-out, validation or train",
        args.reference
    );
    let reference = side::open(reference_path)?;
    let drawn;
    let samples = match &args.samples {
        Some(path) => side::open(path)?,
        None => {
            drawn = model(args, device)?;
            let sampling = Sampling::new(&drawn, &args.sampling, device)?;
            Side::Images(Pictures::drawn(
                sampling,
                drawn.layout(),
                args.sampling.count,
            ))
        }
    };
    let mut seen = Seen {
        args: &args.inception,
        weights: None,
        device,
    };
    // The reference first: it may be in the cache, and what is wrong with it shows before hours of sampling.
    let reference = seen.side(reference, Some(reference_path), "reference")?;
    let samples = seen.side(samples, args.samples.as_deref(), "samples")?;
    let request = args.inception.request();
    let found = figures(&samples, &reference, &request)?;
    warn_if_few(&samples);
    warn_if_few(&reference);
    if args.json {
        print_json(
            args,
            &found,
            &request,
            seen.weights.as_ref(),
            [&samples, &reference],
        )?;
    } else {
        print_lines(&found)?;
    }
    Ok(())
}

impl InceptionArgs {
    fn request(&self) -> Request {
        Request {
            metrics: self.metrics.clone(),
            kid_subsets: self.kid_subsets,
            kid_subset_size: self.kid_subset_size,
            neighbours: self.neighbours,
            splits: self.splits,
            bootstrap: self.bootstrap,
            seed: self.metric_seed,
        }
    }
}

/// Inception, opened once when it is first needed.
struct Seen<'a> {
    args: &'a InceptionArgs,
    weights: Option<Weights>,
    device: &'a Device,
}

impl Seen<'_> {
    /// The side with its features taken. Those of files are kept for the next run.
    fn side<'s>(
        &mut self,
        side: Side<'s>,
        path: Option<&Path>,
        name: &'static str,
    ) -> Result<Side<'s>> {
        let Side::Images(pictures) = side else {
            return Ok(side);
        };
        let weights = match &mut self.weights {
            Some(weights) => weights,
            none => none.insert(weights::open(self.args.inception.as_deref(), self.device)?),
        };
        let slot = match path {
            Some(path) => Slot::of(path, &weights.sha256, self.args.preprocess)
                .with_context(|| path.display().to_string())?,
            None => None,
        };
        if let Some(extracted) = slot.as_ref().and_then(Slot::read) {
            return Ok(Side::Inception(extracted));
        }
        let extractor = Extractor {
            network: &weights.network,
            preprocess: self.args.preprocess,
            device: self.device,
        };
        let extracted = extractor.all(pictures, name)?;
        if let Some(slot) = slot {
            slot.write(&extracted);
        }
        Ok(Side::Inception(extracted))
    }
}

/// Images on a side, where it says.
fn count(side: &Side<'_>) -> Option<usize> {
    match side {
        Side::Inception(extracted) => Some(extracted.count),
        Side::Features(features) => Some(features.values.len() / features.dim.max(1)),
        Side::Statistics(_) | Side::Images(_) => None,
    }
}

fn warn_if_few(side: &Side<'_>) {
    if let (Side::Inception(_), Some(count)) = (side, count(side))
        && count <= Inception::FEATURES
    {
        eprintln!(
            "note: {count} images do not determine a covariance of {} features; a distance of so few is too large and \
             compares only with others of as many (10 000 or more are usual)",
            Inception::FEATURES
        );
    }
}

fn print_json(
    args: &EvalArgs,
    figures: &Figures,
    request: &Request,
    weights: Option<&Weights>,
    [samples, reference]: [&Side<'_>; 2],
) -> Result<()> {
    let mut object = serde_json::to_value(figures)?;
    let rest = json!({
        "samples": args.samples.as_ref().map_or_else(|| args.model.clone(), |path| path.display().to_string()),
        "patch": args.patch,
        "reference": args.reference,
        "samples_count": count(samples),
        "reference_count": count(reference),
        "definition": {
            "network": weights.map(|_| "Inception-v3 of 2015-12-05, FID variant"),
            "inception_sha256": weights.map(|weights| weights.sha256.clone()),
            "preprocess": weights.map(|_| args.inception.preprocess.name()),
            "covariance": "unbiased (n - 1), f64",
            "settings": request,
        },
        "sampling": args.samples.is_none().then_some(&args.sampling),
    });
    if let (Some(object), serde_json::Value::Object(rest)) = (object.as_object_mut(), rest) {
        object.extend(rest);
    }
    say(format_args!("{object:#}"))?;
    Ok(())
}

fn print_lines(figures: &Figures) -> Result<()> {
    let line = |name: &str, value: Option<f64>, spread: Option<f64>| match (value, spread) {
        (None, _) => Ok(()),
        (Some(value), None) => say(format_args!("{name}: {value:.4}")),
        (Some(value), Some(spread)) => say(format_args!("{name}: {value:.4} ± {spread:.4}")),
    };
    line("FID", figures.fid, None)?;
    if let Some([low, high]) = figures.fid_interval {
        say(format_args!(
            "FID, 95 % of resamples: {low:.4} to {high:.4}"
        ))?;
    }
    line("sFID", figures.sfid, None)?;
    line(
        "Inception score",
        figures.inception_score,
        figures.inception_score_std,
    )?;
    line("KID", figures.kid, figures.kid_std)?;
    line("precision", figures.precision, None)?;
    line("recall", figures.recall, None)?;
    line("density", figures.density, None)?;
    line("coverage", figures.coverage, None)?;
    Ok(())
}
