//! `dmp bench`: how fast a model computes on this machine.

use anyhow::{Context, Result};
use burn::tensor::Device;
use clap::Args;
use dmp_model::dit::{DitConfig, Preset};
use serde_json::json;

use crate::bench::{Bench, Inference, Profile, peak_memory};
use crate::compute::{CheckpointingName, Dtype};
use crate::device;
use crate::flags;
use crate::memory::{ensure_fits, least_of_an_image};
use crate::models::open_backbone;
use crate::output::say;
use crate::report::table::{Column, Table};

/// Steps of the sampler that images a second are told for.
const USUAL_STEPS: f64 = 50.0;

/// Time a forward pass and a training step of a patched model
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dmp bench --backbone dit-b-2 --tokens 256 --batch 4 --json")]
pub struct BenchArgs {
    /// A preset (dit-s-2 to dit-xl-8), 'demo', a .safetensors or .pt file, a run directory, a folder that diffusers
    /// wrote, or owner/name on the hub
    #[arg(long, default_value = "demo")]
    backbone: String,
    /// Tokens of an image, a square number, for a preset [default: 256]
    #[arg(long, value_parser = flags::tokens)]
    tokens: Option<usize>,
    /// Images at a time
    #[arg(long, default_value_t = 4, value_parser = flags::batch)]
    batch: usize,
    /// Number type of the backbone's products
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
    /// What a step's backward pass computes anew to save memory
    #[arg(long, value_enum, default_value_t = CheckpointingName::None)]
    checkpointing: CheckpointingName,
    /// Threads [default: one a core]
    #[arg(long, value_parser = flags::threads)]
    threads: Option<usize>,
    /// Runs that count; medians are printed
    #[arg(long, default_value_t = 7, value_parser = flags::repeats)]
    reps: usize,
    /// Say what each kernel takes of a step, over all threads
    #[arg(long)]
    profile: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn bench(args: &BenchArgs, device: &Device) -> Result<()> {
    if let Some(threads) = args.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .context("--threads")?;
    }
    let bench = Bench {
        config: config(args, device)?,
        dtype: args.dtype,
        checkpointing: args.checkpointing.into(),
        batch: args.batch,
        reps: args.reps,
    };
    let image = least_of_an_image(bench.config.num_tokens(), bench.config.hidden_size);
    ensure_fits(
        &format!("--batch {}", bench.batch),
        bench.batch as u128 * image,
        "give a smaller --batch, or fewer --tokens",
    )?;
    let Inference {
        forward,
        sampler_step,
    } = bench.inference(device)?;
    let step = bench.step(device)?;
    let profile = args.profile.then(|| bench.profile(device)).transpose()?;
    let images = |seconds: f64| bench.batch as f64 / seconds;
    if args.json {
        let mut object = json!({
            "backbone": args.backbone,
            "hidden": bench.config.hidden_size,
            "depth": bench.config.depth,
            "tokens": bench.config.num_tokens(),
            "batch": bench.batch,
            "device": device::describe(device),
            "dtype": args.dtype,
            "checkpointing": args.checkpointing,
            "threads": rayon::current_num_threads(),
            "reps": bench.reps,
            "forward_s": forward,
            "step_s": step,
            "sampler_step_s": sampler_step,
            "sampled_images_per_s": images(USUAL_STEPS * sampler_step),
            "peak_memory_bytes": peak_memory(),
        });
        if let Some(profile) = &profile {
            let rows = profile.rows().into_iter().map(|(kernel, calls, seconds, share)| {
                json!({"kernel": kernel, "calls": calls, "thread_seconds": seconds, "share": share})
            });
            object["profile"] = rows.collect();
        }
        say(format_args!("{object:#}"))?;
        return Ok(());
    }
    say(format_args!(
        "forward: {forward:.4} s, {:.1} images/s",
        images(forward)
    ))?;
    say(format_args!(
        "step: {step:.4} s, {:.1} images/s",
        images(step)
    ))?;
    say(format_args!(
        "sampling: {:.2} images/s in {USUAL_STEPS} steps of {sampler_step:.4} s",
        images(USUAL_STEPS * sampler_step)
    ))?;
    if let Some(bytes) = peak_memory() {
        say(format_args!("peak memory: {:.0} MB", bytes as f64 / 1e6))?;
    }
    if let Some(profile) = &profile {
        say(format_args!("\n{}", table(profile).to_string().trim_end()))?;
    }
    Ok(())
}

/// Of a training step.
fn table(profile: &Profile) -> Table {
    let columns = [
        Column::text("kernel"),
        Column::number("calls"),
        Column::number("thread ms"),
        Column::number("share"),
    ];
    profile.rows().into_iter().fold(
        Table::new(columns),
        |table, (kernel, calls, seconds, share)| {
            table.row([
                kernel.to_owned(),
                calls.map(|calls| format!("{calls:.0}")).unwrap_or_default(),
                format!("{:.2}", 1e3 * seconds),
                format!("{:.1} %", 100.0 * share),
            ])
        },
    )
}

fn config(args: &BenchArgs, device: &Device) -> Result<DitConfig> {
    let Ok(preset) = args.backbone.parse::<Preset>() else {
        anyhow::ensure!(
            args.tokens.is_none(),
            "--tokens is for presets; '{}' has its own",
            args.backbone
        );
        return Ok(open_backbone(&args.backbone, device)
            .context("--backbone is neither a preset (dit-s-2, dit-b-2, dit-l-2, dit-xl-2, and the same with patch 4 or 8) nor a model")?
            .model
            .config()
            .clone());
    };
    let tokens = args.tokens.unwrap_or(256);
    let side = tokens.isqrt();
    let patch_size = preset.config(32, 1).patch_size;
    Ok(preset.config(side * patch_size, 1))
}
