//! At which images a patch acts: those whose noise is below its limit.

use burn::tensor::{Device, Tensor, TensorData};

/// At which images of a batch a patch acts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Acting {
    /// At all of them.
    #[default]
    Everywhere,
    /// At none.
    Nowhere,
    /// At those with 1, not at those with 0.
    Here(Vec<f32>),
}

impl Acting {
    /// Of a patch that acts below a timestep, at images of these.
    pub(super) fn at(timesteps: &[usize], below: Option<usize>) -> Self {
        let Some(below) = below else {
            return Self::Everywhere;
        };
        let acting = timesteps.iter().filter(|&&t| t < below).count();
        match acting {
            0 => Self::Nowhere,
            all if all == timesteps.len() => Self::Everywhere,
            _ => {
                let one = |&t: &usize| if t < below { 1.0 } else { 0.0 };
                Self::Here(timesteps.iter().map(one).collect())
            }
        }
    }

    /// A mask `[B, N]` with zeros where the patch does not act; `None` is ones, of `prompts` prompts.
    pub(super) fn of(
        &self,
        mask: Option<Tensor<2>>,
        prompts: usize,
        device: &Device,
    ) -> Option<Tensor<2>> {
        let rows = match self {
            Self::Everywhere => return mask,
            Self::Nowhere => Tensor::<2>::zeros([1, 1], device),
            Self::Here(rows) => {
                let rows = TensorData::new(rows.clone(), [rows.len(), 1]);
                Tensor::<2>::from_data(rows, device)
            }
        };
        Some(match mask {
            Some(mask) => mask * rows,
            None => rows.repeat_dim(1, prompts),
        })
    }
}
