//! Sizes and choices of a patch.

use serde::{Deserialize, Serialize};

/// Everything that says what a patch is, besides its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchConfig {
    /// Where prompts go.
    #[serde(default)]
    pub position: Position,
    /// What makes the mask.
    #[serde(default)]
    pub gate: GateKind,
    /// What the gate looks at.
    #[serde(default)]
    pub gate_input: GateInput,
    /// Share of prompts a gate may select, in (0, 1]; k = floor(top_k·N).
    #[serde(default = "one")]
    pub top_k: f64,
    /// How the patch starts.
    #[serde(default)]
    pub init: Init,
    /// Prompts N of each block: the number of tokens for `add`, free for `prepend` and `mix`.
    pub num_prompts: usize,
    /// Tokens that a prompt covers: the backbone's for `mix`, otherwise 1.
    #[serde(default = "one_token")]
    pub prompt_tokens: usize,
    /// Token width D.
    pub hidden_size: usize,
    /// Blocks patched, from the first.
    pub depth: usize,
}

fn one() -> f64 {
    1.0
}

fn one_token() -> usize {
    1
}

/// Where prompts go (section 4.1 of the paper).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Position {
    /// `x ← x + m ⊙ P`, prompt i on token i: the paper's choice.
    #[default]
    Add,
    /// Prompts are extra tokens before the image's.
    Prepend,
    /// `x ← x + Σ_n m_n P_n`, each prompt a vector for every token: their number is free of the tokens', and the gate
    /// decides what is added where, not how much of it. Not in the paper.
    Mix,
}

/// What makes the mask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateKind {
    /// Mask ≡ 1: plain prompt tuning.
    None,
    /// Mask ≡ 1/N: prompts without selection.
    Uniform,
    /// Linear map of the gate input and the block index: the paper's choice.
    #[default]
    Linear,
}

/// What the gate looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateInput {
    /// Timestep plus label embedding: what the public code does for `add`.
    #[default]
    Conditioning,
    /// Timestep embedding alone: what the paper says, and the public code does for `prepend`.
    Timestep,
}

/// How a patch starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// Prompts, gate and noise weights all zero: the paper's choice.
    #[default]
    Zero,
    /// Xavier-uniform: the ablation.
    Random,
    /// Prompts zero, the gate Xavier-uniform: starts as the bare backbone too, and the prompts of a mixture differ from
    /// the first step.
    Gate,
}

impl PatchConfig {
    /// The paper's patch for a backbone of `depth` blocks over `num_tokens` tokens of width `hidden_size`.
    pub fn paper(num_tokens: usize, hidden_size: usize, depth: usize) -> Self {
        Self {
            position: Position::Add,
            gate: GateKind::Linear,
            gate_input: GateInput::Conditioning,
            top_k: 1.0,
            init: Init::Zero,
            num_prompts: num_tokens,
            prompt_tokens: 1,
            hidden_size,
            depth,
        }
    }

    /// A mixture of `num_prompts` prompts that each cover all tokens, its gate random at first: equal prompts under an
    /// equal gate would stay equal.
    pub fn mixture(
        num_prompts: usize,
        num_tokens: usize,
        hidden_size: usize,
        depth: usize,
    ) -> Self {
        Self {
            position: Position::Mix,
            init: Init::Gate,
            num_prompts,
            prompt_tokens: num_tokens,
            ..Self::paper(num_tokens, hidden_size, depth)
        }
    }

    /// Values of a prompt: its tokens' vectors, one after the other.
    pub fn prompt_size(&self) -> usize {
        self.prompt_tokens * self.hidden_size
    }

    /// Prompts selected at a time: floor(top_k·N).
    pub fn k(&self) -> usize {
        (self.top_k * self.num_prompts as f64) as usize
    }

    /// Parameters added to the model that samples: L·N·D prompts (times the tokens that each covers), and for a linear
    /// gate N·(D+1)+N.
    ///
    /// This is the count behind the paper's +1.43 % for DiT-L/2; see [`Self::trained_params`].
    pub fn added_params(&self) -> usize {
        let (n, d) = (self.num_prompts, self.hidden_size);
        let gate = if self.gate == GateKind::Linear {
            n * (d + 1) + n
        } else {
            0
        };
        self.depth * n * self.prompt_size() + gate
    }

    /// Parameters trained: those added, and the D·N noise weights that only training uses.
    pub fn trained_params(&self) -> usize {
        let noise = if self.gate == GateKind::Linear {
            self.num_prompts * self.hidden_size
        } else {
            0
        };
        self.added_params() + noise
    }

    /// Refuses a patch that does not fit a backbone of these sizes.
    pub fn validate(
        &self,
        num_tokens: usize,
        hidden_size: usize,
        depth: usize,
    ) -> Result<(), PatchConfigError> {
        if self.hidden_size != hidden_size {
            return Err(PatchConfigError::Width {
                patch: self.hidden_size,
                backbone: hidden_size,
            });
        }
        if self.hidden_size > 1 << 16 || self.depth > 1 << 12 {
            return Err(PatchConfigError::Large);
        }
        if self.depth == 0 || self.depth > depth {
            return Err(PatchConfigError::Depth {
                patch: self.depth,
                backbone: depth,
            });
        }
        if self.position == Position::Add && self.num_prompts != num_tokens {
            return Err(PatchConfigError::Prompts {
                patch: self.num_prompts,
                backbone: num_tokens,
            });
        }
        let covered = match self.position {
            Position::Mix => num_tokens,
            Position::Add | Position::Prepend => 1,
        };
        if self.prompt_tokens != covered {
            return Err(PatchConfigError::Covered {
                patch: self.prompt_tokens,
                backbone: covered,
            });
        }
        if self.num_prompts == 0 {
            return Err(PatchConfigError::NoPrompts);
        }
        // Far beyond use, and within a `usize` whatever the backbone.
        if self.num_prompts.saturating_mul(self.prompt_tokens) > 1 << 24 {
            return Err(PatchConfigError::Many {
                prompts: self.num_prompts,
            });
        }
        if !(self.top_k > 0.0 && self.top_k <= 1.0) || self.k() == 0 {
            return Err(PatchConfigError::TopK {
                top_k: self.top_k,
                prompts: self.num_prompts,
            });
        }
        Ok(())
    }
}

/// A patch that does not fit its backbone.
#[derive(Debug, thiserror::Error)]
pub enum PatchConfigError {
    /// Token widths differ.
    #[error(
        "the patch has prompts of width {patch}, the backbone tokens of width {backbone}; use the patch's own backbone"
    )]
    Width {
        /// Of the patch.
        patch: usize,
        /// Of the backbone.
        backbone: usize,
    },
    /// More blocks patched than there are, or none.
    #[error(
        "the patch depth is {patch}, but the backbone has {backbone} blocks; give a depth from 1 to {backbone}"
    )]
    Depth {
        /// Of the patch.
        patch: usize,
        /// Of the backbone.
        backbone: usize,
    },
    /// Position `add` needs one prompt a token.
    #[error(
        "position 'add' needs one prompt for each of the backbone's {backbone} tokens, not {patch}; give {backbone}, or use position 'prepend' or 'mix'"
    )]
    Prompts {
        /// Of the patch.
        patch: usize,
        /// Of the backbone.
        backbone: usize,
    },
    /// Prompts that cover more or fewer tokens than they should.
    #[error(
        "the patch's prompts cover {patch} tokens each, and should cover {backbone}; use the patch's own backbone"
    )]
    Covered {
        /// Of the patch.
        patch: usize,
        /// Of the backbone, or 1 but for `mix`.
        backbone: usize,
    },
    /// Sizes beyond any backbone's.
    #[error("the patch is described as wider or deeper than any backbone; export it again")]
    Large,
    /// No prompts.
    #[error("a patch without prompts does nothing; give at least 1")]
    NoPrompts,
    /// More prompts than any use has.
    #[error("{prompts} prompts a block; give at most 16777216, over all tokens they cover")]
    Many {
        /// Number of prompts.
        prompts: usize,
    },
    /// Nothing would be selected.
    #[error("--top-k (top_k) is {top_k}: of {prompts} prompts it selects none or more than all; give a share above {least:.4} and at most 1", least = 1.0 / *prompts as f64)]
    TopK {
        /// The share.
        top_k: f64,
        /// Number of prompts.
        prompts: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_patch_for_dit_l_2_has_its_published_size() {
        let config = PatchConfig::paper(256, 1024, 24);
        assert_eq!(config.added_params(), 6_554_112);
        assert_eq!(config.trained_params(), 6_554_112 + 256 * 1024);
    }

    #[test]
    fn patches_that_do_not_fit_are_refused() {
        let good = PatchConfig::paper(16, 64, 3);
        assert!(good.validate(16, 64, 3).is_ok());
        for bad in [
            PatchConfig {
                hidden_size: 32,
                ..good.clone()
            },
            PatchConfig {
                depth: 4,
                ..good.clone()
            },
            PatchConfig {
                num_prompts: 5,
                ..good.clone()
            },
            PatchConfig {
                top_k: 0.01,
                ..good.clone()
            },
            PatchConfig {
                top_k: f64::NAN,
                ..good.clone()
            },
        ] {
            assert!(bad.validate(16, 64, 3).is_err(), "{bad:?}");
        }
        assert!(
            PatchConfig {
                position: Position::Prepend,
                num_prompts: 5,
                ..good
            }
            .validate(16, 64, 3)
            .is_ok()
        );
    }
}
