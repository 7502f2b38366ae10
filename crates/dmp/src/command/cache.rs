//! `dmp cache`: latents of a folder of images, computed once.

use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::Device;
use clap::Args;

use crate::data::latents::{Part, Request, build};
use crate::flags;
use crate::models::open_vae;
use crate::output::say;

/// Encode images into latents, once, for training on them; rerun the same command to go on, or after images have changed
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dmp cache --data photographs/ --vae sd-vae/ --image-size 256 --out latents/\n  \
                  dmp train --model dit-xl-2.pt --data latents/ --out runs/patch"
)]
pub struct CacheArgs {
    /// Images: a folder (a sub-folder a class), .tar (WebDataset), .parquet (Hugging Face) or .npz files; a * in the name
    /// stands for anything
    #[arg(long)]
    data: String,
    /// Autoencoder: a folder that diffusers wrote, of a pipeline or of the AutoencoderKL itself, or owner/name on the hub
    #[arg(long)]
    vae: PathBuf,
    /// Side that images are cropped to
    #[arg(long, value_parser = flags::side)]
    image_size: usize,
    /// Folder for the latents
    #[arg(long)]
    out: PathBuf,
    /// Images encoded at a time
    #[arg(long, default_value_t = 4, value_parser = flags::batch)]
    batch: usize,
    /// Larger images are encoded in tiles of this side, blended where they overlap
    #[arg(long, default_value_t = 512, value_parser = flags::side)]
    tile: usize,
    /// Unreadable images that may be left out
    #[arg(long, default_value_t = 0)]
    max_bad: usize,
    /// Share of this process, as in 2/4, where several work on one folder
    #[arg(long, default_value = "1/1", value_parser = part)]
    part: Part,
}

fn part(text: &str) -> Result<Part, String> {
    let numbers = text.split_once('/');
    let numbers = numbers.and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
    match numbers {
        Some((index, of)) if (1..=of).contains(&index) => Ok(Part { index, of }),
        _ => Err("give which of how many, as in 2/4".to_owned()),
    }
}

/// Runs the command.
pub fn cache(args: &CacheArgs, device: &Device) -> Result<()> {
    anyhow::ensure!(
        args.data != "demo",
        "--data demo: the embedded images are for a model of pixels; give images of your own"
    );
    let file = open_vae(&args.vae, device)?;
    let request = Request {
        images: &args.data,
        vae: &file.vae,
        vae_sha256: &file.sha256,
        side: args.image_size,
        batch: args.batch,
        tile: args.tile,
        max_bad: args.max_bad,
        part: args.part,
        device,
    };
    let built = build(&request, &args.out)?;
    crate::tell!(
        "{} images, {} encoded now, {} unreadable{}",
        built.images,
        built.encoded,
        built.bad,
        if built.waits {
            "; the shares of other processes are still to come, and the last one to end makes the folder whole"
        } else {
            ""
        }
    );
    say(args.out.display())?;
    Ok(())
}
