//! Drawing images from a model: one lazy iterator serves `sample`, `eval` and `demo`.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor};
use clap::{Args, ValueEnum};
use dmp_math::diffusion::Diffusion;
use dmp_math::schedule::BetaSchedule;
use dmp_model::denoiser::{Denoiser, ImageLayout};
use dmp_model::sampler::{Guided, GuidedChannels, ImageNoise, Method, SampleRequest, sample};
use serde::Serialize;

use crate::DIFFUSION_STEPS;
use crate::compute::Dtype;
use crate::flags;
use crate::memory::ensure_fits;
use crate::models::Model;
use crate::run::{Interrupt, Interrupted, Workers};

/// The rule of a sampler's steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampler {
    /// Ancestral, with the learned variance
    Ddpm,
    /// Implicit; deterministic unless --eta is above 0
    Ddim,
}

/// Channels that guidance applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channels {
    /// The first three, as the original DiT code does
    Three,
    /// All of them
    All,
}

/// How images are drawn.
#[derive(Debug, Clone, Args, Serialize)]
pub struct SamplingArgs {
    /// Images to draw
    #[arg(long, default_value_t = 16, value_parser = flags::count)]
    pub count: usize,
    /// Seed of the noise; image i has the stream (seed, i), whatever the batch size
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Sampler
    #[arg(long, value_enum, default_value_t = Sampler::Ddpm)]
    pub sampler: Sampler,
    /// Steps: '50', 'ddim50' (evenly strided) or counts a section, '10,15,20'
    #[arg(long, default_value = "50")]
    pub sampling_steps: String,
    /// DDIM's share of ancestral noise, from 0 to 1
    #[arg(long, default_value_t = 0.0)]
    pub eta: f64,
    /// Classifier-free guidance scale; 1 is none
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub guidance: f64,
    /// Channels of the noise that are guided
    #[arg(long, value_enum, default_value_t = Channels::Three)]
    pub guided_channels: Channels,
    /// Draw this class only [default: classes in turn]
    #[arg(long)]
    pub class: Option<usize>,
    /// Height and width of the images, as in 40x28, or one number for both [default: what the model was trained with]
    #[arg(long, value_parser = flags::grid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<[usize; 2]>,
    /// Use the patch at timesteps below this one only, and the backbone alone at noisier ones [default: as it was trained]
    #[arg(long, value_parser = flags::timestep)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch_below: Option<usize>,
    /// Autoencoder that makes images of latents: a folder that diffusers wrote [default: 'vae' in the folder of --model]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vae: Option<PathBuf>,
    /// Images drawn at a time, on each core of a CPU
    #[arg(long, default_value_t = 64, value_parser = flags::batch)]
    pub batch: usize,
    /// Number type of the backbone's products
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    pub dtype: Dtype,
    /// Noise schedule the model was trained with, linear or squaredcos_cap_v2 [default: what its file
    /// says, or linear]
    #[arg(long)]
    #[serde(skip)]
    pub schedule: Option<BetaSchedule>,
}

impl Default for SamplingArgs {
    /// What a command has without flags.
    fn default() -> Self {
        Self {
            count: 16,
            seed: 0,
            sampler: Sampler::Ddpm,
            sampling_steps: "50".to_owned(),
            eta: 0.0,
            guidance: 1.0,
            guided_channels: Channels::Three,
            class: None,
            size: None,
            patch_below: None,
            vae: None,
            batch: 64,
            dtype: Dtype::F32,
            schedule: None,
        }
    }
}

impl SamplingArgs {
    /// The first of these flags that asks for something; they mean nothing for given images.
    pub fn first_given(&self) -> Option<&'static str> {
        let default = Self::default();
        flags::first_given(&[
            ("--count", self.count != default.count),
            ("--seed", self.seed != default.seed),
            ("--sampler", self.sampler != default.sampler),
            (
                "--sampling-steps",
                self.sampling_steps != default.sampling_steps,
            ),
            ("--eta", self.eta != default.eta),
            ("--guidance", self.guidance != default.guidance),
            (
                "--guided-channels",
                self.guided_channels != default.guided_channels,
            ),
            ("--class", self.class != default.class),
            ("--size", self.size.is_some()),
            ("--patch-below", self.patch_below.is_some()),
            ("--vae", self.vae.is_some()),
            ("--batch", self.batch != default.batch),
            ("--dtype", self.dtype != default.dtype),
            ("--schedule", self.schedule != default.schedule),
        ])
    }
}

/// Opens what images are drawn from: the backbone `name`, with the patch in `patch` if one is given, the autoencoder of a model
/// that draws latents, all for images of the size asked for.
///
/// # Errors
/// What cannot be opened or does not fit, and latents without an autoencoder.
pub fn open_model(
    name: &str,
    patch: Option<&Path>,
    args: &SamplingArgs,
    device: &Device,
) -> Result<Model> {
    let model = Model::open(name, patch, args.schedule, args.dtype, device)?
        .with_vae(args.vae.as_deref(), name, device)?
        .resized(args.size)
        .context("--size")?
        .patched_below(args.patch_below)
        .context("--patch-below")?;
    let channels = model.image_layout().channels;
    anyhow::ensure!(
        matches!(channels, 1 | 3),
        "the model draws latents of {channels} channels; give the autoencoder that makes images of them with --vae"
    );
    Ok(model)
}

/// Some images, in the order of their indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampledBatch {
    /// Pixels `[count, C, H, W]`.
    pub pixels: Vec<u8>,
    /// Label each was drawn for.
    pub labels: Vec<usize>,
}

/// Draws images batch by batch, a batch on each worker at a time.
pub struct Sampling<'a> {
    model: &'a Model,
    recipe: Recipe,
    /// Images drawn or being drawn.
    begun: usize,
    /// Batches drawn and not yet taken.
    ready: VecDeque<Result<SampledBatch>>,
    workers: Workers,
}

/// How a batch is drawn, apart from the model.
struct Recipe {
    args: SamplingArgs,
    layout: ImageLayout,
    diffusion: Diffusion,
    num_classes: usize,
    interrupt: Interrupt,
    device: Device,
}

impl<'a> Sampling<'a> {
    /// Checks the request against the model, which is of the request's size already; draws nothing yet.
    pub fn new(model: &'a Model, args: &SamplingArgs, device: &Device) -> Result<Self> {
        anyhow::ensure!(
            (0.0..=1.0).contains(&args.eta),
            "--eta is {}; give a number from 0 to 1",
            args.eta
        );
        anyhow::ensure!(
            args.eta == 0.0 || args.sampler == Sampler::Ddim,
            "--eta is DDIM's; give --sampler ddim with it"
        );
        anyhow::ensure!(
            (args.guidance as f32).is_finite(),
            "--guidance is {}; give a number, 1 for none",
            args.guidance
        );
        if let Some(class) = args.class {
            anyhow::ensure!(
                class < model.num_classes,
                "--class {class}: the model has {} classes; give a number from 0 to {}",
                model.num_classes,
                model.num_classes - 1
            );
        }
        if args.guidance != 1.0 {
            model
                .null_label()
                .context("--guidance: the model was trained without label dropout, so there is nothing to guide from; leave the flag out")?;
        }
        let workers = Workers::on(device)?;
        let at_once = args.count.min(args.batch.saturating_mul(workers.count()));
        let passes = if args.guidance == 1.0 { 1 } else { 2 };
        ensure_fits(
            &format!("--batch {}", args.batch),
            passes * at_once as u128 * model.least_bytes_an_image(),
            "give a smaller --batch, or a smaller --size",
        )?;
        let diffusion = Diffusion::new(model.schedule, DIFFUSION_STEPS)
            .respaced(&args.sampling_steps)
            .context("--sampling-steps")?;
        model.check_timesteps(diffusion.timestep_map())?;
        Ok(Self {
            model,
            recipe: Recipe {
                args: args.clone(),
                layout: model.layout(),
                diffusion,
                num_classes: model.num_classes,
                interrupt: Interrupt::listen(),
                device: device.clone(),
            },
            begun: 0,
            ready: VecDeque::new(),
            workers,
        })
    }

    /// Draws a batch on every worker; small requests are shared out.
    fn draw_round(&mut self) {
        let (count, workers) = (self.recipe.args.count, self.workers.count());
        let share = (count - self.begun).div_ceil(workers);
        let batch = self.recipe.args.batch.min(share);
        let mut work = Vec::new();
        while work.len() < workers && self.begun < count {
            let first = self.begun;
            self.begun = count.min(first + batch);
            work.push((self.model.clone(), first..self.begun));
        }
        let recipe = &self.recipe;
        let drawn = self
            .workers
            .map(work, |(model, images)| recipe.draw(&model, images));
        self.ready.extend(drawn);
    }
}

impl Recipe {
    fn draw(&self, model: &Model, images: Range<usize>) -> Result<SampledBatch> {
        let labels: Vec<usize> = images
            .clone()
            .map(|i| self.args.class.unwrap_or(i % self.num_classes))
            .collect();
        let method = match self.args.sampler {
            Sampler::Ddpm => Method::Ddpm,
            Sampler::Ddim => Method::Ddim { eta: self.args.eta },
        };
        let clip = !model.draws_latents();
        let request = SampleRequest {
            diffusion: &self.diffusion,
            method,
            clip,
            labels: &labels,
        };
        let indices = images.start as u64..images.end as u64;
        let mut noise = ImageNoise::new(self.args.seed, indices, self.layout, &self.device);
        let go_on = |_, _| !self.interrupt.asked();
        let channels = match self.args.guided_channels {
            Channels::Three => GuidedChannels::FirstThree,
            Channels::All => GuidedChannels::All,
        };
        let guided = (self.args.guidance != 1.0)
            .then(|| Guided::new(model, self.args.guidance, channels))
            .flatten();
        let images = match guided {
            Some(guided) => sample(&guided, &request, &mut noise, go_on),
            None => sample(model, &request, &mut noise, go_on),
        };
        let images = images
            .ok_or_else(|| Interrupted("sampling stopped; nothing more was written".to_owned()))?;
        Ok(SampledBatch {
            pixels: to_pixels(model.images(images))?,
            labels,
        })
    }
}

impl Iterator for Sampling<'_> {
    type Item = Result<SampledBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() {
            self.draw_round();
        }
        self.ready.pop_front()
    }
}

/// From [-1, 1] to 0 … 255, as the reference implementations round: ⌊127.5·x + 128⌋, clamped.
fn to_pixels(images: Tensor<4>) -> Result<Vec<u8>> {
    let values = dmp_model::host::values(images);
    anyhow::ensure!(
        values.iter().all(|x| x.is_finite()),
        "the model's samples hold values that are no finite numbers; use less --guidance, or another model or patch"
    );
    Ok(values
        .iter()
        .map(|x| (127.5 * x + 128.0).clamp(0.0, 255.0) as u8)
        .collect())
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;

    #[test]
    fn the_default_is_what_a_command_has_without_flags() {
        let command = SamplingArgs::augment_args(Command::new("sample"));
        let parsed = SamplingArgs::from_arg_matches(&command.get_matches_from(["sample"])).unwrap();
        let json = |args: &SamplingArgs| serde_json::to_value(args).unwrap();
        assert_eq!(json(&parsed), json(&SamplingArgs::default()));
        assert_eq!(parsed.schedule, None);
    }
}
