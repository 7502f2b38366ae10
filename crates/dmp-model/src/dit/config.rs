//! Sizes of a DiT.

use serde::{Deserialize, Serialize};

/// Everything needed to build a [`super::Dit`]; names are the original implementation's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DitConfig {
    /// Side of the (square) input, in pixels or latents.
    pub input_size: usize,
    /// Side of a patch: one token.
    pub patch_size: usize,
    /// Channels C of the input.
    pub in_channels: usize,
    /// Token width D.
    pub hidden_size: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads; divides D.
    pub num_heads: usize,
    /// Hidden width of the MLP over D.
    #[serde(default = "four")]
    pub mlp_ratio: f64,
    /// Whether the network also predicts the variance (2·C output channels).
    #[serde(default = "yes")]
    pub learn_sigma: bool,
    /// Number of labels; 1 for an unconditional network.
    pub num_classes: usize,
    /// Label dropout of its training; above 0 there is a row for "no label".
    #[serde(default)]
    pub class_dropout_prob: f64,
}

pub(super) fn four() -> f64 {
    4.0
}

fn yes() -> bool {
    true
}

impl DitConfig {
    /// Refuses sizes that cannot be built.
    pub fn validate(&self) -> Result<(), ConfigError> {
        // The most are far beyond any published model, and keep every count of parameters within a `usize`.
        let sizes = [
            ("input_size", self.input_size, 1 << 16),
            ("patch_size", self.patch_size, 1 << 12),
            ("in_channels", self.in_channels, 1 << 12),
            ("hidden_size", self.hidden_size, 1 << 16),
            ("depth", self.depth, 1 << 12),
            ("num_heads", self.num_heads, 1 << 16),
            ("num_classes", self.num_classes, 1 << 24),
        ];
        for (name, value, most) in sizes {
            match value {
                0 => return Err(ConfigError::Zero { name }),
                _ if value > most => return Err(ConfigError::TooLarge { name, value, most }),
                _ => {}
            }
        }
        if !self.input_size.is_multiple_of(self.patch_size) {
            return Err(ConfigError::Indivisible {
                what: "input_size",
                value: self.input_size,
                by: "patch_size",
                divisor: self.patch_size,
            });
        }
        if !self.hidden_size.is_multiple_of(self.num_heads) {
            return Err(ConfigError::Indivisible {
                what: "hidden_size",
                value: self.hidden_size,
                by: "num_heads",
                divisor: self.num_heads,
            });
        }
        if !self.hidden_size.is_multiple_of(4) {
            return Err(ConfigError::Indivisible {
                what: "hidden_size",
                value: self.hidden_size,
                by: "4",
                divisor: 4,
            });
        }
        if !(0.0..=1.0).contains(&self.class_dropout_prob) {
            return Err(ConfigError::Probability {
                value: self.class_dropout_prob,
            });
        }
        if !(self.mlp_ratio > 0.0 && self.mlp_ratio <= 64.0 && self.mlp_hidden_size() > 0) {
            return Err(ConfigError::MlpRatio {
                value: self.mlp_ratio,
            });
        }
        Ok(())
    }

    /// Tokens along one side.
    pub fn grid_size(&self) -> usize {
        self.input_size / self.patch_size
    }

    /// Tokens N of one image.
    pub fn num_tokens(&self) -> usize {
        self.grid_size() * self.grid_size()
    }

    /// Channels the network gives back.
    pub fn out_channels(&self) -> usize {
        self.in_channels * if self.learn_sigma { 2 } else { 1 }
    }

    /// Rows of the label table.
    pub fn label_rows(&self) -> usize {
        self.num_classes + usize::from(self.class_dropout_prob > 0.0)
    }

    /// Hidden width of each MLP.
    pub fn mlp_hidden_size(&self) -> usize {
        (self.hidden_size as f64 * self.mlp_ratio) as usize
    }

    /// Number of parameters, the fixed position table counted as the original does.
    pub fn num_params(&self) -> usize {
        let d = self.hidden_size;
        let linear = |i: usize, o: usize| i * o + o;
        let h = self.mlp_hidden_size();
        let block =
            linear(d, 3 * d) + linear(d, d) + linear(d, h) + linear(h, d) + linear(d, 6 * d);
        let patch = self.patch_size * self.patch_size;
        linear(self.in_channels * patch, d)
            + self.num_tokens() * d
            + linear(256, d)
            + linear(d, d)
            + self.label_rows() * d
            + self.depth * block
            + linear(d, 2 * d)
            + linear(d, patch * self.out_channels())
    }
}

/// A configuration that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A size is zero.
    #[error("backbone configuration: {name} is 0; give a positive number")]
    Zero {
        /// The field.
        name: &'static str,
    },
    /// A size is beyond reason.
    #[error("backbone configuration: {name} is {value}; give at most {most}")]
    TooLarge {
        /// The field.
        name: &'static str,
        /// Its value.
        value: usize,
        /// The most it may be.
        most: usize,
    },
    /// One size must be a multiple of another and is not.
    #[error(
        "backbone configuration: {what} ({value}) is not a multiple of {by} ({divisor}); change one of them"
    )]
    Indivisible {
        /// The field.
        what: &'static str,
        /// Its value.
        value: usize,
        /// The field that must divide it.
        by: &'static str,
        /// That field's value.
        divisor: usize,
    },
    /// Label dropout out of range.
    #[error("backbone configuration: class_dropout_prob is {value}; give a number from 0 to 1")]
    Probability {
        /// Its value.
        value: f64,
    },
    /// The MLP would be empty.
    #[error(
        "backbone configuration: mlp_ratio is {value}; give a number above 0 and at most 64, 4 in every published DiT"
    )]
    MlpRatio {
        /// Its value.
        value: f64,
    },
    /// No such named size.
    #[error(
        "no backbone preset '{name}'; the presets are dit-s-2, dit-b-2, dit-l-2, dit-xl-2 and the same with patch 4 or 8"
    )]
    UnknownPreset {
        /// What was asked for.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_sizes_are_refused_by_name() {
        let good = "dit-s-4"
            .parse::<super::super::Preset>()
            .unwrap()
            .config(32, 10);
        assert!(good.validate().is_ok());
        type Change = fn(&mut DitConfig);
        let bad: [(Change, &str); 4] = [
            (|config| config.input_size = 30, "input_size (30)"),
            (|config| config.depth = 1_000_000_000, "depth is 1000000000"),
            (|config| config.num_heads = 5, "num_heads (5)"),
            (|config| config.num_classes = 0, "num_classes is 0"),
        ];
        for (change, named) in bad {
            let mut config = good.clone();
            change(&mut config);
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(named), "{message}");
        }
    }
}
