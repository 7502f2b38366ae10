//! W·[g ; l] + b: the paper's linear gate, and what the others begin with.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::Gate;
use crate::init::{self, Initializer};

/// An affine map of the gate's input g and the raw block index l: W is `[out, in + 1]`, its last column multiplies l.
#[derive(Module, Debug)]
pub struct Affine {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Affine {
    /// W, `[out, in + 1]`.
    pub fn weight(&self) -> Tensor<2> {
        self.weight.val()
    }

    /// b, `[out]`.
    pub fn bias(&self) -> Tensor<1> {
        self.bias.val()
    }

    pub(super) fn zeroed(inputs: usize, outputs: usize, device: &Device) -> Self {
        Self {
            weight: init::zeros([outputs, inputs + 1], device),
            bias: init::zeros([outputs], device),
        }
    }

    /// W Xavier-uniform, b zero.
    pub(super) fn draw(&mut self, init: &mut Initializer) {
        let [outputs, width] = self.weight.dims();
        self.weight = init.xavier([outputs, width], width, outputs);
    }

    /// g `[B, in]` → `[B, out]` for each of `blocks`.
    pub(super) fn at_blocks(&self, input: Tensor<2>, blocks: &[usize]) -> Vec<Tensor<2>> {
        let weight = self.weight.val();
        let inputs = weight.dims()[1] - 1;
        // What all blocks share, once.
        let shared = input.matmul(weight.clone().narrow(1, 0, inputs).transpose())
            + self.bias.val().unsqueeze();
        let per_block = weight.narrow(1, inputs, 1).transpose();
        let of = |&block: &usize| shared.clone() + per_block.clone() * block as f32;
        blocks.iter().map(of).collect()
    }
}

impl Gate for Affine {
    fn logits(&self, input: Tensor<2>, blocks: &[usize]) -> Vec<Tensor<2>> {
        self.at_blocks(input, blocks)
    }

    fn init(&mut self, init: &mut Initializer, silent: bool) {
        if !silent {
            self.draw(init);
        }
    }
}
