//! Sizes of an autoencoder, as diffusers writes them in `vae/config.json`.

use serde::{Deserialize, Serialize};

/// AutoencoderKL's configuration. Keys that only say how it was trained or is run are left unread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VaeConfig {
    /// Channels of images.
    #[serde(default = "three")]
    pub in_channels: usize,
    /// Channels of decoded images.
    #[serde(default = "three")]
    pub out_channels: usize,
    /// Channels of each level, from the images' size downwards; each level but the last halves it.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks a level on the way down; one more on the way up.
    #[serde(default = "one")]
    pub layers_per_block: usize,
    /// Channels of latents.
    #[serde(default = "four")]
    pub latent_channels: usize,
    /// Groups of each GroupNorm.
    #[serde(default = "groups")]
    pub norm_num_groups: usize,
    /// What latents are multiplied by, so that their deviation is about 1.
    #[serde(default = "scale")]
    pub scaling_factor: f64,
    /// What is taken from latents before that.
    #[serde(default)]
    pub shift_factor: Option<f64>,
    /// Means of latents' channels, where each has its own; not known here.
    #[serde(default, skip_serializing)]
    pub latents_mean: Option<Vec<f64>>,
    /// Deviations of latents' channels, likewise.
    #[serde(default, skip_serializing)]
    pub latents_std: Option<Vec<f64>>,
    /// Side of the images it was made for.
    #[serde(default = "side")]
    pub sample_size: usize,
    /// Whether the middle blocks attend.
    #[serde(default = "yes")]
    pub mid_block_add_attention: bool,
    /// Whether a 1×1 convolution follows the encoder.
    #[serde(default = "yes")]
    pub use_quant_conv: bool,
    /// Whether a 1×1 convolution precedes the decoder.
    #[serde(default = "yes")]
    pub use_post_quant_conv: bool,
    /// Kinds of the levels on the way down; only `DownEncoderBlock2D` is known.
    #[serde(default)]
    pub down_block_types: Vec<String>,
    /// Kinds of the levels on the way up; only `UpDecoderBlock2D` is known.
    #[serde(default)]
    pub up_block_types: Vec<String>,
    /// The activation; only SiLU is known.
    #[serde(default = "silu")]
    pub act_fn: String,
    /// The class; only `AutoencoderKL` is known.
    #[serde(rename = "_class_name", default, skip_serializing)]
    pub class_name: Option<String>,
}

fn one() -> usize {
    1
}

fn three() -> usize {
    3
}

fn four() -> usize {
    4
}

fn groups() -> usize {
    32
}

/// Diffusers' default, which is Stable Diffusion 1.x's.
fn scale() -> f64 {
    0.18215
}

fn side() -> usize {
    32
}

fn yes() -> bool {
    true
}

fn silu() -> String {
    "silu".to_owned()
}

/// A configuration that cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaeConfigError {
    /// A kind of block, or an activation, that this program does not know.
    #[error(
        "'{key}' has {found}, and only {known} is known here; use an AutoencoderKL of Stable Diffusion's kind"
    )]
    Unknown {
        /// The key in `config.json`.
        key: &'static str,
        /// What it says.
        found: String,
        /// What it may say.
        known: &'static str,
    },
    /// Sizes that make no network.
    #[error("'{key}' is {found}; {mend}")]
    Size {
        /// The key in `config.json`.
        key: &'static str,
        /// What it says.
        found: String,
        /// What it should say.
        mend: &'static str,
    },
}

/// The class that is known here.
const KNOWN: &str = "AutoencoderKL";

impl VaeConfig {
    /// Pixels a latent covers in each direction: 2 to the number of levels but one.
    pub fn downsampling(&self) -> usize {
        1 << (self.block_out_channels.len().max(1) - 1)
    }

    /// Parameters that a network of these sizes has at the least: a convolution of 3×3 among its own channels in each block of
    /// each level, of which there is one more on the way up.
    pub fn least_params(&self) -> usize {
        let blocks = 2 * self.layers_per_block + 1;
        let levels = self.block_out_channels.iter();
        levels
            .map(|&channels| blocks.saturating_mul(9 * channels * channels))
            .fold(0, usize::saturating_add)
    }

    /// Refuses what cannot be built.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> Result<(), VaeConfigError> {
        let size = |key, found: String, mend| Err(VaeConfigError::Size { key, found, mend });
        let levels = &self.block_out_channels;
        if levels.is_empty() || levels.len() > 8 {
            return size(
                "block_out_channels",
                format!("{levels:?}"),
                "give 1 to 8 levels",
            );
        }
        let groups = self.norm_num_groups;
        if groups == 0
            || levels
                .iter()
                .any(|&channels| channels == 0 || channels % groups != 0)
        {
            return size(
                "norm_num_groups",
                groups.to_string(),
                "every level's channels must be a multiple of it",
            );
        }
        let large = |count: usize| count == 0 || count > 1 << 14;
        for (key, count) in [
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("latent_channels", self.latent_channels),
            ("layers_per_block", self.layers_per_block),
        ] {
            if large(count) {
                return size(key, count.to_string(), "give a number from 1 to 16384");
            }
        }
        if levels.iter().any(|&channels| large(channels)) {
            return size(
                "block_out_channels",
                format!("{levels:?}"),
                "give at most 16384 a level",
            );
        }
        if !(self.scaling_factor.is_finite() && self.scaling_factor != 0.0) {
            let found = self.scaling_factor.to_string();
            return size("scaling_factor", found, "give a number that is not 0");
        }
        self.check_kinds()
    }

    fn check_kinds(&self) -> Result<(), VaeConfigError> {
        for (key, kinds, known) in [
            (
                "down_block_types",
                &self.down_block_types,
                "DownEncoderBlock2D",
            ),
            ("up_block_types", &self.up_block_types, "UpDecoderBlock2D"),
        ] {
            if let Some(found) = kinds.iter().find(|kind| *kind != known) {
                let found = format!("'{found}'");
                return Err(VaeConfigError::Unknown { key, found, known });
            }
            if !kinds.is_empty() && kinds.len() != self.block_out_channels.len() {
                return Err(VaeConfigError::Size {
                    key,
                    found: format!("{} levels", kinds.len()),
                    mend: "give as many as block_out_channels has",
                });
            }
        }
        for (key, each) in [
            ("latents_mean", &self.latents_mean),
            ("latents_std", &self.latents_std),
        ] {
            if each.is_some() {
                return Err(VaeConfigError::Unknown {
                    key,
                    found: "a value a channel".to_owned(),
                    known: "null",
                });
            }
        }
        if let Some(class) = self.class_name.as_ref().filter(|class| *class != KNOWN) {
            return Err(VaeConfigError::Unknown {
                key: "_class_name",
                found: format!("'{class}'"),
                known: KNOWN,
            });
        }
        if !matches!(self.act_fn.as_str(), "silu" | "swish") {
            return Err(VaeConfigError::Unknown {
                key: "act_fn",
                found: format!("'{}'", self.act_fn),
                known: "silu",
            });
        }
        Ok(())
    }
}
