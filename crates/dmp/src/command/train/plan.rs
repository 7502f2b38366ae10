//! What a run is to be: what it is of, and what `--dry-run` tells of it.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use dmp_math::schedule::BetaSchedule;
use dmp_model::checkpoint::BackboneFile;
use dmp_model::dit::{DitConfig, Preset};
use serde::Serialize;

use super::TrainArgs;
use crate::data::Dataset;
use crate::data::source::MOST_CLASSES;
use crate::models::open_backbone;
use crate::run::DryRun;
use crate::train::Work;

/// What settings know of model and data.
pub(super) struct Subject {
    pub(super) model_sha256: String,
    pub(super) data_sha256: String,
    pub(super) oriented: bool,
    pub(super) schedule: BetaSchedule,
}

impl Subject {
    pub(super) fn of(backbone: &BackboneFile, data: &Dataset, schedule: BetaSchedule) -> Self {
        Self {
            model_sha256: backbone.fingerprint.clone(),
            data_sha256: data.fingerprint(),
            oriented: data.is_oriented(),
            schedule,
        }
    }

    /// Of a model and data that are not here.
    pub(super) fn unknown(schedule: Option<BetaSchedule>) -> Self {
        Self {
            model_sha256: "unknown".to_owned(),
            data_sha256: "unknown".to_owned(),
            oriented: false,
            schedule: schedule.unwrap_or_default(),
        }
    }
}

/// What a backbone is expected to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expected {
    preset: Preset,
    side: usize,
    classes: usize,
}

impl FromStr for Expected {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let preset = parts.next().unwrap_or_default();
        let mut expected = Self {
            preset: preset.parse().map_err(|error| format!("{error}"))?,
            side: 32,
            classes: 1,
        };
        for part in parts {
            let number = |text: &str| text.parse().ok().filter(|number| *number > 0);
            let set = match part.split_once('=') {
                Some(("side", side)) => number(side).map(|side| expected.side = side),
                Some(("classes", classes)) => number(classes).map(|n| expected.classes = n),
                _ => None,
            };
            set.ok_or_else(|| format!("'{part}' is neither side=N nor classes=N"))?;
        }
        let within = expected.side <= MOST_SIDE && expected.classes <= MOST_CLASSES;
        if !within {
            return Err(format!(
                "side={} and classes={}: sides are at most {MOST_SIDE}, and classes {MOST_CLASSES}",
                expected.side, expected.classes
            ));
        }
        let valid = expected.sizes().validate();
        valid.map_err(|error| error.to_string())?;
        Ok(expected)
    }
}

/// Of a latent, far beyond any model's.
const MOST_SIDE: usize = 1024;

impl Expected {
    fn sizes(self) -> DitConfig {
        self.preset.config(self.side, self.classes)
    }

    fn check(self, found: &DitConfig) -> Result<()> {
        let wanted = self.sizes();
        for (what, found, wanted) in [
            ("width", found.hidden_size, wanted.hidden_size),
            ("depth", found.depth, wanted.depth),
            ("patch size", found.patch_size, wanted.patch_size),
            ("input side", found.input_size, wanted.input_size),
            ("number of heads", found.num_heads, wanted.num_heads),
            ("number of channels", found.in_channels, wanted.in_channels),
            ("number of classes", found.num_classes, wanted.num_classes),
        ] {
            ensure!(
                found == wanted,
                "--preset {}: has {what} {wanted}, and the model {found}; give the model that was meant, or leave --preset out",
                self.preset
            );
        }
        Ok(())
    }
}

impl TrainArgs {
    /// Opens the backbone, which must be what was expected.
    pub(super) fn backbone(&self, device: &Device) -> Result<BackboneFile> {
        let backbone = open_backbone(&self.model, device)?;
        if let Some(expected) = self.preset {
            let name = || format!("model {}", self.model);
            expected.check(backbone.model.config()).with_context(name)?;
        }
        Ok(backbone)
    }

    /// Sizes to take for a model that is not here, in a dry run that says them.
    pub(super) fn stand_in(&self) -> Option<DitConfig> {
        let here = self.model == "demo" || Path::new(&self.model).exists();
        (self.training.dry_run && !here).then(|| self.preset.map(Expected::sizes))?
    }

    /// Prints what the run is to be of a model that is not here; gives the end of it.
    pub(super) fn told(&self, settings: &impl Serialize, work: &Work<'_>) -> Result<anyhow::Error> {
        self.training.tell(settings, work)?;
        let said = format!(
            "dry run: model '{}' is not here and was taken for what --preset says; its data was not looked for, and nothing was \
             written",
            self.model
        );
        Ok(DryRun(said).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_is_parsed_and_checked() {
        let expected: Expected = "DiT-XL/2,side=64,classes=1000".parse().unwrap();
        let sizes = expected.sizes();
        assert_eq!(
            (sizes.input_size, sizes.num_classes, sizes.depth),
            (64, 1000, 28)
        );
        assert!(expected.check(&sizes).is_ok());
        let other: Expected = "dit-xl-2".parse().unwrap();
        let error = other.check(&sizes).unwrap_err().to_string();
        assert!(error.contains("input side 32, and the model 64"), "{error}");
        let other: Expected = "dit-xl-2,side=64".parse().unwrap();
        let error = other.check(&sizes).unwrap_err().to_string();
        assert!(error.contains("classes 1, and the model 1000"), "{error}");
        for (text, says) in [
            ("dit-q-2", "dit-q-2"),
            ("dit-s-2,side=0", "'side=0'"),
            ("dit-s-2,x", "'x'"),
            ("dit-s-2,side=2048", "at most 1024"),
            ("dit-s-2,side=31", "31"),
            (
                "dit-s-2,classes=4000000",
                "at most 1024, and classes 1048576",
            ),
        ] {
            assert!(
                text.parse::<Expected>().unwrap_err().contains(says),
                "{text}"
            );
        }
    }
}
