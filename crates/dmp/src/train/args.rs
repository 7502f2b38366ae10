//! Flags that every training command has, and the settings they make.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use dmp_math::timesteps::Timesteps;
use dmp_math::weight::LossWeight;

use super::Cadence;
use crate::compute::CheckpointingName;
use crate::data::{Dataset, ImageShape, Wanted};
use crate::flags;

/// What to train on, where, and how often to write.
#[derive(Debug, Args)]
pub struct LoopArgs {
    /// What to train on: 'demo' (the embedded Fashion-MNIST), a folder of images (a sub-folder a class), or an .npz of
    /// images
    #[arg(long, default_value = "demo")]
    pub data: String,
    /// Run directory; what is trained is in it at the end
    #[arg(long)]
    pub out: PathBuf,
    /// Images a step
    #[arg(long, default_value_t = 128, value_parser = flags::batch)]
    pub batch: usize,
    /// Pieces that each core's images of a step are computed in, one after the other, to save memory; sums are rounded otherwise
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
    /// How often each timestep is drawn: uniform, or importance (1/noise level, with the same expected gradient, less noisy)
    /// [default: importance in train, uniform in pretrain]
    #[arg(long)]
    timesteps: Option<Timesteps>,
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
    /// Check flags, model, data and run directory, and train nothing
    #[arg(long)]
    pub dry_run: bool,
}

impl LoopArgs {
    /// How timesteps are drawn, where nothing is said as `default` says.
    pub fn timesteps(&self, default: Timesteps) -> Timesteps {
        self.timesteps.unwrap_or(default)
    }

    /// Whether images of `data` are mirrored.
    pub fn flips(&self, data: &Dataset) -> bool {
        self.flip.unwrap_or(!data.is_oriented())
    }

    /// Opens the data, made into images of this shape.
    pub fn open_data(&self, shape: Option<ImageShape>) -> Result<Dataset> {
        let wanted = Wanted {
            shape,
            max_bad: self.max_bad,
        };
        crate::data::open(&self.data, wanted)
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
