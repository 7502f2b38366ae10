//! What encoder and decoder are made of.

use burn::module::{Module, Param};
use burn::tensor::activation::{silu, softmax};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};

use crate::init;

/// ε of every GroupNorm.
const EPS: f64 = 1e-6;

/// A convolution with bias; its kernel is square, and images keep their size but for the stride.
#[derive(Module, Debug)]
pub(super) struct Conv {
    /// `[out, in, k, k]`.
    weight: Param<Tensor<4>>,
    /// `[out]`.
    bias: Param<Tensor<1>>,
}

impl Conv {
    pub(super) fn zeroed(inputs: usize, outputs: usize, kernel: usize, device: &Device) -> Self {
        Self {
            weight: init::zeros([outputs, inputs, kernel, kernel], device),
            bias: init::zeros([outputs], device),
        }
    }

    /// `[B, in, H, W]` → `[B, out, H, W]`, zeros around the images.
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let kernel = self.weight.dims()[2];
        self.strided(x, 1, kernel / 2)
    }

    fn strided(&self, x: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
        let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1);
        conv2d(x, self.weight.val(), Some(self.bias.val()), options)
    }
}

/// GroupNorm with learned scale and shift.
#[derive(Module, Debug)]
pub(super) struct GroupNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    groups: usize,
}

impl GroupNorm {
    pub(super) fn zeroed(channels: usize, groups: usize, device: &Device) -> Self {
        Self {
            weight: init::zeros([channels], device),
            bias: init::zeros([channels], device),
            groups,
        }
    }

    /// `[B, C, H, W]`, normalised over each group of channels of an image.
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let grouped = x.reshape([batch, self.groups, channels / self.groups * height * width]);
        let centred = grouped.clone() - grouped.mean_dim(2);
        let variance = centred.clone().square().mean_dim(2);
        let normed = (centred / (variance + EPS).sqrt()).reshape([batch, channels, height, width]);
        let of_channels = |values: &Param<Tensor<1>>| values.val().reshape([1, channels, 1, 1]);
        normed * of_channels(&self.weight) + of_channels(&self.bias)
    }
}

/// `x + conv(silu(norm(conv(silu(norm(x))))))`, with a 1×1 convolution of x where the channels change.
#[derive(Module, Debug)]
pub(super) struct Resnet {
    norm1: GroupNorm,
    conv1: Conv,
    norm2: GroupNorm,
    conv2: Conv,
    conv_shortcut: Option<Conv>,
}

impl Resnet {
    pub(super) fn zeroed(inputs: usize, outputs: usize, groups: usize, device: &Device) -> Self {
        Self {
            norm1: GroupNorm::zeroed(inputs, groups, device),
            conv1: Conv::zeroed(inputs, outputs, 3, device),
            norm2: GroupNorm::zeroed(outputs, groups, device),
            conv2: Conv::zeroed(outputs, outputs, 3, device),
            conv_shortcut: (inputs != outputs).then(|| Conv::zeroed(inputs, outputs, 1, device)),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let inner = self.conv1.forward(silu(self.norm1.forward(x.clone())));
        let inner = self.conv2.forward(silu(self.norm2.forward(inner)));
        let x = match &self.conv_shortcut {
            Some(conv) => conv.forward(x),
            None => x,
        };
        x + inner
    }
}

/// Attention of every pixel to every other, in one head.
#[derive(Module, Debug)]
pub(super) struct Attention {
    group_norm: GroupNorm,
    to_q: Affine,
    to_k: Affine,
    to_v: Affine,
    to_out: Affine,
}

/// A linear map as PyTorch stores it.
#[derive(Module, Debug)]
struct Affine {
    /// `[out, in]`.
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Affine {
    fn zeroed(channels: usize, device: &Device) -> Self {
        Self {
            weight: init::zeros([channels, channels], device),
            bias: init::zeros([channels], device),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        x.matmul(self.weight.val().transpose().unsqueeze()) + self.bias.val().unsqueeze()
    }
}

impl Attention {
    fn zeroed(channels: usize, groups: usize, device: &Device) -> Self {
        let affine = || Affine::zeroed(channels, device);
        Self {
            group_norm: GroupNorm::zeroed(channels, groups, device),
            to_q: affine(),
            to_k: affine(),
            to_v: affine(),
            to_out: affine(),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let tokens = self.group_norm.forward(x.clone());
        let tokens = tokens.reshape([batch, channels, height * width]);
        let tokens = tokens.swap_dims(1, 2);
        let (q, k, v) = (
            self.to_q.forward(tokens.clone()),
            self.to_k.forward(tokens.clone()),
            self.to_v.forward(tokens),
        );
        let scores = q.matmul(k.swap_dims(1, 2)) / (channels as f64).sqrt();
        let mixed = self.to_out.forward(softmax(scores, 2).matmul(v));
        x + mixed
            .swap_dims(1, 2)
            .reshape([batch, channels, height, width])
    }
}

/// The middle of encoder and decoder: two residual blocks, attention between them.
#[derive(Module, Debug)]
pub(super) struct Middle {
    resnets: Vec<Resnet>,
    attentions: Vec<Attention>,
}

impl Middle {
    pub(super) fn zeroed(channels: usize, groups: usize, attends: bool, device: &Device) -> Self {
        let resnet = || Resnet::zeroed(channels, channels, groups, device);
        let attention = || Attention::zeroed(channels, groups, device);
        Self {
            resnets: vec![resnet(), resnet()],
            attentions: attends.then(attention).into_iter().collect(),
        }
    }

    pub(super) fn forward(&self, mut x: Tensor<4>) -> Tensor<4> {
        for (index, resnet) in self.resnets.iter().enumerate() {
            if index > 0 {
                for attention in &self.attentions {
                    x = attention.forward(x);
                }
            }
            x = resnet.forward(x);
        }
        x
    }
}

/// A level on the way down: residual blocks, then half the size.
#[derive(Module, Debug)]
pub(super) struct Down {
    resnets: Vec<Resnet>,
    downsamplers: Vec<Resampler>,
}

/// A level on the way up: residual blocks, then twice the size.
#[derive(Module, Debug)]
pub(super) struct Up {
    resnets: Vec<Resnet>,
    upsamplers: Vec<Resampler>,
}

/// The convolution of a change of size.
#[derive(Module, Debug)]
struct Resampler {
    conv: Conv,
}

/// `count` residual blocks from `inputs` to `outputs` channels, and what changes the size if something does.
fn level(
    [inputs, outputs]: [usize; 2],
    count: usize,
    groups: usize,
    resamples: bool,
    device: &Device,
) -> (Vec<Resnet>, Vec<Resampler>) {
    let first = Resnet::zeroed(inputs, outputs, groups, device);
    let others = (1..count).map(|_| Resnet::zeroed(outputs, outputs, groups, device));
    let resampler = resamples.then(|| Resampler {
        conv: Conv::zeroed(outputs, outputs, 3, device),
    });
    (
        std::iter::once(first).chain(others).collect(),
        resampler.into_iter().collect(),
    )
}

impl Down {
    pub(super) fn zeroed(
        channels: [usize; 2],
        count: usize,
        groups: usize,
        halves: bool,
        device: &Device,
    ) -> Self {
        let (resnets, downsamplers) = level(channels, count, groups, halves, device);
        Self {
            resnets,
            downsamplers,
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = (self.resnets.iter()).fold(x, |x, resnet| resnet.forward(x));
        let halve = |x: Tensor<4>, down: &Resampler| {
            // Zeros below and to the right alone.
            let padded = x.pad((0, 1, 0, 1), 0.0);
            down.conv.strided(padded, 2, 0)
        };
        self.downsamplers.iter().fold(x, halve)
    }
}

impl Up {
    pub(super) fn zeroed(
        channels: [usize; 2],
        count: usize,
        groups: usize,
        doubles: bool,
        device: &Device,
    ) -> Self {
        let (resnets, upsamplers) = level(channels, count, groups, doubles, device);
        Self {
            resnets,
            upsamplers,
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = (self.resnets.iter()).fold(x, |x, resnet| resnet.forward(x));
        (self.upsamplers.iter()).fold(x, |x, up| up.conv.forward(doubled(x)))
    }
}

/// Every pixel twice in both directions.
fn doubled(x: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch * channels, height, 1, width, 1])
        .expand([batch * channels, height, 2, width, 2])
        .reshape([batch, channels, 2 * height, 2 * width])
}
