//! A backbone and a patch, joined.

use burn::tensor::Tensor;

use crate::denoiser::{Backbone, Denoiser, ImageLayout};
use crate::grid::grid_map;
use crate::patch::{GateNoise, Patch, PatchConfigError, Router, Routing};

/// A frozen backbone with a patch on it. Samples like any [`Denoiser`].
#[derive(Debug, Clone)]
pub struct Patched<M> {
    backbone: M,
    patch: Patch,
    /// Of the prompts.
    grid: [usize; 2],
    /// From there to the grid of the tokens, where that is another.
    spread: Option<Tensor<2>>,
}

impl<M: Backbone> Patched<M> {
    /// Joins the two, if the patch's sizes fit.
    pub fn new(backbone: M, patch: Patch) -> Result<Self, PatchConfigError> {
        patch.config().validate(
            backbone.num_tokens(),
            backbone.hidden_size(),
            backbone.depth(),
        )?;
        let grid = patch.config().grid.unwrap_or(backbone.token_grid());
        Ok(Self::on_grid(backbone, patch, grid))
    }

    fn on_grid(backbone: M, patch: Patch, grid: [usize; 2]) -> Self {
        let tokens = backbone.token_grid();
        let device = patch.prompts_of(0).map(|prompts| prompts.device());
        let device = device.filter(|_| grid != tokens);
        Self {
            spread: device.map(|device| grid_map(grid, tokens, &device)),
            backbone,
            patch,
            grid,
        }
    }

    /// The same with the backbone that `change` makes of it, as for images of another size: prompts on a grid are
    /// interpolated to its tokens.
    ///
    /// # Errors
    /// What `change` gives.
    pub fn map_backbone<E>(self, change: impl FnOnce(M) -> Result<M, E>) -> Result<Self, E> {
        Ok(Self::on_grid(change(self.backbone)?, self.patch, self.grid))
    }

    /// The same with the patch at timesteps below this one only; at all of them for `None`.
    ///
    /// # Errors
    /// Where the patch cannot be so limited: it has extra tokens.
    pub fn acting_below(self, below: Option<usize>) -> Result<Self, PatchConfigError> {
        let patch = self.patch.acting_below(below)?;
        Ok(Self { patch, ..self })
    }

    /// The backbone.
    pub fn backbone(&self) -> &M {
        &self.backbone
    }

    /// The patch.
    pub fn patch(&self) -> &Patch {
        &self.patch
    }

    /// Replaces the patch by what `update` (an optimiser's step) makes of it.
    pub fn map_patch(mut self, update: impl FnOnce(Patch) -> Patch) -> Self {
        self.patch = update(self.patch);
        self
    }

    /// What the gate does, noisy with `noise`, without running the backbone's blocks.
    pub fn route(
        &self,
        timesteps: &[usize],
        labels: &[usize],
        noise: Option<&GateNoise>,
    ) -> Routing {
        self.patch
            .route(&self.backbone.condition(timesteps, labels), noise)
    }

    /// Prediction with a noisy gate, as in training, and what the gate did.
    ///
    /// # Shapes
    /// As [`Denoiser::predict`]; `noise` is `[depth, B, N]`.
    pub fn predict_training(
        &self,
        x: Tensor<4>,
        timesteps: &[usize],
        labels: &[usize],
        noise: Option<&GateNoise>,
    ) -> (Tensor<4>, Routing) {
        let mut router = Router::new(&self.patch, noise)
            .spread(self.spread.as_ref())
            .at(timesteps);
        let output = self
            .backbone
            .predict_hooked(x, timesteps, labels, &mut router);
        (output, router.into_routing())
    }
}

impl<M: Backbone> Denoiser for Patched<M> {
    fn predict(&self, x: Tensor<4>, timesteps: &[usize], labels: &[usize]) -> Tensor<4> {
        let mut router = Router::new(&self.patch, None)
            .spread(self.spread.as_ref())
            .at(timesteps);
        self.backbone
            .predict_hooked(x, timesteps, labels, &mut router)
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
