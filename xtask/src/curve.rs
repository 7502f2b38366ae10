//! Has the embedded backbone converged? The distance of every checkpoint that its run kept, to the images it has not
//! seen and settings are chosen on: `docs/backbone-curve.jsonl` and `.svg`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use clap::Parser;
use dmp::cli::{Cli, Command};
use dmp::compute::Dtype;
use dmp::data::Split;
use dmp::evaluate::{METRIC, score};
use dmp::models::{Model, PatchUse};
use dmp::report::chart::LineChart;
use dmp::sampling::Drawing;
use serde::{Deserialize, Serialize};

use crate::assets::backbone;

/// Which run, and how many images.
#[derive(clap::Args)]
pub struct Args {
    /// Run directory of the backbone's pre-training
    #[arg(long, default_value = "runs/backbone")]
    run: PathBuf,
    /// Images drawn from each checkpoint
    #[arg(long, default_value_t = 5000)]
    count: usize,
    /// First step to measure, over all stages
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Measure only the checkpoints at multiples of so many steps
    #[arg(long, default_value_t = 1)]
    every: u64,
}

/// A line of the file. Steps count over all stages.
#[derive(Debug, Serialize, Deserialize)]
struct Point {
    step: u64,
    count: usize,
    frechet: f64,
    accuracy: f64,
}

/// Measures the checkpoints that have no line yet, and draws the curve.
pub fn run(args: &Args) -> Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let lines = docs.join("backbone-curve.jsonl");
    let mut points: Vec<Point> = fs::read_to_string(&lines)
        .unwrap_or_default()
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .with_context(|| lines.display().to_string())?;
    let kept = kept_by_stages(&args.run)?;
    for (step, file) in kept {
        let known = |point: &Point| point.step == step && point.count == args.count;
        if step < args.from || step % args.every.max(1) != 0 || points.iter().any(known) {
            continue;
        }
        let point = measure(step, &file, args.count)?;
        println!("step {step}: {:.3}", point.frechet);
        let mut out = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&lines)?;
        writeln!(out, "{}", serde_json::to_string(&point)?)?;
        points.push(point);
    }
    points.retain(|point| point.count == args.count);
    points.sort_by_key(|point| point.step);
    let curve = points
        .iter()
        .map(|point| (point.step as f64, point.frechet));
    let svg = LineChart::new("Distance of the embedded backbone over its training")
        .axes("step", format!("{METRIC}, validation"))
        .series("averaged weights", curve)
        .log_y()
        .to_svg()?;
    fs::write(docs.join("backbone-curve.svg"), svg.as_str())?;
    Ok(())
}

/// Averaged weights of each checkpoint of every stage that has begun, by step over all stages.
fn kept_by_stages(run: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut all = Vec::new();
    let mut done = 0;
    for stage in &backbone::STAGES {
        let folder = stage.path(run);
        if folder.join("checkpoints").exists() {
            let kept = kept(&folder)?.into_iter();
            all.extend(kept.map(|(step, file)| (done + step, file)));
        }
        done += stage.steps;
    }
    ensure!(
        !all.is_empty(),
        "{}: no checkpoints; give the run directory with --run",
        run.display()
    );
    Ok(all)
}

/// Averaged weights of each checkpoint, by step.
fn kept(run: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let folder = run.join("checkpoints");
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut kept = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let step = name.and_then(|name| name.strip_prefix("step-")?.parse().ok());
        if let Some(step) = step {
            kept.push((step, path.join("ema.safetensors")));
        }
    }
    kept.sort();
    Ok(kept)
}

fn measure(step: u64, file: &Path, count: usize) -> Result<Point> {
    let line = format!("dmp eval --reference validation --count {count}");
    let cli = Cli::try_parse_from(line.split_whitespace())?;
    let Command::Eval(args) = &cli.command else {
        anyhow::bail!("the line is no eval command");
    };
    let device = Device::flex();
    let model = Model::open(
        &file.display().to_string(),
        None,
        PatchUse::default(),
        None,
        Dtype::F32,
        &device,
    )?;
    let drawing = Drawing::new(&model, args.sampling(), None, &device)?;
    let found = score(drawing, Split::Validation, "sampling", &device, |_| {})?;
    Ok(Point {
        step,
        count,
        frechet: found.frechet,
        accuracy: found.accuracy,
    })
}
