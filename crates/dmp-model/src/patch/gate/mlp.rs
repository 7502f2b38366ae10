//! A gate with one hidden layer.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, activation::silu};

use super::{Affine, Gate};
use crate::init::{self, Initializer};

/// `logits = W₂·SiLU(W₁·[g ; l] + b₁) + b₂`.
#[derive(Module, Debug)]
pub struct MlpGate {
    fc1: Affine,
    /// W₂, `[N, H]`.
    weight: Param<Tensor<2>>,
    /// b₂, `[N]`.
    bias: Param<Tensor<1>>,
}

impl MlpGate {
    pub(super) fn zeroed(width: usize, hidden: usize, prompts: usize, device: &Device) -> Self {
        Self {
            fc1: Affine::zeroed(width, hidden, device),
            weight: init::zeros([prompts, hidden], device),
            bias: init::zeros([prompts], device),
        }
    }
}

impl Gate for MlpGate {
    fn logits(&self, input: Tensor<2>, blocks: &[usize]) -> Vec<Tensor<2>> {
        let weight = self.weight.val().transpose();
        let bias = self.bias.val().unsqueeze::<2>();
        let hidden = self.fc1.at_blocks(input, blocks).into_iter();
        hidden
            .map(|hidden| silu(hidden).matmul(weight.clone()) + bias.clone())
            .collect()
    }

    fn init(&mut self, init: &mut Initializer, silent: bool) {
        self.fc1.draw(init);
        if !silent {
            let [prompts, hidden] = self.weight.dims();
            self.weight = init.xavier([prompts, hidden], hidden, prompts);
        }
    }
}
