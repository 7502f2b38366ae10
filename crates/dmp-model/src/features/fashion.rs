//! The demo's evaluation network: what Inception is for photographs, for 28 × 28 grey images.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

/// Channels after the stem and after each block.
const CHANNELS: [usize; 3] = [32, 64, 128];
/// Rows and columns that are left when the stem and both blocks have halved 28: 14, 7, 3.
const LAST_SIDE: usize = 3;

/// A CNN for 28 × 28 grey images: a 5×5 convolution of stride 2, two blocks of 3×3 convolution and 2×2 max
/// pooling, each with batch norm and ReLU; a hidden layer whose activations are the features; a classifier.
#[derive(Module, Debug)]
pub struct FashionCnn {
    stem: ConvNorm,
    blocks: Vec<ConvNorm>,
    pool: MaxPool2d,
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
            .map(|pair| ConvNorm::new([pair[0], pair[1]], 3, 1, device))
            .collect();
        let last = CHANNELS[2] * LAST_SIDE * LAST_SIDE;
        Self {
            stem: ConvNorm::new([1, CHANNELS[0]], 5, 2, device),
            blocks,
            pool: MaxPool2dConfig::new([2, 2]).init(),
            hidden: LinearConfig::new(last, Self::FEATURES).init(device),
            classifier: LinearConfig::new(Self::FEATURES, Self::CLASSES).init(device),
        }
    }

    /// Features and logits of images scaled to [-1, 1].
    ///
    /// # Shapes
    /// - `images`: `[batch, 1, 28, 28]`
    pub fn forward(&self, images: Tensor<4>) -> FeatureOutput {
        let mut x = relu(self.stem.forward(images));
        for block in &self.blocks {
            // ReLU is monotone, so pooling first gives the same at a quarter of the work.
            x = relu(self.pool.forward(block.forward(x)));
        }
        let features = relu(self.hidden.forward(x.flatten(1, 3)));
        FeatureOutput {
            logits: self.classifier.forward(features.clone()),
            features,
        }
    }
}

/// A square convolution that keeps the size but for its stride, and batch norm.
#[derive(Module, Debug)]
struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
}

impl ConvNorm {
    fn new(channels: [usize; 2], kernel: usize, stride: usize, device: &Device) -> Self {
        let edge = kernel / 2;
        Self {
            // The norm that follows takes any bias away.
            conv: Conv2dConfig::new(channels, [kernel, kernel])
                .with_stride([stride, stride])
                .with_padding(PaddingConfig2d::Explicit(edge, edge, edge, edge))
                .with_bias(false)
                .init(device),
            norm: BatchNormConfig::new(channels[1]).init(device),
        }
    }

    /// `[batch, in, h, w]` → `[batch, out, ⌈h / stride⌉, ⌈w / stride⌉]`.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(x))
    }
}
