//! Drawing images from a model: one lazy iterator serves `sample`, `eval` and `demo`.

mod args;
mod drawing;
mod folder;

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor};
use dmp_math::diffusion::Diffusion;
use dmp_model::denoiser::{Denoiser, ImageLayout};
use dmp_model::sampler::{Guided, GuidedChannels, ImageNoise, Method, SampleRequest, sample};

pub use args::{Channels, Sampler, SamplingArgs};
pub use drawing::{Drawing, next_batch};

use crate::DIFFUSION_STEPS;
use crate::memory::ensure_fits;
use crate::models::Model;
use crate::run::{Interrupt, Interrupted, Workers};

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
    let used = args.patch_use();
    let model = Model::open(name, patch, used, args.schedule, args.dtype, device)?
        .with_vae(args.vae.as_deref(), name, device)?
        .resized(args.size)
        .context("--size")?;
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
    /// Images of the batches to draw next, where not all of a round are to be drawn.
    planned: Vec<Range<usize>>,
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
        if let Some(classes) = &args.class {
            anyhow::ensure!(
                model.num_classes > 1,
                "--class {classes}: the model has no classes; leave it out"
            );
        }
        if let Some(classes) = &args.class
            && let Some(class) = classes.beyond(model.num_classes)
        {
            anyhow::bail!(
                "--class {classes}: the model has {} classes; give numbers from 0 to {}, not {class}",
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
            planned: Vec::new(),
            ready: VecDeque::new(),
            workers,
        })
    }

    /// Leaves out batches that are among the first `there` images, so that the rest is drawn as it would have been after them.
    /// Gives the images of each.
    fn skip_drawn(&mut self, there: usize) -> Vec<Range<usize>> {
        let mut skipped = Vec::new();
        while self.planned.is_empty() && self.begun < self.recipe.args.count {
            let round = self.next_round().into_iter();
            let (drawn, planned): (Vec<_>, Vec<_>) = round.partition(|images| images.end <= there);
            skipped.extend(drawn);
            self.planned = planned;
        }
        skipped
    }

    /// Images of a batch for every worker; small requests are shared out.
    fn next_round(&mut self) -> Vec<Range<usize>> {
        let (count, workers) = (self.recipe.args.count, self.workers.count());
        let share = (count - self.begun).div_ceil(workers);
        let batch = self.recipe.args.batch.min(share);
        let mut round = Vec::new();
        while round.len() < workers && self.begun < count {
            let first = self.begun;
            self.begun = count.min(first + batch);
            round.push(first..self.begun);
        }
        round
    }

    /// Draws a batch on every worker.
    fn draw_round(&mut self) {
        let round = match std::mem::take(&mut self.planned) {
            none if none.is_empty() => self.next_round(),
            planned => planned,
        };
        let work = round
            .into_iter()
            .map(|images| (self.model.clone(), images))
            .collect();
        let recipe = &self.recipe;
        let drawn = self
            .workers
            .map(work, |(model, images)| recipe.draw(&model, images));
        self.ready.extend(drawn);
    }
}

impl Recipe {
    /// What images are drawn for.
    fn labels(&self, images: Range<usize>) -> Vec<usize> {
        let label = |i| match &self.args.class {
            Some(classes) => classes.in_turn(i),
            None => i % self.num_classes,
        };
        images.map(label).collect()
    }

    fn draw(&self, model: &Model, images: Range<usize>) -> Result<SampledBatch> {
        let labels = self.labels(images.clone());
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
        "the model's samples hold values that are no finite numbers; use less --guidance or less --patch-scale, or another model or patch"
    );
    Ok(values
        .iter()
        .map(|x| (127.5 * x + 128.0).clamp(0.0, 255.0) as u8)
        .collect())
}
