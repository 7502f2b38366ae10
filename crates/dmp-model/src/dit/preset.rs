//! The named sizes of a DiT.

use std::fmt;
use std::str::FromStr;

use super::config::{ConfigError, DitConfig, four};

/// The published sizes, `dit-s-2` to `dit-xl-8`: width, depth, heads and patch size.
///
/// Source: the original implementation's table of models (facebookresearch/DiT).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    size: Size,
    patch_size: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    S,
    B,
    L,
    Xl,
}

impl Preset {
    /// The configuration for latents (4 channels) of side `input_size`, with `num_classes` labels
    /// (1: unconditional, without label dropout).
    pub fn config(self, input_size: usize, num_classes: usize) -> DitConfig {
        let (hidden_size, depth, num_heads) = match self.size {
            Size::S => (384, 12, 6),
            Size::B => (768, 12, 12),
            Size::L => (1024, 24, 16),
            Size::Xl => (1152, 28, 16),
        };
        DitConfig {
            input_size,
            patch_size: self.patch_size,
            in_channels: 4,
            hidden_size,
            depth,
            num_heads,
            mlp_ratio: four(),
            learn_sigma: true,
            num_classes,
            class_dropout_prob: if num_classes > 1 { 0.1 } else { 0.0 },
        }
    }
}

impl FromStr for Preset {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let unknown = || ConfigError::UnknownPreset {
            name: name.to_owned(),
        };
        let normal = name.to_lowercase().replace(['/', '_'], "-");
        let (size, patch) = normal
            .strip_prefix("dit-")
            .and_then(|rest| rest.split_once('-'))
            .ok_or_else(unknown)?;
        let size = match size {
            "s" => Size::S,
            "b" => Size::B,
            "l" => Size::L,
            "xl" => Size::Xl,
            _ => return Err(unknown()),
        };
        let patch_size = match patch {
            "2" => 2,
            "4" => 4,
            "8" => 8,
            _ => return Err(unknown()),
        };
        Ok(Self { size, patch_size })
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "dit-{}-{}",
            format!("{:?}", self.size).to_lowercase(),
            self.patch_size
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameter counts the original implementation prints for 256² images (32² latents), 1000 classes.
    #[test]
    fn presets_have_the_published_number_of_parameters() {
        for (name, millions) in [
            ("dit-s-2", 33.0),
            ("dit-b-2", 130.5),
            ("DiT-L/2", 458.1),
            ("DiT-XL/2", 675.1),
            ("dit-b-4", 130.5),
        ] {
            let config = name.parse::<Preset>().unwrap().config(32, 1000);
            let got = config.num_params() as f64 / 1e6;
            assert!((got - millions).abs() < 0.06, "{name}: {got} M");
        }
    }

    #[test]
    fn preset_names_round_trip_and_unknown_ones_are_named() {
        assert_eq!(
            "DiT-XL/2".parse::<Preset>().unwrap().to_string(),
            "dit-xl-2"
        );
        let message = "dit-q-2".parse::<Preset>().unwrap_err().to_string();
        assert!(
            message.contains("dit-q-2") && message.contains("dit-xl-2"),
            "{message}"
        );
    }
}
