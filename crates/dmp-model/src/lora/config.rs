//! Sizes and choices of a LoRA.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::dit::DitConfig;

/// A linear map of every block that can be adapted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Queries, keys and values of attention, D → 3·D.
    Qkv,
    /// Attention's output, D → D.
    Proj,
    /// The MLP's first map, D → hidden.
    Fc1,
    /// The MLP's second map, hidden → D.
    Fc2,
}

impl Target {
    /// All of them, in the order of a block.
    pub const ALL: [Self; 4] = [Self::Qkv, Self::Proj, Self::Fc1, Self::Fc2];

    /// What a user calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qkv => "qkv",
            Self::Proj => "proj",
            Self::Fc1 => "fc1",
            Self::Fc2 => "fc2",
        }
    }

    /// Its place within a block, as in the public DiT keys.
    pub fn path(self) -> &'static str {
        match self {
            Self::Qkv => "attn.qkv",
            Self::Proj => "attn.proj",
            Self::Fc1 => "mlp.fc1",
            Self::Fc2 => "mlp.fc2",
        }
    }

    /// The public DiT key of the map in a block, `blocks.<block>.attn.qkv`.
    pub fn module(self, block: usize) -> String {
        format!("blocks.{block}.{}", self.path())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|target| target.name() == name)
            .ok_or_else(|| format!("no linear map '{name}'; give some of qkv, proj, fc1, fc2"))
    }
}

/// The most timesteps that any schedule has.
const FARTHEST: usize = 1 << 16;

/// Everything that says what a LoRA is, besides its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank r of each change.
    pub rank: usize,
    /// Numerator of the changes' scale, alpha / rank.
    pub alpha: f64,
    /// What is adapted in every block.
    pub targets: BTreeSet<Target>,
    /// Acts at timesteps below this one only; at all of them for `None`. PEFT knows of no limit, and has it act at all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch_below: Option<usize>,
    /// Token width D.
    pub hidden_size: usize,
    /// Hidden width of each MLP.
    pub mlp_hidden_size: usize,
    /// Blocks of the backbone.
    pub depth: usize,
}

impl LoraConfig {
    /// A LoRA of scale 1 on every linear map of the backbone's blocks.
    pub fn new(rank: usize, backbone: &DitConfig) -> Self {
        Self {
            rank,
            alpha: rank as f64,
            targets: Target::ALL.into(),
            patch_below: None,
            hidden_size: backbone.hidden_size,
            mlp_hidden_size: backbone.mlp_hidden_size(),
            depth: backbone.depth,
        }
    }

    /// What each change is multiplied by: alpha / rank.
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }

    /// Inputs and outputs of a linear map.
    pub fn sizes(&self, target: Target) -> [usize; 2] {
        let (d, hidden) = (self.hidden_size, self.mlp_hidden_size);
        match target {
            Target::Qkv => [d, 3 * d],
            Target::Proj => [d, d],
            Target::Fc1 => [d, hidden],
            Target::Fc2 => [hidden, d],
        }
    }

    /// Parameters trained and stored: r·(in + out) for each adapted map. A model they are merged into at all timesteps has none
    /// more than before.
    pub fn added_params(&self) -> usize {
        let of_block = self.targets.iter().map(|target| {
            let [inputs, outputs] = self.sizes(*target);
            self.rank * (inputs + outputs)
        });
        self.depth * of_block.sum::<usize>()
    }

    /// Values of the weights that are changed.
    pub fn adapted_weights(&self) -> usize {
        let of_block =
            (self.targets.iter()).map(|target| self.sizes(*target).iter().product::<usize>());
        self.depth * of_block.sum::<usize>()
    }

    /// Refuses a LoRA that cannot be built.
    pub fn check(&self) -> Result<(), LoraConfigError> {
        // The most are those of a backbone, and keep every count of parameters within a `usize`.
        if self.hidden_size > 1 << 16 || self.mlp_hidden_size > 1 << 22 || self.depth > 1 << 12 {
            return Err(LoraConfigError::Large);
        }
        let most = self.hidden_size.min(self.mlp_hidden_size);
        if !(1..=most).contains(&self.rank) {
            return Err(LoraConfigError::Rank {
                rank: self.rank,
                most,
            });
        }
        if !(self.alpha > 0.0 && self.alpha.is_finite()) {
            return Err(LoraConfigError::Alpha { alpha: self.alpha });
        }
        if self.targets.is_empty() {
            return Err(LoraConfigError::NoTargets);
        }
        match self.patch_below {
            Some(below) if !(1..=FARTHEST).contains(&below) => {
                Err(LoraConfigError::Limit { below })
            }
            _ => Ok(()),
        }
    }

    /// Refuses a LoRA that cannot be built, or does not fit this backbone.
    pub fn validate(&self, backbone: &DitConfig) -> Result<(), LoraConfigError> {
        let sizes = [
            ("width", self.hidden_size, backbone.hidden_size),
            (
                "MLP width",
                self.mlp_hidden_size,
                backbone.mlp_hidden_size(),
            ),
            ("number of blocks", self.depth, backbone.depth),
        ];
        match sizes.into_iter().find(|(_, lora, known)| lora != known) {
            Some((what, lora, backbone)) => Err(LoraConfigError::Size {
                what,
                lora,
                backbone,
            }),
            None => self.check(),
        }
    }
}

/// A LoRA that cannot be built, or does not fit its backbone.
#[derive(Debug, thiserror::Error)]
pub enum LoraConfigError {
    /// A size is not the backbone's.
    #[error(
        "the LoRA is for a backbone whose {what} is {lora}, this one's is {backbone}; use the LoRA's own backbone"
    )]
    Size {
        /// Which size.
        what: &'static str,
        /// Of the LoRA.
        lora: usize,
        /// Of the backbone.
        backbone: usize,
    },
    /// Sizes beyond any backbone's.
    #[error("the LoRA is described as wider or deeper than any backbone; export it again")]
    Large,
    /// No rank, or one above that of the weights.
    #[error(
        "--rank (rank) is {rank}; give a number from 1 to {most}, the most that a weight of the backbone has"
    )]
    Rank {
        /// The rank.
        rank: usize,
        /// The smallest side of a weight.
        most: usize,
    },
    /// A scale under which nothing is learnt.
    #[error("--alpha (alpha) is {alpha}; give a number above 0, the rank for a scale of 1")]
    Alpha {
        /// Its value.
        alpha: f64,
    },
    /// Nothing would be adapted.
    #[error("--targets (targets) names nothing to adapt; give some of qkv, proj, fc1, fc2")]
    NoTargets,
    /// A limit that leaves no timestep, or is beyond any.
    #[error("--patch-below (patch_below) is {below}; give a timestep from 1 to {FARTHEST}")]
    Limit {
        /// The limit.
        below: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dit::Preset;

    fn backbone() -> DitConfig {
        "dit-xl-2".parse::<Preset>().unwrap().config(32, 1000)
    }

    /// D = 1152, 28 blocks: rank 4 adds 4·(4·D + 2·D + 5·D + 5·D) a block.
    #[test]
    fn counts_the_parameters_it_adds() {
        let mut config = LoraConfig::new(4, &backbone());
        assert_eq!(config.added_params(), 28 * 4 * 16 * 1152);
        assert_eq!(config.scale(), 1.0);
        config.targets = [Target::Proj].into();
        assert_eq!(config.added_params(), 28 * 4 * 2 * 1152);
        assert_eq!(config.adapted_weights(), 28 * 1152 * 1152);
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let good = LoraConfig::new(4, &backbone());
        assert!(good.validate(&backbone()).is_ok());
        type Change = fn(&mut LoraConfig);
        let bad: [(Change, &str); 7] = [
            (|config| config.rank = 0, "--rank"),
            (|config| config.rank = 1153, "from 1 to 1152"),
            (|config| config.alpha = f64::NAN, "--alpha"),
            (|config| config.targets.clear(), "--targets"),
            (|config| config.patch_below = Some(0), "(patch_below) is 0"),
            (|config| config.depth = 27, "number of blocks is 27"),
            (|config| config.hidden_size = 1 << 20, "width is 1048576"),
        ];
        for (change, named) in bad {
            let mut config = good.clone();
            change(&mut config);
            let message = config.validate(&backbone()).unwrap_err().to_string();
            assert!(message.contains(named), "{message}");
        }
    }
}
