//! A LoRA that acts at some timesteps alone: two backbones, of which each image has the one that its noise asks for.

use burn::tensor::{Int, Tensor};

use super::{Lora, LoraConfigError};
use crate::denoiser::{Denoiser, ImageLayout};
use crate::dit::Dit;

/// A backbone that a LoRA is merged into below a timestep, and that is as it was from there on.
///
/// Both are kept, so that it takes twice the memory of a backbone; a prediction costs what one of them costs.
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
    pub fn new(backbone: &Dit, lora: &Lora, below: usize) -> Result<Self, LoraConfigError> {
        Ok(Self {
            merged: lora.merge(backbone)?,
            bare: backbone.clone(),
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
        let (below, above): (Vec<usize>, Vec<usize>) =
            (0..timesteps.len()).partition(|&image| timesteps[image] < self.below);
        if above.is_empty() {
            return self.merged.predict(x, timesteps, labels);
        }
        if below.is_empty() {
            return self.bare.predict(x, timesteps, labels);
        }
        let device = x.device();
        let chosen = |order: &[usize]| {
            let order: Vec<i64> = order.iter().map(|&image| image as i64).collect();
            Tensor::<1, Int>::from_data(order.as_slice(), &device)
        };
        let of = |model: &Dit, images: &[usize]| {
            let timesteps: Vec<usize> = images.iter().map(|&image| timesteps[image]).collect();
            let labels: Vec<usize> = images.iter().map(|&image| labels[image]).collect();
            let x = x.clone().select(0, chosen(images));
            model.predict(x, &timesteps, &labels)
        };
        let predicted = vec![of(&self.merged, &below), of(&self.bare, &above)];
        // Image i is now at the place that i has in `below` and then `above`.
        let mut places = vec![0; timesteps.len()];
        for (place, &image) in below.iter().chain(&above).enumerate() {
            places[image] = place;
        }
        Tensor::cat(predicted, 0).select(0, chosen(&places))
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
