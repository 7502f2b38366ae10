//! `dmp loss`: how well a model predicts noise, level by level, with and without a patch.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use burn::tensor::Device;
use clap::Args;
use dmp_math::schedule::BetaSchedule;
use dmp_model::denoiser::Denoiser;
use serde_json::json;

use crate::DIFFUSION_STEPS;
use crate::compute::Dtype;
use crate::data::{self, Classes, ImageShape, Wanted};
use crate::evaluate::loss::{LossBand, LossRequest, loss_profile};
use crate::flags;
use crate::models::{Model, PatchUse, check_data};
use crate::output::say;
use crate::report::table::{Column, Table};

/// Measure the error of the predicted noise by noise level, of a model and of a patch on the same images and noise
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dmp loss --model demo --patch runs/patch --data demo --count 5000"
)]
pub struct LossArgs {
    /// Backbone: 'demo', a .safetensors or .pt file, a run directory, a folder that diffusers wrote, or owner/name on
    /// the hub
    #[arg(long, default_value = "demo")]
    model: String,
    /// Patch or LoRA to compare it with: its file, its run directory, or owner/name on the hub
    #[arg(long)]
    patch: Option<PathBuf>,
    /// Use the patch or LoRA at timesteps below this one only, and the backbone alone at noisier ones [default: as it was trained]
    #[arg(long, value_parser = flags::timestep)]
    patch_below: Option<usize>,
    /// How strongly the patch or LoRA acts: 0 is the bare backbone, 1 as it was trained
    #[arg(long, value_parser = flags::strength, allow_negative_numbers = true, requires = "patch")]
    patch_scale: Option<f64>,
    /// Images to put noise on: 'demo' (which its model was trained on), a folder of images (a sub-folder a class), .tar,
    /// .parquet or .npz files of images, or latents
    #[arg(long, default_value = "demo")]
    data: String,
    /// Take images of these classes only, as in 7, 5-9 or 0,2,5-9 [default: all]
    #[arg(long)]
    class: Option<Classes>,
    /// Images, each with a noise and a timestep of its own
    #[arg(long, default_value_t = 2000, value_parser = flags::count)]
    count: usize,
    /// Bands that the timesteps are divided into
    #[arg(long, default_value_t = 10)]
    bands: usize,
    /// Seed of order, timesteps and noise
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Unreadable images that may be left out
    #[arg(long, default_value_t = 0)]
    max_bad: usize,
    /// Number type of the backbone's products
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
    /// Noise schedule the model was trained with, linear or squaredcos_cap_v2 [default: what its file
    /// says, or linear]
    #[arg(long)]
    schedule: Option<BetaSchedule>,
    /// Print one JSON object; a band's timesteps there are its first and the one after its last
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn loss(args: &LossArgs, device: &Device) -> Result<()> {
    let used = PatchUse {
        scale: args.patch_scale,
        below: args.patch_below,
    };
    let open = |patch: Option<_>, used, schedule| {
        Model::open(&args.model, patch, used, schedule, args.dtype, device)
    };
    let patched = args.patch.as_deref();
    let patched = patched
        .map(|patch| open(Some(patch), used, args.schedule))
        .transpose()?;
    // Where the backbone does not say its schedule, the patch does, and both are noised alike.
    let said = patched.as_ref().map(|patched| patched.schedule);
    let of_base = match patched {
        Some(_) => PatchUse::default(),
        None => used,
    };
    let base = open(None, of_base, args.schedule.or(said))?;
    if let Some(patched) = &patched {
        // Losses are taken at every timestep.
        let all: Vec<usize> = (0..DIFFUSION_STEPS).collect();
        ensure!(
            patched.check_timesteps(&all).is_ok(),
            "--patch: was baked for the steps of one sampler, and losses are taken at every timestep; give the patch itself"
        );
    }
    let layout = base.layout();
    let shape = ImageShape {
        channels: layout.channels,
        height: layout.height,
        width: layout.width,
    };
    let data = data::open(
        &args.data,
        Wanted {
            shape: Some(shape),
            max_bad: args.max_bad,
        },
        args.class.as_ref(),
    )?;
    check_data(&data, &args.data, layout, base.num_classes)?;
    let request = LossRequest {
        count: args.count,
        bands: args.bands,
        seed: args.seed,
    };
    let profile = loss_profile(&base, patched.as_ref(), &data, request, device)?;
    if args.json {
        let object = json!({
            "model": args.model,
            "patch": args.patch.as_ref().map(|path| path.display().to_string()),
            "patch_below": args.patch_below,
            "patch_scale": args.patch_scale,
            "data": args.data,
            "class": args.class,
            "count": args.count,
            "seed": args.seed,
            "schedule": base.schedule,
            "dtype": args.dtype,
            "measure": "mean squared error of the predicted noise",
            "all": profile.all,
            "bands": profile.bands,
        });
        return Ok(say(format_args!("{object:#}"))?);
    }
    let mut columns = vec![Column::text("timesteps"), Column::number("bare")];
    if patched.is_some() {
        columns.extend(["patched", "change", "%"].map(Column::number));
    }
    // A single band is all timesteps.
    let bands = profile.bands.iter().filter(|_| args.bands > 1);
    let rows = bands.chain([&profile.all]);
    let table = rows.fold(Table::new(columns), |table, band| table.row(cells(band)));
    say(match patched {
        Some(_) => "mean squared error of the predicted noise, ± one standard error of the change",
        None => "mean squared error of the predicted noise",
    })?;
    say(table.to_string().trim_end())?;
    Ok(())
}

fn cells(band: &LossBand) -> Vec<String> {
    let [first, end] = band.timesteps;
    let mut cells = vec![
        format!("{first} to {}", end - 1),
        format!("{:.5}", band.base.mean),
    ];
    if let (Some(patched), Some(change)) = (band.patched, band.change) {
        cells.push(format!("{:.5}", patched.mean));
        // Not -0.0.
        let mean = change.mean + 0.0;
        cells.push(format!("{mean:+.6} ± {:.6}", change.standard_error));
        cells.push(format!("{:+.2}", 100.0 * mean / band.base.mean));
    }
    cells
}
