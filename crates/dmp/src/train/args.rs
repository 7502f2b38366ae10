//! Flags that every training command has, and the settings they make.

use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::Device;
use clap::Args;
use dmp_math::timesteps::Timesteps;
use dmp_math::weight::LossWeight;
use dmp_model::dit::DitConfig;
use dmp_model::fused;

use super::Cadence;
use crate::compute::CheckpointingName;
use crate::data::{Dataset, ImageShape, Wanted};
use crate::flags;
use crate::memory::ensure_fits;

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
    /// Refuses a step that cannot fit into memory: activations of `config`'s blocks, and of each of `trained` parameters its
    /// value, gradient and two moments. An estimate from below.
    ///
    /// # Errors
    /// With what is needed, what there is, and what to give instead.
    pub fn ensure_memory(&self, config: &DitConfig, trained: usize, device: &Device) -> Result<()> {
        if !fused::available(device) {
            return Ok(());
        }
        // What a block keeps of a token, in widths of it; see `Checkpointing`.
        let kept = match self.checkpointing {
            CheckpointingName::None => 10,
            CheckpointingName::Mlp => 6,
            CheckpointingName::Block => 1,
        };
        let images = self.batch.div_ceil(self.accumulate) as u128;
        let token = (config.depth * config.hidden_size * kept) as u128;
        let values = images * config.num_tokens() as u128 * token + 4 * trained as u128;
        ensure_fits(
            &format!("a step of {} images and {trained} parameters", self.batch),
            4 * values,
            "give a smaller --batch, --accumulate, --checkpointing block or fewer parameters",
        )
    }

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
