//! The demo's evaluation network: what Inception is for photographs, for 28 × 28 grey images.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

/// Channels of the images and after each block.
const CHANNELS: [usize; 4] = [1, 16, 64, 128];
/// Rows and columns that are left when three blocks have halved 28: 14, 7, 3.
const LAST_SIDE: usize = 3;
/// Rows and columns of every convolution's kernel.
const KERNEL: usize = 3;

/// A CNN for 28 × 28 grey images: three blocks of 3×3 convolution, batch norm, 2×2 max pooling and ReLU; a
/// hidden layer whose activations are the features; a classifier.
#[derive(Module, Debug)]
pub struct FashionCnn {
    blocks: Vec<ConvBlock>,
    hidden: Linear,
    classifier: Linear,
}

/// What the network says about a batch.
#[derive(Clone, Debug)]
pub struct FeatureOutput {
    /// Activations of the last hidden layer, at least 0, `[batch, 128]`.
    pub features: Tensor<2>,
    /// Unnormalised log-probabilities of the classes, `[batch, 10]`.
    pub logits: Tensor<2>,
}

impl FashionCnn {
    /// Features of an image.
    pub const FEATURES: usize = 128;
    /// Classes it tells apart.
    pub const CLASSES: usize = 10;

    /// An untrained network, with weights from `device`'s random numbers.
    pub fn new(device: &Device) -> Self {
        let blocks = (CHANNELS.windows(2))
            .map(|pair| ConvBlock::new([pair[0], pair[1]], device))
            .collect();
        let last = CHANNELS[3] * LAST_SIDE * LAST_SIDE;
        Self {
            blocks,
            hidden: LinearConfig::new(last, Self::FEATURES).init(device),
            classifier: LinearConfig::new(Self::FEATURES, Self::CLASSES).init(device),
        }
    }

    /// Features and logits of images scaled to [-1, 1].
    ///
    /// # Shapes
    /// - `images`: `[batch, 1, 28, 28]`
    pub fn forward(&self, images: Tensor<4>) -> FeatureOutput {
        // One channel: channels first and channels last are the same values.
        let [batch, channels, height, width] = images.dims();
        let mut x = images.reshape([batch, height, width, channels]);
        for block in &self.blocks {
            x = block.forward(x);
        }
        let features = relu(self.hidden.forward(x.flatten(1, 3)));
        FeatureOutput {
            logits: self.classifier.forward(features.clone()),
            features,
        }
    }
}

/// A 3×3 convolution that keeps the size, batch norm, 2×2 max pooling, ReLU; channels last.
///
/// The convolution is one matrix product over the nine shifted images: several times faster here than the
/// backend's own, and as exact.
#[derive(Module, Debug)]
struct ConvBlock {
    conv: Conv2d,
    norm: BatchNorm,
}

impl ConvBlock {
    fn new(channels: [usize; 2], device: &Device) -> Self {
        Self {
            // For its kernel and its initialisation. The norm that follows takes any bias away.
            conv: Conv2dConfig::new(channels, [KERNEL, KERNEL])
                .with_bias(false)
                .init(device),
            norm: BatchNormConfig::new(channels[1]).init(device),
        }
    }

    /// `[batch, h, w, in]` → `[batch, ⌊h/2⌋, ⌊w/2⌋, out]`.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, height, width, _] = x.dims();
        let kernel = self.conv.weight.val();
        let [out, channels, _, _] = kernel.dims();
        let kernel = kernel
            .permute([2, 3, 1, 0])
            .reshape([KERNEL * KERNEL * channels, out]);
        let x = self.norm.forward(neighbourhoods(x).matmul(kernel));
        // ReLU is monotone, so pooling first gives the same at a quarter of the work.
        relu(halve(halve(x.reshape([batch, height, width, out]), 1), 2))
    }
}

/// `[batch, h, w, c]` → each pixel's 3×3 neighbourhood, zeros beyond the edge, `[batch·h·w, 9·c]`.
fn neighbourhoods(x: Tensor<4>) -> Tensor<2> {
    let [batch, height, width, channels] = x.dims();
    let device = x.device();
    let row = Tensor::zeros([batch, 1, width, channels], &device);
    let x = Tensor::cat(vec![row.clone(), x, row], 1);
    let column = Tensor::zeros([batch, height + 2, 1, channels], &device);
    let x = Tensor::cat(vec![column.clone(), x, column], 2);
    let shifted = (0..KERNEL * KERNEL)
        .map(|at| {
            x.clone()
                .narrow(1, at / KERNEL, height)
                .narrow(2, at % KERNEL, width)
        })
        .collect();
    Tensor::cat(shifted, 3).reshape([batch * height * width, KERNEL * KERNEL * channels])
}

/// Maximum of neighbours along `dim`; an odd last one is dropped.
fn halve(x: Tensor<4>, dim: usize) -> Tensor<4> {
    let mut shape = x.dims();
    shape[dim] /= 2;
    let x = x.narrow(dim, 0, 2 * shape[dim]);
    let mut pairs = [0; 5];
    pairs[..=dim].copy_from_slice(&shape[..=dim]);
    pairs[dim + 1] = 2;
    pairs[dim + 2..].copy_from_slice(&shape[dim + 1..]);
    let pairs = x.reshape(pairs);
    let one = |at| pairs.clone().narrow(dim + 1, at, 1).reshape(shape);
    one(0).max_pair(one(1))
}

#[cfg(test)]
mod tests {
    use burn::module::RunningState;
    use burn::nn::PaddingConfig2d;
    use burn::nn::pool::MaxPool2dConfig;
    use burn::tensor::Distribution;

    use super::*;
    use crate::init;

    /// A block against the backend's own convolution and pooling, on an odd size.
    #[test]
    fn a_block_is_a_convolution_a_norm_and_a_pooling() {
        let device = Device::flex();
        let mut block = ConvBlock::new([3, 5], &device);
        // Not the identity that a new norm is; a negative γ shows when pooling comes before it.
        let channel = |values: [f32; 5]| Tensor::<1>::from_floats(values, &device);
        block.norm.gamma = init::parameter(channel([1.0, -2.0, 0.5, -0.5, 3.0]));
        block.norm.beta = init::parameter(channel([0.1, 0.2, -0.3, 0.4, 0.0]));
        block.norm.running_mean = RunningState::new(channel([0.3, -0.2, 0.0, 0.1, 0.5]));
        block.norm.running_var = RunningState::new(channel([0.5, 2.0, 1.0, 0.1, 4.0]));
        let x = Tensor::<4>::random([2, 3, 7, 6], Distribution::Uniform(-1.0, 1.0), &device);
        let mut conv = Conv2dConfig::new([3, 5], [KERNEL, KERNEL])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .with_bias(false)
            .init(&device);
        conv.weight = block.conv.weight.clone();
        let pool = MaxPool2dConfig::new([2, 2]).init();
        let expected = relu(pool.forward(block.norm.forward(conv.forward(x.clone()))));
        let found = block.forward(x.permute([0, 2, 3, 1])).permute([0, 3, 1, 2]);
        assert_eq!(found.dims(), [2, 5, 3, 3]);
        let distance = (found - expected).abs().max().into_scalar::<f32>();
        assert!(distance < 1e-5, "{distance}");
    }
}
