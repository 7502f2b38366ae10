//! Whether a patch fits a backbone.

use std::ops::RangeInclusive;

use super::{PatchConfig, PatchConfigError, Position};

/// A gate's hidden values are at most so many.
pub(super) const WIDEST_GATE: usize = 1 << 16;

/// Rows or columns of the largest grid; far beyond use.
pub(super) const MOST_SIDE: usize = 1 << 12;

/// Below, quotients of logits are beyond f32; above, all masks are alike.
pub(super) const TEMPERATURES: RangeInclusive<f64> = 1e-6..=1e6;

/// Timesteps of the longest process; far beyond use.
const FARTHEST: usize = 1 << 16;

/// Whether prompts can lie on a grid of so many rows and columns.
pub(crate) fn has_places(grid: [usize; 2]) -> bool {
    grid.iter().all(|side| (1..=MOST_SIDE).contains(side))
}

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
        let sides = self.grid.unwrap_or([1; 2]);
        if self.hidden_size == 0 || !has_places(sides) {
            return Err(Error::Nothing {
                width: self.hidden_size,
                grid: sides,
            });
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
        if self.num_prompts == 0 || self.prompt_tokens == 0 {
            return Err(Error::NoPrompts);
        }
        self.check_limit()?;
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

    /// Whether it can act below its timestep only.
    pub(in crate::patch) fn check_limit(&self) -> Result<(), PatchConfigError> {
        match self.patch_below {
            Some(0) => Err(PatchConfigError::Never),
            Some(below) if below > FARTHEST => Err(PatchConfigError::Large),
            Some(_) if self.prepended() > 0 => Err(PatchConfigError::LimitedTokens),
            _ => Ok(()),
        }
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

#[cfg(test)]
mod tests {
    use super::super::{GateInput, GateKind, GateSharing};
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
                grid: Some([1 << 40, 1 << 40]),
                position: Position::Prepend,
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
            PatchConfig {
                patch_below: Some(0),
                ..good.clone()
            },
            PatchConfig {
                position: Position::Prepend,
                patch_below: Some(500),
                ..good.clone()
            },
        ] {
            assert!(bad.validate(16, 64, 3).is_err(), "{bad:?}");
        }
        // Of no values at all.
        for (width, tokens) in [(0, 16), (64, 0)] {
            let nothing = PatchConfig::mixture(2, tokens, width, 3);
            assert!(nothing.validate(tokens, width, 3).is_err(), "{nothing:?}");
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
            PatchConfig {
                patch_below: Some(500),
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
