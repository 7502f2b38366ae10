//! A LoRA that acts at some timesteps alone: two backbones, of which each image has the one that its timestep asks for.

use burn::tensor::{Bool, Tensor};

use super::{Lora, LoraConfigError};
use crate::denoiser::{Denoiser, ImageLayout};
use crate::dit::Dit;

/// A backbone that a LoRA is merged into below a timestep, and that is as it was from there on.
///
/// Both are kept, so that it takes up to twice the memory of a backbone. A prediction costs what one of them costs, or both where
/// the images of a batch are on either side of the limit.
#[derive(Debug, Clone)]
pub struct Limited {
    merged: Dit,
    bare: Dit,
    below: usize,
}

impl Limited {
    /// `backbone` with `lora` merged into it at timesteps below `below`.
    ///
    /// # Errors
    /// A backbone of other sizes.
    pub fn new(backbone: Dit, lora: &Lora, below: usize) -> Result<Self, LoraConfigError> {
        Ok(Self {
            merged: lora.merge(&backbone)?,
            bare: backbone,
            below,
        })
    }

    /// The same with what `change` makes of both backbones, as for images of another size.
    ///
    /// # Errors
    /// What `change` gives.
    pub fn map_backbones<E>(self, change: impl Fn(Dit) -> Result<Dit, E>) -> Result<Self, E> {
        Ok(Self {
            merged: change(self.merged)?,
            bare: change(self.bare)?,
            ..self
        })
    }

    /// The backbone without the LoRA.
    pub fn backbone(&self) -> &Dit {
        &self.bare
    }
}

impl Denoiser for Limited {
    fn predict(&self, x: Tensor<4>, timesteps: &[usize], labels: &[usize]) -> Tensor<4> {
        let below = |time: &usize| *time < self.below;
        if timesteps.iter().all(below) {
            return self.merged.predict(x, timesteps, labels);
        }
        let bare = self.bare.predict(x.clone(), timesteps, labels);
        if !timesteps.iter().any(below) {
            return bare;
        }
        // Both of them all, so that no image's prediction is rounded otherwise than with either alone. A sampler's step never
        // comes here.
        let merged = self.merged.predict(x, timesteps, labels);
        let acting: Vec<bool> = timesteps.iter().map(below).collect();
        let acting = Tensor::<1, Bool>::from_data(acting.as_slice(), &merged.device());
        let mask = acting
            .reshape([timesteps.len(), 1, 1, 1])
            .expand(merged.dims());
        bare.mask_where(mask, merged)
    }

    fn layout(&self) -> ImageLayout {
        self.bare.layout()
    }

    fn learns_variance(&self) -> bool {
        self.bare.learns_variance()
    }

    fn null_label(&self) -> Option<usize> {
        self.bare.null_label()
    }
}
