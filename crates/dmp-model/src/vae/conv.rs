//! The convolutions, which weights are packed for once they are loaded.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use crate::fused::FrozenConv;
use crate::init;

/// A convolution with bias; its kernel is square, and images keep their size but for the stride.
#[derive(Module, Debug)]
pub(super) struct Conv {
    /// `[out, in, k, k]`; none once it is packed.
    weight: Option<Param<Tensor<4>>>,
    /// `[out]`.
    bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    packed: Option<FrozenConv>,
    #[module(skip)]
    stride: usize,
    #[module(skip)]
    padding: usize,
}

impl Conv {
    /// With zeros around the images.
    pub(super) fn zeroed(inputs: usize, outputs: usize, kernel: usize, device: &Device) -> Self {
        Self {
            weight: Some(init::zeros([outputs, inputs, kernel, kernel], device)),
            bias: Some(init::zeros([outputs], device)),
            packed: None,
            stride: 1,
            padding: kernel / 2,
        }
    }

    /// With zeros below and to the right of them alone, and half as many rows and columns.
    pub(super) fn halving(channels: usize, device: &Device) -> Self {
        Self {
            stride: 2,
            padding: 0,
            ..Self::zeroed(channels, channels, 3, device)
        }
    }

    /// Has the weights as the device multiplies them best, and no longer as parameters.
    pub(super) fn pack(&mut self) {
        if let (Some(weight), Some(bias)) = (self.weight.take(), self.bias.take()) {
            let (weight, bias) = (weight.val(), bias.val());
            let padding = [self.padding; 2];
            self.packed = Some(FrozenConv::new(weight, bias, self.stride, padding, false));
        }
    }

    /// `[B, in, H, W]` → `[B, out, H, W]`, or halves of these.
    ///
    /// # Panics
    /// When it has not been packed: a bug of [`Vae::load`](super::Vae::load).
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = match self.stride {
            1 => x,
            _ => x.pad((0, 1, 0, 1), 0.0),
        };
        self.packed.as_ref().expect("packed").forward(x)
    }
}
