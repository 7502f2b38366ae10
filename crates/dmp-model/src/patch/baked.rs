//! A patch for the steps of one sampler: its gate asked once for each, so that what samples with it needs no gate.

use burn::tensor::{Int, Tensor, TensorData};

use super::contribution::{Contribution, without_first};
use super::{Patch, PatchConfigError};
use crate::denoiser::{BlockHook, Conditioning};

/// What the prompts come to at each of some timesteps.
#[derive(Debug, Clone)]
pub struct BakedSteps {
    /// The timesteps S, as the network counts them.
    pub timesteps: Vec<usize>,
    /// Of each patched block, `[S, K + T, D]`: K extra tokens, then what is added to the T tokens of the grid.
    pub blocks: Vec<Tensor<3>>,
    /// K.
    pub extra: usize,
    /// Rows and columns of the grid; of what adds nothing the backbone's own.
    pub grid: [usize; 2],
}

/// Why a patch cannot be baked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the patch's gate looks at the label too, so that a step has no one mask; train it with --gate-input timestep"
)]
pub struct LabelledGate;

impl BakedSteps {
    /// Asks the gate of `patch` about each of `timesteps`. `conditioning` is theirs, in their order and under the label that
    /// counts; `grid` is that of the backbone's tokens.
    pub fn new(
        patch: &Patch,
        timesteps: Vec<usize>,
        conditioning: &Conditioning,
        grid: [usize; 2],
    ) -> Self {
        let config = patch.config();
        Self {
            blocks: patch.contributions(&timesteps, conditioning),
            timesteps,
            extra: config.prepended(),
            grid: config.grid.unwrap_or(grid),
        }
    }

    /// The same with what is added `scale` times as large.
    ///
    /// # Errors
    /// As of the patch ([`Patch::scaled`]).
    pub fn scaled(mut self, scale: f64) -> Result<Self, PatchConfigError> {
        if self.extra > 0 {
            return Err(PatchConfigError::ScaledTokens);
        }
        for block in &mut self.blocks {
            *block = block.clone().mul_scalar(scale);
        }
        Ok(self)
    }
}

/// Applies baked steps around the blocks of a backbone.
pub struct BakedHook<'a> {
    steps: &'a BakedSteps,
    /// The step of each image.
    rows: Vec<usize>,
    spread: Option<&'a Tensor<2>>,
}

impl<'a> BakedHook<'a> {
    /// For images at these timesteps; a timestep that was not baked is taken for the nearest that was. `spread`, `[tokens, T]`,
    /// brings the prompts' grid to that of the tokens, if it is another.
    pub fn new(steps: &'a BakedSteps, timesteps: &[usize], spread: Option<&'a Tensor<2>>) -> Self {
        let nearest = |timestep: usize| {
            let baked = steps.timesteps.iter().enumerate();
            baked
                .min_by_key(|(_, baked)| baked.abs_diff(timestep))
                .map_or(0, |(row, _)| row)
        };
        Self {
            steps,
            rows: timesteps.iter().copied().map(nearest).collect(),
            spread,
        }
    }
}

impl BlockHook for BakedHook<'_> {
    fn before_block(&mut self, block: usize, tokens: Tensor<3>, _: &Conditioning) -> Tensor<3> {
        let Some(rows) = self.steps.blocks.get(block) else {
            return tokens;
        };
        let indices: Vec<i64> = self.rows.iter().map(|&row| row as i64).collect();
        let indices = TensorData::new(indices, [self.rows.len()]);
        let indices = Tensor::<1, Int>::from_data(indices, &tokens.device());
        let contribution = Contribution::cut(rows.clone(), self.steps.extra);
        contribution
            .select(&indices)
            .apply(tokens, block, self.spread)
    }

    fn after_blocks(&mut self, tokens: Tensor<3>) -> Tensor<3> {
        match self.steps.extra {
            0 => tokens,
            extra => without_first(tokens, extra),
        }
    }
}
