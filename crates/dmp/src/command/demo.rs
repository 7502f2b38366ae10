//! `dmp demo`: the whole method on the embedded model, in minutes.

mod metrics;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use burn::tensor::Device;
use clap::Args;
use dmp_math::timesteps::Timesteps;
use dmp_model::fused::Checkpointing;
use dmp_model::patch::{BalanceLoss, GateSharing, PatchConfig};

use crate::compute::Dtype;
use crate::data::Dataset;
use crate::data::demo::{self as assets, Split};
use crate::evaluate::{Score, score};
use crate::gate_view::{self, GateView};
use crate::models::{Addition, Model, PatchUse, open_addition, open_backbone, schedule_of};
use crate::output::{say, write_atomic};
use crate::report::demo::{DemoPage, Grids};
use crate::report::table::Table;
use crate::run::{Interrupt, RunDir};
use crate::sampling::{Drawing, SampledBatch, SamplingArgs};
use crate::train::{Cadence, Decay, PatchSettings, Session, train_patch};
use metrics::{Metrics, Seconds};

/// Prompts of each block.
const PROMPTS: usize = 8;

/// Images in the grids of the report.
const SHOWN: usize = 100;

/// Patch the embedded model, and measure it before and after
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dmp demo --out dmp-demo")]
pub struct DemoArgs {
    /// Folder for patch, metrics and report
    #[arg(long, default_value = "dmp-demo")]
    out: PathBuf,
    /// Steps of training
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Images measured, of the bare and of the patched model each
    #[arg(long, default_value_t = 2000)]
    count: usize,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Runs the command.
pub fn demo(args: &DemoArgs, device: &Device) -> Result<()> {
    let start = Instant::now();
    anyhow::ensure!(
        args.count > 1,
        "--count is {}; a distance needs at least 2 images",
        args.count
    );
    let sampling = sampling_args(args);
    let data = assets::images()?;
    let settings = settings(args, &data, device)?;
    let directory = RunDir::open(&args.out, &settings, &[])?;
    let patch_path = directory.path("patch.safetensors");

    train(&settings, data, &directory, device)?;
    // From the statistics, so that a resumed training counts whole.
    let train_seconds = directory.training_seconds()?;

    let sample_start = Instant::now();
    // Of a resumed demo, the time of every process that trained.
    let total = || {
        let sampled = sample_start.elapsed().as_secs_f64();
        (train_seconds + sampled).max(start.elapsed().as_secs_f64())
    };
    let backbone = open_backbone("demo", device)?;
    let view = match open_addition(&patch_path, device)? {
        Addition::Patch(file) => {
            let classes = backbone.model.config().num_classes;
            gate_view::look(&backbone.model, classes, &file.patch)
        }
        Addition::Lora(_) | Addition::Baked(_) => None,
    }
    .context("the demo's patch has a gate")?;
    let parameters = backbone.model.config().num_params();
    let used = PatchUse::default();
    let model = Model::open("demo", None, used, None, sampling.dtype, device)?;
    let base = measure("base", &model, &sampling, device)?;
    let model = Model::open(
        "demo",
        Some(&patch_path),
        used,
        None,
        sampling.dtype,
        device,
    )?;
    let better = measure("patched", &model, &sampling, device)?;
    let sample_seconds = sample_start.elapsed().as_secs_f64();

    let added = settings.patch.added_params();
    let mut metrics = Metrics {
        base: base.score,
        patched: better.score,
        added_parameters: added,
        added_percent: 100.0 * added as f64 / parameters as f64,
        seconds: Seconds {
            train: train_seconds,
            sample: sample_seconds,
            total: total(),
        },
    };
    let table = metrics.table(&patch_path)?;
    write_report(
        &directory, &settings, &sampling, &table, &base, &better, &view,
    )?;
    metrics.seconds.total = total();
    write_atomic(
        &directory.path("metrics.json"),
        serde_json::to_string_pretty(&metrics)?.as_bytes(),
    )?;

    say(table.to_string().trim_end())?;
    say(format_args!(
        "\nreport: {}",
        directory.path("report.html").display()
    ))?;
    say(format_args!("\nwhat to try next:"))?;
    next_commands(&patch_path)
        .iter()
        .try_for_each(|line| say(format_args!("  {line}")))?;
    Ok(())
}

/// How noisy a timestep must be to be left to the backbone.
const BELOW: usize = 800;

/// The demo's training: a mixture of prompts with a gate for each block that leaves the noisiest timesteps alone, at rates for
/// minutes instead of days, with timesteps by importance: what gains with every seed on the embedded model (see docs/results.md).
fn settings(args: &DemoArgs, data: &Dataset, device: &Device) -> Result<PatchSettings> {
    let backbone = open_backbone("demo", device)?;
    let config = backbone.model.config();
    Ok(PatchSettings {
        model: "demo".to_owned(),
        model_sha256: backbone.fingerprint.clone(),
        data: "demo".to_owned(),
        data_sha256: data.fingerprint(),
        class: None,
        seed: args.seed,
        steps: args.steps,
        batch: 128,
        prompt_rate: 0.02,
        gate_rate: 1e-4,
        gate_after: 0,
        warmup: 0,
        decay: Decay::Cosine,
        ema_decay: 0.0,
        // Every shoe of the embedded images points the same way.
        flip: false,
        label_dropout: config.class_dropout_prob,
        clip_norm: None,
        accumulate: 1,
        schedule: schedule_of(backbone.schedule, None)?,
        loss_weight: Default::default(),
        timesteps: Timesteps::Importance,
        stable_targets: None,
        gate_noise: false,
        dtype: Dtype::F32,
        balance: BalanceLoss {
            importance: 0.01,
            // Without noise on the gate there is no such term.
            load: 0.0,
            ..BalanceLoss::default()
        },
        patch: PatchConfig {
            gate_sharing: GateSharing::PerBlock,
            patch_below: Some(BELOW),
            ..PatchConfig::mixture(
                PROMPTS,
                config.num_tokens(),
                config.hidden_size,
                config.depth,
            )
        },
    })
}

fn sampling_args(args: &DemoArgs) -> SamplingArgs {
    SamplingArgs {
        count: args.count,
        seed: args.seed,
        ..SamplingArgs::default()
    }
}

fn train(
    settings: &PatchSettings,
    data: Dataset,
    directory: &RunDir,
    device: &Device,
) -> Result<()> {
    let backbone = open_backbone("demo", &device.clone().autodiff())?;
    let cadence = Cadence {
        log_every: 20,
        checkpoint_every: 400,
        keep_every: None,
    };
    let session = Session {
        directory,
        data,
        cadence,
        checkpointing: Checkpointing::None,
        interrupt: &Interrupt::listen(),
        dry_run: false,
    };
    train_patch(settings, backbone, session, device)
}

/// A score and the first images it is of.
struct Measured {
    score: Score,
    shown: Vec<u8>,
}

fn measure(
    name: &'static str,
    model: &Model,
    sampling: &SamplingArgs,
    device: &Device,
) -> Result<Measured> {
    let mut shown = Vec::new();
    let each = |batch: &SampledBatch| {
        let room = SHOWN * assets::SHAPE.len() - shown.len();
        shown.extend(batch.pixels.iter().take(room));
    };
    let drawing = Drawing::new(model, sampling, None, device)?;
    let score = score(drawing, Split::HeldOut, name, device, each)?;
    Ok(Measured { score, shown })
}

fn write_report(
    directory: &RunDir,
    settings: &PatchSettings,
    sampling: &SamplingArgs,
    table: &Table,
    base: &Measured,
    better: &Measured,
    view: &GateView,
) -> Result<()> {
    let stats = directory.stats()?;
    let page = DemoPage {
        base: base.score,
        patched: better.score,
        table: table.clone(),
        grids: Grids {
            base: &base.shown,
            patched: &better.shown,
            shape: assets::SHAPE,
        },
        stats: &stats,
        heat_maps: view.heat_maps()?,
        commands: next_commands(&directory.path("patch.safetensors")),
        settings: serde_json::json!({"training": settings, "sampling": sampling}),
    };
    let [base, patched] = page.pictures()?;
    write_atomic(&directory.path("base.png"), base.as_bytes())?;
    write_atomic(&directory.path("patched.png"), patched.as_bytes())?;
    Ok(write_atomic(
        &directory.path("report.html"),
        page.to_html()?.as_bytes(),
    )?)
}

fn next_commands(patch: &Path) -> [String; 4] {
    let patch = patch.display();
    [
        format!("dmp sample --model demo --patch {patch} --count 64 --grid grid.png"),
        format!("dmp inspect {patch} --plot gates.svg"),
        format!("dmp eval --model demo --patch {patch} --count 10000"),
        "dmp train --out runs/longer --position mix --gate-sharing per-block --patch-below 800 --gate-noise false --steps 2000 --batch 512"
            .to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use dmp_model::denoiser::Denoiser;

    use super::*;

    #[test]
    fn the_embedded_backbone_opens_and_fits_the_embedded_images() {
        let model = open_backbone("demo", &Device::flex()).unwrap().model;
        assert_eq!(model.config().num_classes, assets::NUM_CLASSES);
        let layout = model.layout();
        assert_eq!((layout.channels, layout.height, layout.width), (1, 28, 28));
    }
}
