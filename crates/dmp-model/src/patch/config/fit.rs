//! Whether a patch fits a backbone.

use std::ops::RangeInclusive;

use super::{GateKind, PatchConfig, Position};

/// A gate's hidden values are at most so many.
const WIDEST_GATE: usize = 1 << 16;

/// Below, quotients of logits are beyond f32; above, all masks are alike.
const TEMPERATURES: RangeInclusive<f64> = 1e-6..=1e6;

impl PatchConfig {
    /// Refuses a patch that does not fit a backbone of these sizes. Prompts on a grid of their own fit any number of tokens.
    pub fn validate(
        &self,
        num_tokens: usize,
        hidden_size: usize,
        depth: usize,
    ) -> Result<(), PatchConfigError> {
        use PatchConfigError as Error;
        if self.hidden_size != hidden_size {
            return Err(Error::Width {
                patch: self.hidden_size,
                backbone: hidden_size,
            });
        }
        if self.hidden_size > 1 << 16 || self.depth > 1 << 12 {
            return Err(Error::Large);
        }
        if self.gate_hidden > WIDEST_GATE {
            return Err(Error::WideGate {
                width: self.gate_hidden,
            });
        }
        if self.depth == 0 || self.depth > depth {
            return Err(Error::Depth {
                patch: self.depth,
                backbone: depth,
            });
        }
        let grid = match self.grid {
            Some([rows, columns]) => rows.saturating_mul(columns),
            None => num_tokens,
        };
        self.fits_grid(grid)?;
        if self.num_prompts == 0 {
            return Err(Error::NoPrompts);
        }
        // Far beyond use, and within a `usize` whatever the backbone.
        if self.num_prompts.saturating_mul(self.prompt_tokens) > 1 << 24 {
            return Err(Error::Many {
                prompts: self.num_prompts,
            });
        }
        // r·(N·T + D) values must be fewer than N·T·D.
        let vectors = self.num_prompts * self.prompt_tokens;
        let most = (vectors * self.hidden_size - 1) / (vectors + self.hidden_size);
        if self.prompt_rank > most {
            return Err(Error::Rank {
                rank: self.prompt_rank,
                most,
            });
        }
        if self.gate.has_hidden() != (self.gate_hidden > 0) {
            return Err(Error::Hidden { gate: self.gate });
        }
        if !(TEMPERATURES.contains(&self.temperature)) {
            return Err(Error::Temperature {
                temperature: self.temperature,
            });
        }
        if !(self.top_k > 0.0 && self.top_k <= 1.0) || self.k() == 0 {
            return Err(Error::TopK {
                top_k: self.top_k,
                prompts: self.num_prompts,
            });
        }
        Ok(())
    }

    /// Whether there are as many prompts as position and grid ask for, each for as many tokens.
    fn fits_grid(&self, grid: usize) -> Result<(), PatchConfigError> {
        use PatchConfigError as Error;
        let prompts = self.num_prompts;
        match self.position {
            Position::Add if prompts != grid => {
                return Err(Error::Prompts {
                    patch: prompts,
                    backbone: grid,
                });
            }
            Position::Both if self.grid.is_none() || prompts <= grid => {
                return Err(Error::Both {
                    patch: prompts,
                    grid,
                });
            }
            _ => {}
        }
        let covered = match self.position {
            Position::Mix => grid,
            Position::Add | Position::Prepend | Position::Both => 1,
        };
        if self.prompt_tokens != covered {
            return Err(Error::Covered {
                patch: self.prompt_tokens,
                backbone: covered,
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
        "position 'add' needs one prompt for each of the {backbone} tokens of its grid (the backbone's, unless it has its own), not {patch}; give {backbone}, or use position 'prepend' or 'mix'"
    )]
    Prompts {
        /// Of the patch.
        patch: usize,
        /// Of the backbone.
        backbone: usize,
    },
    /// Position `both` needs a grid and more prompts than it has tokens.
    #[error(
        "position 'both' needs a grid of prompts and at least one more to prepend; {patch} prompts on a grid of {grid} tokens are not that"
    )]
    Both {
        /// Prompts.
        patch: usize,
        /// Tokens of the grid.
        grid: usize,
    },
    /// A rank that saves nothing.
    #[error(
        "prompts of rank {rank} (--prompt-rank) are no smaller than whole ones; give a rank of at most {most}, or none"
    )]
    Rank {
        /// Of the prompts.
        rank: usize,
        /// The largest that saves something.
        most: usize,
    },
    /// A gate wider than any use has.
    #[error("a gate of width {width} (--gate-hidden) is too wide; give at most {WIDEST_GATE}")]
    WideGate {
        /// Its width.
        width: usize,
    },
    /// A gate without the width it needs, or with one it does not have.
    #[error(
        "gate_hidden is the width of a gate of kind 'mlp' or 'attention', which must have one; this gate is {gate:?}"
    )]
    Hidden {
        /// The gate.
        gate: GateKind,
    },
    /// A temperature that makes no softmax.
    #[error(
        "a temperature of {temperature} (--temperature) makes no mask; give a number from {least} to {most}",
        least = TEMPERATURES.start(),
        most = TEMPERATURES.end()
    )]
    Temperature {
        /// The temperature.
        temperature: f64,
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
    #[error("--top-k (top_k) is {top_k}: of {prompts} prompts it selects none or more than all; give a share from {least:.4} to 1", least = (1e4 / *prompts as f64).ceil() / 1e4)]
    TopK {
        /// The share.
        top_k: f64,
        /// Number of prompts.
        prompts: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::super::{GateInput, GateSharing};
    use super::*;

    #[test]
    fn the_papers_patch_for_dit_l_2_has_its_published_size() {
        let config = PatchConfig::paper(256, 1024, 24);
        assert_eq!(config.added_params(), 6_554_112);
        assert_eq!(config.trained_params(), 6_554_112 + 256 * 1024);
    }

    #[test]
    fn parameters_are_counted_whatever_the_form() {
        let paper = PatchConfig::paper(6, 4, 2);
        let count = |config: PatchConfig| {
            let patch = crate::patch::Patch::zeroed(&config, &burn::tensor::Device::flex());
            (
                config.trained_params(),
                burn::module::Module::num_params(&patch),
            )
        };
        for gate in [
            GateKind::None,
            GateKind::Linear,
            GateKind::Mlp,
            GateKind::Attention,
        ] {
            for (gate_sharing, gate_input, prompt_rank) in [
                (GateSharing::Shared, GateInput::Both, 0),
                (GateSharing::PerBlock, GateInput::Timestep, 2),
            ] {
                let (counted, held) = count(PatchConfig {
                    gate,
                    gate_hidden: if gate.has_hidden() { 3 } else { 0 },
                    gate_sharing,
                    gate_input,
                    prompt_rank,
                    ..paper.clone()
                });
                assert_eq!(counted, held, "{gate:?} {gate_sharing:?}");
            }
        }
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
            PatchConfig {
                temperature: 0.0,
                ..good.clone()
            },
            PatchConfig {
                // 12·(16 + 64) = 960, and 16·64 = 1024.
                prompt_rank: 13,
                ..good.clone()
            },
            PatchConfig {
                gate: GateKind::Mlp,
                ..good.clone()
            },
            PatchConfig {
                gate_hidden: 8,
                ..good.clone()
            },
            PatchConfig {
                grid: Some([4, 3]),
                ..good.clone()
            },
            PatchConfig {
                temperature: 1e-40,
                ..good.clone()
            },
            PatchConfig {
                position: Position::Both,
                num_prompts: 20,
                ..good.clone()
            },
        ] {
            assert!(bad.validate(16, 64, 3).is_err(), "{bad:?}");
        }
        for good in [
            PatchConfig {
                position: Position::Prepend,
                num_prompts: 5,
                ..good.clone()
            },
            PatchConfig {
                position: Position::Both,
                grid: Some([4, 4]),
                num_prompts: 20,
                ..good.clone()
            },
            PatchConfig {
                prompt_rank: 12,
                ..good.clone()
            },
            // On a coarser grid.
            PatchConfig {
                grid: Some([2, 3]),
                num_prompts: 6,
                ..good.clone()
            },
        ] {
            assert!(good.validate(16, 64, 3).is_ok(), "{good:?}");
        }
    }
}
