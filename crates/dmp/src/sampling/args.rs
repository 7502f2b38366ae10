//! The flags that say how images are drawn.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use dmp_math::schedule::BetaSchedule;
use serde::Serialize;

use crate::compute::Dtype;
use crate::data::Classes;
use crate::flags;
use crate::models::PatchUse;

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
    /// Draw these classes only, in turn, as in 7, 5-9 or 0,2,5-9 [default: all]
    #[arg(long)]
    pub class: Option<Classes>,
    /// Height and width of the images, as in 40x28, or one number for both [default: what the model was trained with]
    #[arg(long, value_parser = flags::grid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<[usize; 2]>,
    /// Use the patch or LoRA at timesteps below this one only, and the backbone alone at noisier ones [default: as it was trained]
    #[arg(long, value_parser = flags::timestep)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch_below: Option<usize>,
    /// How strongly the patch or LoRA acts: 0 is the bare backbone, 1 as it was trained
    #[arg(long, value_parser = flags::strength, allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch_scale: Option<f64>,
    /// Autoencoder that makes images of latents: a folder that diffusers wrote, or owner/name on the hub [default: 'vae' in the folder of
    /// --model]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vae: Option<PathBuf>,
    /// Images drawn at a time, on each core of a CPU; those in hand are lost when drawing is stopped
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
            patch_scale: None,
            vae: None,
            batch: 64,
            dtype: Dtype::F32,
            schedule: None,
        }
    }
}

impl SamplingArgs {
    /// How a patch is used.
    pub fn patch_use(&self) -> PatchUse {
        PatchUse {
            scale: self.patch_scale,
            below: self.patch_below,
        }
    }

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
            ("--patch-scale", self.patch_scale.is_some()),
            ("--vae", self.vae.is_some()),
            ("--batch", self.batch != default.batch),
            ("--dtype", self.dtype != default.dtype),
            ("--schedule", self.schedule != default.schedule),
        ])
    }
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
