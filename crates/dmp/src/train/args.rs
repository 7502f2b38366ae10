//! Flags that every training command has, and the settings they make.

use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::Device;
use clap::Args;
use dmp_math::timesteps::Timesteps;
use dmp_math::weight::LossWeight;
use dmp_model::dit::DitConfig;
use dmp_model::fused;
use serde::Serialize;

use super::{Cadence, Estimate, Work};
use crate::compute::CheckpointingName;
use crate::data::{Classes, Dataset, ImageShape, Wanted};
use crate::flags;
use crate::memory::ensure_fits;
use crate::output::say;

/// What a dry run prints.
#[derive(Serialize)]
struct Plan<'a, S> {
    #[serde(flatten)]
    settings: &'a S,
    estimate: Estimate,
}

/// What to train on, where, and how often to write.
#[derive(Debug, Args)]
pub struct LoopArgs {
    /// What to train on: 'demo' (the embedded Fashion-MNIST), a folder of images (a sub-folder a class), .tar (WebDataset),
    /// .parquet (Hugging Face) or .npz files of images (a * in the name stands for anything), or latents of 'dmp cache'
    #[arg(long, default_value = "demo")]
    pub data: String,
    /// Train on images of these classes only, as in 7, 5-9 or 0,2,5-9 [default: all]
    #[arg(long)]
    pub class: Option<Classes>,
    /// Run directory; what is trained is in it at the end
    #[arg(long)]
    pub out: PathBuf,
    /// Images a step
    #[arg(long, default_value_t = 128, value_parser = flags::batch)]
    pub batch: usize,
    /// Pieces that each core's images of a step are computed in, one after the other, to save memory; rounding differs a little
    #[arg(long, default_value_t = 1, value_parser = flags::batch)]
    pub accumulate: usize,
    /// Mirror images at random [default: true; false for 'demo', where every shoe points the same way]
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub flip: Option<bool>,
    /// Unreadable images that may be left out
    #[arg(long, default_value_t = 0)]
    max_bad: usize,
    /// Scale gradients down to this norm [default: off]
    #[arg(long, value_parser = flags::positive)]
    pub clip_norm: Option<f64>,
    /// Weight of the loss over noise levels: constant, min-snr or min-snr:GAMMA, p2 or p2:K,GAMMA
    #[arg(long, default_value_t = LossWeight::Constant)]
    pub loss_weight: LossWeight,
    /// How often each timestep is drawn: uniform, importance (1/noise level, with the same expected gradient, less noisy) or mixed (half of each)
    /// [default: importance in train, uniform in pretrain]
    #[arg(long)]
    timesteps: Option<Timesteps>,
    /// Hold each prediction against the mean of the noises that may have made the noisy image of any of this many images of its
    /// class, not against the one that was drawn: the same expected gradient, less noisy [default: off]
    #[arg(long, value_parser = flags::two_or_more)]
    pub stable_targets: Option<usize>,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Steps between lines of stats.jsonl
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    log_every: u64,
    /// Steps between checkpoints
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_every: u64,
    /// What the backward pass computes anew to save memory; the result is the same to the bit
    #[arg(long, value_enum, default_value_t = CheckpointingName::None)]
    pub checkpointing: CheckpointingName,
    /// Never remove checkpoints at multiples of this
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    keep_every: Option<u64>,
    /// Check flags, model, data and run directory, print settings and what a step takes, and train nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// A number with the prefix that leaves it below `step`.
fn scaled(number: f64, step: f64) -> String {
    let prefixes = ["", "k", "M", "G", "T", "P"];
    let place = (0..prefixes.len() - 1).take_while(|&place| number >= step.powi(place as i32 + 1));
    let place = place.count();
    format!(
        "{:.1} {}",
        number / step.powi(place as i32),
        prefixes[place]
    )
}

/// Says so where no step has the whole rate.
pub fn note_warmup(warmup: u64, steps: u64) {
    if warmup >= steps {
        crate::tell!(
            "note: --warmup {warmup} leaves none of --steps {steps} with the whole rate; give fewer steps of warm-up"
        );
    }
}

impl LoopArgs {
    /// Refuses a step that cannot fit into memory.
    ///
    /// # Errors
    /// With what is needed at the least and what is there.
    pub fn ensure_memory(&self, work: &Work<'_>, device: &Device) -> Result<()> {
        if !fused::available(device) {
            return Ok(());
        }
        let said = format!(
            "a step of {} images and {} parameters",
            self.batch, work.trained
        );
        ensure_fits(
            &said,
            work.memory(),
            "give a smaller --batch, --accumulate, --checkpointing block or fewer parameters",
        )
    }

    /// What a step computes that trains the whole of a backbone.
    pub fn whole_work<'a>(&self, sizes: &'a DitConfig) -> Work<'a> {
        Work {
            weights_learn: true,
            ..self.work(sizes, 0, sizes.num_params())
        }
    }

    /// What a step computes that trains an addition to a frozen backbone.
    pub fn work<'a>(&self, sizes: &'a DitConfig, added: usize, trained: usize) -> Work<'a> {
        Work {
            sizes,
            prepended: 0,
            added,
            trained,
            weights_learn: false,
            joined: 0,
            batch: self.batch,
            accumulate: self.accumulate,
            checkpointing: self.checkpointing,
        }
    }

    /// In a dry run prints what the run is to be.
    ///
    /// # Errors
    /// When standard output takes no more.
    pub fn tell(&self, settings: &impl Serialize, work: &Work<'_>) -> Result<()> {
        if !self.dry_run {
            return Ok(());
        }
        let estimate = work.estimate();
        let plan = Plan { settings, estimate };
        say(toml::to_string(&plan)?.trim_end())?;
        crate::tell!(
            "a step of {} images: {}FLOP and at least {}iB of memory",
            work.batch,
            scaled(estimate.step_flops as f64, 1000.0),
            scaled(estimate.memory_bytes as f64, 1024.0)
        );
        if estimate.added_parameters > 0 {
            crate::tell!(
                "{} parameters are added (+{:.2} %)",
                estimate.added_parameters,
                estimate.added_percent
            );
        }
        Ok(())
    }

    /// How timesteps are drawn, where nothing is said as `default` says.
    pub fn timesteps(&self, default: Timesteps) -> Timesteps {
        self.timesteps.unwrap_or(default)
    }

    /// Whether images are mirrored, of data that is `oriented` or not.
    pub fn flips(&self, oriented: bool) -> bool {
        self.flip.unwrap_or(!oriented)
    }

    /// Opens the data, made into images of this shape.
    pub fn open_data(&self, shape: Option<ImageShape>) -> Result<Dataset> {
        let wanted = Wanted {
            shape,
            max_bad: self.max_bad,
        };
        crate::data::open(&self.data, wanted, self.class.as_ref())
    }

    /// How often to write.
    pub fn cadence(&self) -> Cadence {
        Cadence {
            log_every: self.log_every,
            checkpoint_every: self.checkpoint_every,
            keep_every: self.keep_every,
        }
    }
}
