//! `dmp sample`: images from a model, patched or not.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::Device;
use clap::Args;
use dmp_model::denoiser::ImageLayout;

use crate::memory::ensure_fits;
use crate::npz::Npz;
use crate::output::{check_target_of, is_same_place, say, write_atomic};
use crate::report::grid::{GridStyle, Tiles};
use crate::run::progress_bar;
use crate::sampling::{Drawing, SamplingArgs, next_batch, open_model};

/// Draw images from a model, with or without a patch
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dmp sample --model demo --patch runs/patch/patch.safetensors --count 64 --grid grid.png"
)]
pub struct SampleArgs {
    /// Backbone: 'demo', a .safetensors or .pt file, a run directory, a folder that diffusers wrote, or owner/name on
    /// the hub
    #[arg(long, default_value = "demo")]
    model: String,
    /// Patch or LoRA to put on it: its file, its run directory, or owner/name on the hub
    #[arg(long)]
    patch: Option<PathBuf>,
    /// Folder for one PNG an image; drawing that was stopped goes on where it was
    #[arg(long)]
    out: Option<PathBuf>,
    /// One PNG of all images side by side
    #[arg(long)]
    grid: Option<PathBuf>,
    /// One .npz of all images, arr_0 as [count, height, width, channels] bytes
    #[arg(long)]
    npz: Option<PathBuf>,
    #[command(flatten)]
    sampling: SamplingArgs,
}

/// Runs the command.
pub fn sample(args: &SampleArgs, device: &Device) -> Result<()> {
    anyhow::ensure!(
        args.out.is_some() || args.grid.is_some() || args.npz.is_some(),
        "nowhere to put the images; give --out FOLDER, --grid FILE.png or --npz FILE.npz"
    );
    let model = open_model(&args.model, args.patch.as_deref(), &args.sampling, device)?;
    let layout = model.image_layout();
    // Before hours of sampling: whether there is a place for what comes of them.
    let count = args.sampling.count;
    let shape = [count, layout.channels, layout.height, layout.width];
    if args.grid.is_some() {
        grid_style().size(shape).context("--grid")?;
    }
    for (flag, path, ending) in [("--grid", &args.grid, "png"), ("--npz", &args.npz, "npz")] {
        let Some(path) = path else { continue };
        let others = [("--out", &args.out), ("--npz", &args.npz)];
        for (name, other) in others.iter().filter(|(name, _)| *name != flag) {
            anyhow::ensure!(
                !other
                    .as_ref()
                    .is_some_and(|other| is_same_place(path, other)),
                "{flag} {}: is what {name} names; give another name",
                path.display()
            );
        }
        check_target_of(flag, path, ending)?;
    }
    let kept = args.grid.is_some() || args.npz.is_some();
    if kept {
        // All of them, and the file that is made of them.
        let pixels = 2 * count as u128 * layout.len() as u128;
        let mend = "give a smaller --count, or --out FOLDER, which holds one image at a time";
        ensure_fits(&format!("--count {count}"), pixels, mend)?;
    }
    let mut drawing = Drawing::new(&model, &args.sampling, args.out.as_deref(), device)?;
    if let Some(folder) = drawing.folder() {
        for (flag, path) in [("--grid", &args.grid), ("--npz", &args.npz)] {
            path.as_ref()
                .map_or(Ok(()), |path| folder.refuse(flag, path))?;
        }
    }
    let bar = progress_bar(count as u64, 0, "images").with_prefix("sampling");
    let mut pixels = Vec::new();
    // Images that are there are read though nobody wants them: a damaged one is to be known of.
    while let Some(batch) = next_batch(&mut drawing, &bar)? {
        if kept {
            pixels.extend(batch.pixels);
        }
    }
    bar.finish_and_clear();
    if let Some(folder) = &args.out {
        say(folder.display())?;
    }
    if let Some(path) = &args.grid {
        let png = Tiles::new(&pixels, shape)?.to_png(&grid_style())?;
        write_atomic(path, png.as_bytes())?;
        say(path.display())?;
    }
    if let Some(path) = &args.npz {
        write_npz(path, &pixels, layout)?;
        say(path.display())?;
    }
    Ok(())
}

/// All images side by side.
fn grid_style() -> GridStyle {
    GridStyle {
        upscale: 2,
        ..GridStyle::default()
    }
}

/// `[count, C, H, W]` as `arr_0` `[count, H, W, C]`.
fn write_npz(path: &Path, pixels: &[u8], layout: ImageLayout) -> Result<()> {
    let ImageLayout {
        channels,
        height,
        width,
    } = layout;
    let plane = height * width;
    let count = pixels.len() / layout.len();
    let values = pixels.chunks(layout.len()).flat_map(|image| {
        (0..plane).flat_map(move |at| (0..channels).map(move |channel| image[channel * plane + at]))
    });
    let failed = || format!("--npz {}", path.display());
    let mut archive = Npz::default();
    let shape = [count, height, width, channels].map(|size| size as u64);
    archive
        .array("arr_0", &shape, values)
        .with_context(failed)?;
    Ok(write_atomic(path, &archive.finish().with_context(failed)?)?)
}
