//! Making a folder of latents.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Tensor, TensorData};
use dmp_model::host;
use dmp_model::vae::Vae;
use indicatif::ProgressBar;

use super::key::Key;
use super::shard::{self, Shard};
use super::{INDEX, Index, captions};
use crate::data::open::fitted;
use crate::data::source::{Content, signature};
use crate::data::{Dataset, ImageShape, Source, to_unit};
use crate::output::check_target;
use crate::run::{Interrupt, Interrupted, progress_bar};

/// Images of a shard: what is lost at most when the work is stopped.
const SHARD: usize = 256;

/// How images become the autoencoder's input.
const PREPROCESSING: &str = "adm-centre-crop";

/// A share of the work, for several processes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Which, from 1.
    pub index: usize,
    /// Of how many.
    pub of: usize,
}

/// What is made, of what.
pub struct Request<'a> {
    /// The images: a folder, a file, or several by a `*` in the name.
    pub images: &'a str,
    /// The autoencoder.
    pub vae: &'a Vae,
    /// Its fingerprint.
    pub vae_sha256: &'a str,
    /// Side that images are cropped to.
    pub side: usize,
    /// Images encoded at a time.
    pub batch: usize,
    /// Side of the tiles that larger images are encoded in.
    pub tile: usize,
    /// Unreadable images that may be left out.
    pub max_bad: usize,
    /// The share of this process.
    pub part: Part,
    /// What computes.
    pub device: &'a Device,
}

/// How far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Built {
    /// Images encoded now.
    pub encoded: usize,
    /// Images whose latents are in the folder.
    pub images: usize,
    /// Images that could not be read.
    pub bad: usize,
    /// Whether other processes' shares are still missing.
    pub waits: bool,
}

/// Makes what is not there yet, and says what is there once all is.
///
/// # Errors
/// When too many images cannot be read, or the work is interrupted: what is done stays done.
pub fn build(request: &Request<'_>, folder: &Path) -> Result<Built> {
    // Before they are listed: what changes from now on is noticed at the end.
    let before = signature(request.images)?;
    let source = Source::open(request.images)?;
    fs::create_dir_all(folder).with_context(|| {
        format!(
            "{}: is no folder and cannot be made one; give another",
            folder.display()
        )
    })?;
    ensure!(
        Path::new(request.images).canonicalize().ok() != folder.canonicalize().ok(),
        "--out {}: holds the images themselves; give another folder",
        folder.display()
    );
    ensure!(
        !folder.join("config.toml").exists(),
        "--out {}: holds a run; give a folder of their own to latents",
        folder.display()
    );
    captions::spare(folder)?;
    let shape = request.latent_shape()?;
    let mut index = Index {
        vae_sha256: request.vae_sha256.to_owned(),
        preprocessing: format!("{PREPROCESSING} {}", request.side),
        shape: [shape.channels, shape.height, shape.width],
        classes: source.classes(),
        images: 0,
        source: std::path::absolute(request.images)?.display().to_string(),
        source_signature: before,
        captions_sha256: None,
        shards: Vec::new(),
    };
    index.spare(folder)?;
    check_target(&folder.join(INDEX))?;
    let interrupt = Interrupt::listen();
    let count = source.items().len();
    let bar = progress_bar(count as u64, 0, "images").with_prefix("encoding");
    let (mut encoded, mut unreadable) = (0, 0);
    let (mut shards, mut left_out) = (Vec::new(), Vec::new());
    for (index, first) in (0..count).step_by(SHARD).enumerate() {
        let chunk = first..count.min(first + SHARD);
        // What is there already takes time too.
        if interrupt.asked() {
            return Err(stopped());
        }
        let name = request.key(&source, chunk.clone()) + ".safetensors";
        let path = folder.join(&name);
        let found = match shard::read(&path, shape) {
            Ok(found) => Some(found),
            // Of another process, or none yet, or damaged: made anew.
            Err(_) if index % request.part.of == request.part.index - 1 => {
                let (made, of) = request.encode(&source, chunk.clone(), shape, &bar, &interrupt)?;
                ensure!(of + ".safetensors" == name, request.changed());
                shard::write(&path, &made, shape)?;
                encoded += made.labels.len();
                Some(made)
            }
            Err(_) => None,
        };
        bar.set_position(chunk.end as u64);
        unreadable += found.as_ref().map_or(0, |found| found.bad.len());
        request.tolerates(unreadable)?;
        shards.push((name, chunk));
        left_out.push(found.map(|found| found.bad));
    }
    // Other processes may have written theirs meanwhile; whoever is last finds all.
    for ((name, _), left_out) in shards.iter().zip(&mut left_out) {
        if left_out.is_none() {
            let found = shard::read(&folder.join(name), shape).ok();
            *left_out = found.map(|found| found.bad);
        }
    }
    bar.finish_and_clear();
    let mut names = Vec::new();
    let mut built = Built {
        encoded,
        images: 0,
        bad: 0,
        waits: left_out.iter().any(Option::is_none),
    };
    for ((_, chunk), bad) in shards.iter().zip(&left_out) {
        let Some(bad) = bad else { continue };
        built.images += chunk.len() - bad.len();
        built.bad += bad.len();
        let there = |index: &usize| !bad.contains(&(index - chunk.start));
        names.extend(chunk.clone().filter(there));
    }
    request.tolerates(built.bad)?;
    ensure!(
        signature(request.images)? == index.source_signature,
        request.changed()
    );
    if !built.waits {
        ensure!(
            built.images > 0,
            "{}: none of the {} images can be read; give images that can",
            request.images,
            built.bad
        );
        let items = names.iter().map(|&index| &source.items()[index]);
        index.captions_sha256 = captions::write(folder, items)?;
        index.images = built.images;
        index.shards = shards.into_iter().map(|(name, _)| name).collect();
        index.write(folder)?;
    }
    Ok(built)
}

fn stopped() -> anyhow::Error {
    let said =
        "stopped; the shards that are whole are kept, and the same command goes on from there";
    Interrupted(said.to_owned()).into()
}

impl Request<'_> {
    fn latent_shape(&self) -> Result<ImageShape> {
        let config = self.vae.config();
        let each = config.downsampling();
        ensure!(
            self.side > 0 && self.side.is_multiple_of(each),
            "--image-size {}: a latent covers {each}x{each} pixels; give a multiple of {each}",
            self.side
        );
        ensure!(
            self.tile >= each && self.tile.is_multiple_of(4 * each),
            "--tile {}: give a multiple of {}",
            self.tile,
            4 * each
        );
        Ok(ImageShape {
            channels: config.latent_channels,
            height: self.side / each,
            width: self.side / each,
        })
    }

    fn tolerates(&self, bad: usize) -> Result<()> {
        ensure!(
            bad <= self.max_bad,
            "{}: {bad} images cannot be read; mend or remove them, or give --max-bad {bad} or more",
            self.images
        );
        Ok(())
    }

    fn changed(&self) -> String {
        format!(
            "{}: images were changed while they were encoded; run the same command again",
            self.images
        )
    }

    /// The name of a shard, from its images as they lie there now.
    fn key(&self, source: &Source, chunk: Range<usize>) -> String {
        let mut key = Key::new(self, PREPROCESSING);
        for index in chunk {
            key.add(&source.content(index), source.label(index));
        }
        key.finish()
    }

    /// A shard, and its name by the very bytes that it was made of.
    fn encode(
        &self,
        source: &Source,
        chunk: Range<usize>,
        shape: ImageShape,
        bar: &ProgressBar,
        interrupt: &Interrupt,
    ) -> Result<(Shard, String)> {
        let pixels = ImageShape {
            channels: self.vae.config().in_channels,
            height: self.side,
            width: self.side,
        };
        let mut shard = Shard::default();
        let (mut images, mut key) = (Vec::new(), Key::new(self, PREPROCESSING));
        for (place, index) in chunk.enumerate() {
            let content = source.content(index);
            key.add(&content, source.label(index));
            match content.and_then(Content::picture) {
                Ok(picture) => {
                    images.extend(fitted(picture, pixels));
                    shard.labels.push(source.label(index));
                }
                Err(error) => {
                    let name = &source.items()[index].name;
                    bar.suspend(|| crate::tell!("{name}: left out: {error:#}"));
                    shard.bad.push(place);
                }
            }
        }
        let data = Dataset::new(images, shard.labels.clone(), pixels, usize::MAX)?;
        for first in (0..data.len()).step_by(self.batch) {
            let end = data.len().min(first + self.batch);
            let flipped = [false, true].map(|flip| self.gaussian(&data, first..end, flip));
            // Each image as it is and mirrored, one after the other.
            for image in 0..end - first {
                let rows = image * shape.len()..(image + 1) * shape.len();
                for (mean, std) in &flipped {
                    shard.latents.mean.extend_from_slice(&mean[rows.clone()]);
                    shard.latents.std.extend_from_slice(&std[rows.clone()]);
                }
            }
            bar.inc((end - first) as u64);
            if interrupt.asked() {
                return Err(stopped());
            }
        }
        Ok((shard, key.finish()))
    }

    /// Means and deviations of some images' latents.
    fn gaussian(&self, data: &Dataset, images: Range<usize>, flip: bool) -> (Vec<f32>, Vec<f32>) {
        let shape = data.shape();
        let mut values = Vec::with_capacity(images.len() * shape.len());
        for image in images.clone() {
            for row in data.pixels(image).unwrap_or_default().chunks(shape.width) {
                if flip {
                    values.extend(row.iter().rev().map(|&pixel| to_unit(pixel)));
                } else {
                    values.extend(row.iter().map(|&pixel| to_unit(pixel)));
                }
            }
        }
        let dims = [images.len(), shape.channels, shape.height, shape.width];
        let images = Tensor::<4>::from_data(TensorData::new(values, dims), self.device);
        let gaussian = self.vae.encode_tiled(images, self.tile);
        (host::values(gaussian.mean), host::values(gaussian.std))
    }
}
