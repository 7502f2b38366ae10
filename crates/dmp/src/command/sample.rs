//! `dmp sample`: images from a model, patched or not.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::Device;
use clap::Args;
use dmp_model::denoiser::{Denoiser, ImageLayout};

use crate::models::Model;
use crate::output::write_atomic;
use crate::report::grid::{GridStyle, Tiles};
use crate::run::progress_bar;
use crate::sampling::{Sampling, SamplingArgs};

/// Draw images from a model, with or without a patch
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dmp sample --model demo --patch runs/patch/patch.safetensors --count 64 --grid grid.png"
)]
pub struct SampleArgs {
    /// Backbone: 'demo', a .safetensors file or a run directory
    #[arg(long, default_value = "demo")]
    model: String,
    /// Patch to put on it
    #[arg(long)]
    patch: Option<PathBuf>,
    /// Folder for one PNG an image
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
    let model = Model::open(
        &args.model,
        args.patch.as_deref(),
        args.sampling.schedule,
        device,
    )?;
    let layout = model.layout();
    anyhow::ensure!(
        matches!(layout.channels, 1 | 3),
        "the model makes latents of {} channels; images need a VAE, which this version does not have yet",
        layout.channels
    );
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder).with_context(|| format!("--out {}", folder.display()))?;
    }
    let bar = progress_bar(args.sampling.count as u64, 0, "images").with_prefix("sampling");
    let mut pixels = Vec::new();
    for batch in Sampling::new(&model, &args.sampling, device)? {
        let batch = batch?;
        if let Some(folder) = &args.out {
            let first = pixels.len() / layout.len();
            for (i, image) in batch.pixels.chunks(layout.len()).enumerate() {
                let png = Tiles::new(image, [1, layout.channels, layout.height, layout.width])?
                    .to_png(&plain())?;
                write_atomic(
                    &folder.join(format!("{:06}.png", first + i)),
                    png.as_bytes(),
                )?;
            }
        }
        bar.inc(batch.labels.len() as u64);
        pixels.extend(batch.pixels);
    }
    bar.finish_and_clear();
    if let Some(folder) = &args.out {
        println!("{}", folder.display());
    }
    if let Some(path) = &args.grid {
        let shape = [
            pixels.len() / layout.len(),
            layout.channels,
            layout.height,
            layout.width,
        ];
        let png = Tiles::new(&pixels, shape)?.to_png(&GridStyle {
            upscale: 2,
            ..GridStyle::default()
        })?;
        write_atomic(path, png.as_bytes())?;
        println!("{}", path.display());
    }
    if let Some(path) = &args.npz {
        write_npz(path, &pixels, layout)?;
        println!("{}", path.display());
    }
    Ok(())
}

/// One image as it is: no gap, no scaling.
fn plain() -> GridStyle {
    GridStyle {
        columns: 1,
        gap: 0,
        upscale: 1,
        ..GridStyle::default()
    }
}

/// `[count, C, H, W]` as `arr_0` `[count, H, W, C]`.
fn write_npz(path: &Path, pixels: &[u8], layout: ImageLayout) -> Result<()> {
    use npyz::WriterBuilder;
    let ImageLayout {
        channels,
        height,
        width,
    } = layout;
    let count = pixels.len() / layout.len();
    let mut archive = npyz::npz::NpzWriter::new(Cursor::new(Vec::new()));
    let shape = [count as u64, height as u64, width as u64, channels as u64];
    let failed = || format!("--npz {}", path.display());
    let mut array = archive
        .array("arr_0", Default::default())
        .with_context(failed)?
        .default_dtype()
        .shape(&shape)
        .begin_nd()
        .with_context(failed)?;
    for image in pixels.chunks(layout.len()) {
        for at in 0..height * width {
            for channel in 0..channels {
                array
                    .push(&image[channel * height * width + at])
                    .with_context(failed)?;
            }
        }
    }
    array.finish().with_context(failed)?;
    let bytes = archive
        .zip_writer()
        .finish()
        .with_context(failed)?
        .into_inner();
    Ok(write_atomic(path, &bytes)?)
}
