//! A backbone and a patch that was baked for the steps of one sampler, joined.

use burn::tensor::Tensor;

use crate::denoiser::{Backbone, Denoiser, ImageLayout};
use crate::grid::grid_map;
use crate::patch::{BakedHook, BakedSteps, LabelledGate};
use crate::patched::Patched;

/// A frozen backbone with what a patch comes to at some timesteps. Samples like any [`Denoiser`], at those timesteps.
#[derive(Debug, Clone)]
pub struct Baked<M> {
    backbone: M,
    steps: BakedSteps,
    /// From the grid of the prompts to that of the tokens, where they differ.
    spread: Option<Tensor<2>>,
}

impl<M: Backbone> Patched<M> {
    /// What the patch comes to at these timesteps, on a backbone that knows so many labels, the null label counted.
    ///
    /// # Errors
    /// When the gate looks at labels, and there are several.
    pub fn bake(&self, timesteps: &[usize], labels: usize) -> Result<BakedSteps, LabelledGate> {
        let backbone = self.backbone();
        let conditioning = backbone.condition(timesteps, &vec![0; timesteps.len()]);
        let grid = backbone.token_grid();
        if labels > 1 && self.patch().config().sees_labels() {
            return Err(LabelledGate);
        }
        Ok(BakedSteps::new(
            self.patch(),
            timesteps.to_vec(),
            &conditioning,
            grid,
        ))
    }
}

impl<M: Backbone> Baked<M> {
    /// Joins the two.
    ///
    /// # Errors
    /// When the steps are of tokens of another width, or of more blocks than there are.
    pub fn new(backbone: M, steps: BakedSteps) -> Result<Self, BakedMisfit> {
        let width = |block: &Tensor<3>| block.dims()[2];
        let fits = steps.blocks.len() <= backbone.depth()
            && (steps.blocks.iter()).all(|block| width(block) == backbone.hidden_size());
        if !fits {
            return Err(BakedMisfit);
        }
        Ok(Self::on_grid(backbone, steps))
    }

    fn on_grid(backbone: M, steps: BakedSteps) -> Self {
        let tokens = backbone.token_grid();
        let device = steps.blocks.first().map(Tensor::device);
        let device = device.filter(|_| steps.grid != tokens);
        Self {
            spread: device.map(|device| grid_map(steps.grid, tokens, &device)),
            backbone,
            steps,
        }
    }

    /// The timesteps it can be used at.
    pub fn timesteps(&self) -> &[usize] {
        &self.steps.timesteps
    }

    /// What it is of.
    pub fn backbone(&self) -> &M {
        &self.backbone
    }

    /// The same with the backbone that `change` makes of it, as for images of another size.
    ///
    /// # Errors
    /// What `change` gives.
    pub fn map_backbone<E>(self, change: impl FnOnce(M) -> Result<M, E>) -> Result<Self, E> {
        Ok(Self::on_grid(change(self.backbone)?, self.steps))
    }
}

/// Baked steps of another backbone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the baked patch is of tokens of another width or of more blocks; use it with its own backbone"
)]
pub struct BakedMisfit;

impl<M: Backbone> Denoiser for Baked<M> {
    fn predict(&self, x: Tensor<4>, timesteps: &[usize], labels: &[usize]) -> Tensor<4> {
        let mut hook = BakedHook::new(&self.steps, timesteps, self.spread.as_ref());
        self.backbone
            .predict_hooked(x, timesteps, labels, &mut hook)
    }

    fn layout(&self) -> ImageLayout {
        self.backbone.layout()
    }

    fn learns_variance(&self) -> bool {
        self.backbone.learns_variance()
    }

    fn null_label(&self) -> Option<usize> {
        self.backbone.null_label()
    }
}
