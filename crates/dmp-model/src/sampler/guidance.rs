//! Classifier-free guidance (Ho & Salimans, arXiv 2207.12598).

use burn::tensor::Tensor;

use crate::denoiser::{Denoiser, ImageLayout};

/// Which channels of the predicted noise are guided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GuidedChannels {
    /// The first three, as the original DiT code does, so that published numbers can be reproduced.
    #[default]
    FirstThree,
    /// All of them.
    All,
}

/// Guides a denoiser away from its own prediction without a label: ε = ε_∅ + scale·(ε_y − ε_∅).
#[derive(Debug, Clone, Copy)]
pub struct Guided<'a, D> {
    denoiser: &'a D,
    null_label: usize,
    scale: f32,
    channels: GuidedChannels,
}

impl<'a, D: Denoiser> Guided<'a, D> {
    /// `None` when the denoiser was trained without label dropout and so has nothing to be guided from.
    pub fn new(denoiser: &'a D, scale: f64, channels: GuidedChannels) -> Option<Self> {
        let null_label = denoiser.null_label()?;
        Some(Self {
            denoiser,
            null_label,
            scale: scale as f32,
            channels,
        })
    }
}

impl<D: Denoiser> Denoiser for Guided<'_, D> {
    /// Both predictions run as one batch of 2·B; the variance is the labelled prediction's.
    fn predict(&self, x: Tensor<4>, timesteps: &[usize], labels: &[usize]) -> Tensor<4> {
        let [batch, channels, _, _] = x.dims();
        let both_labels: Vec<usize> = labels
            .iter()
            .copied()
            .chain(std::iter::repeat_n(self.null_label, batch))
            .collect();
        let both = self.denoiser.predict(
            Tensor::cat(vec![x.clone(), x], 0),
            &[timesteps, timesteps].concat(),
            &both_labels,
        );
        let guided = match self.channels {
            GuidedChannels::FirstThree => channels.min(3),
            GuidedChannels::All => channels,
        };
        let labelled = both.clone().narrow(0, 0, batch);
        let with = labelled.clone().narrow(1, 0, guided);
        let without = both.narrow(0, batch, batch).narrow(1, 0, guided);
        let epsilon = without.clone() + (with - without) * self.scale;
        let rest = labelled.dims()[1] - guided;
        if rest == 0 {
            return epsilon;
        }
        Tensor::cat(vec![epsilon, labelled.narrow(1, guided, rest)], 1)
    }

    fn layout(&self) -> ImageLayout {
        self.denoiser.layout()
    }

    fn learns_variance(&self) -> bool {
        self.denoiser.learns_variance()
    }

    fn null_label(&self) -> Option<usize> {
        self.denoiser.null_label()
    }
}
