//! The linear gate: from the noise level and the block's index to one logit a prompt.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, activation::softplus};

use crate::init::{self, Initializer};

/// Least standard deviation of the training noise on logits.
pub const NOISE_FLOOR: f64 = 1e-2;

/// `logits = W·[g ; l] + b`: W is `[N, D+1]`, its last column multiplies the raw block index l.
#[derive(Module, Debug)]
pub struct LinearGate {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

/// What the logits of all blocks share: `W_D·g + b` `[B, N]`, the block column `[1, N]`, and in training
/// the noise's standard deviation `[B, N]`.
#[derive(Debug, Clone)]
pub(super) struct Logits {
    shared: Tensor<2>,
    per_block: Tensor<2>,
    pub(super) noise_std: Option<Tensor<2>>,
}

impl LinearGate {
    /// W, `[N, D+1]`.
    pub fn weight(&self) -> Tensor<2> {
        self.weight.val()
    }

    /// b, `[N]`.
    pub fn bias(&self) -> Tensor<1> {
        self.bias.val()
    }

    pub(super) fn zeroed(hidden: usize, prompts: usize, device: &Device) -> Self {
        Self {
            weight: init::zeros([prompts, hidden + 1], device),
            bias: init::zeros([prompts], device),
        }
    }

    pub(super) fn init(&mut self, init: &mut Initializer) {
        let [prompts, width] = self.weight.dims();
        self.weight = init.xavier([prompts, width], width, prompts);
    }

    /// `input` g `[B, D]`; `w_noise` `[D, N]` only in training.
    pub(super) fn logits(&self, input: Tensor<2>, w_noise: Option<Tensor<2>>) -> Logits {
        let weight = self.weight.val();
        let [_, width] = weight.dims();
        let noise_std = w_noise.map(|w| softplus(input.clone().matmul(w), 1.0) + NOISE_FLOOR);
        let shared = input.matmul(weight.clone().narrow(1, 0, width - 1).transpose())
            + self.bias.val().unsqueeze();
        let per_block = weight.narrow(1, width - 1, 1).transpose();
        Logits {
            shared,
            per_block,
            noise_std,
        }
    }
}

impl Logits {
    /// Noise-free logits `[B, N]` of one block.
    pub(super) fn at_block(&self, block: usize) -> Tensor<2> {
        self.shared.clone() + self.per_block.clone() * block as f32
    }
}
