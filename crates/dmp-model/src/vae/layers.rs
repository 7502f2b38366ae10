//! What encoder and decoder are made of.

use burn::module::{Module, Param};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};

use super::conv::Conv;
use crate::fused::group_norm;
use crate::init;

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
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        group_norm(x, self.weight.val(), self.bias.val(), self.groups, false)
    }

    /// That, and SiLU.
    pub(super) fn silu(&self, x: Tensor<4>) -> Tensor<4> {
        group_norm(x, self.weight.val(), self.bias.val(), self.groups, true)
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

    fn convs(&mut self) -> impl Iterator<Item = &mut Conv> {
        [&mut self.conv1, &mut self.conv2]
            .into_iter()
            .chain(&mut self.conv_shortcut)
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let inner = self.conv1.forward(self.norm1.silu(x.clone()));
        let inner = self.conv2.forward(self.norm2.silu(inner));
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

    pub(super) fn convs(&mut self) -> impl Iterator<Item = &mut Conv> {
        self.resnets.iter_mut().flat_map(Resnet::convs)
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

/// `count` residual blocks from `inputs` to `outputs` channels.
fn resnets(
    [inputs, outputs]: [usize; 2],
    count: usize,
    groups: usize,
    device: &Device,
) -> Vec<Resnet> {
    let first = Resnet::zeroed(inputs, outputs, groups, device);
    let others = (1..count).map(|_| Resnet::zeroed(outputs, outputs, groups, device));
    std::iter::once(first).chain(others).collect()
}

/// Those of a level, and of what changes its size.
fn convs_of<'a>(
    resnets: &'a mut [Resnet],
    resamplers: &'a mut [Resampler],
) -> impl Iterator<Item = &'a mut Conv> {
    let resamplers = resamplers.iter_mut().map(|resampler| &mut resampler.conv);
    resnets.iter_mut().flat_map(Resnet::convs).chain(resamplers)
}

impl Down {
    pub(super) fn zeroed(
        channels: [usize; 2],
        count: usize,
        groups: usize,
        halves: bool,
        device: &Device,
    ) -> Self {
        let resampler = || Resampler {
            conv: Conv::halving(channels[1], device),
        };
        Self {
            resnets: resnets(channels, count, groups, device),
            downsamplers: halves.then(resampler).into_iter().collect(),
        }
    }

    pub(super) fn convs(&mut self) -> impl Iterator<Item = &mut Conv> {
        convs_of(&mut self.resnets, &mut self.downsamplers)
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = (self.resnets.iter()).fold(x, |x, resnet| resnet.forward(x));
        (self.downsamplers.iter()).fold(x, |x, down| down.conv.forward(x))
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
        let resampler = || Resampler {
            conv: Conv::zeroed(channels[1], channels[1], 3, device),
        };
        Self {
            resnets: resnets(channels, count, groups, device),
            upsamplers: doubles.then(resampler).into_iter().collect(),
        }
    }

    pub(super) fn convs(&mut self) -> impl Iterator<Item = &mut Conv> {
        convs_of(&mut self.resnets, &mut self.upsamplers)
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
