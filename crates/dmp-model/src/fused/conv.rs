//! Convolution with bias, and pooling, for networks that are not trained here.

use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Dispatch, backend_extension};
use burn::tensor::activation;
use burn::tensor::module::{avg_pool2d, conv2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor};
use burn_flex::{Flex, FlexTensor};
use dmp_kernels::conv::{Conv, Filter};
use dmp_kernels::pool::{self, Pool, PoolShape};

use super::flex::{tensor, values};
use super::{available, group_norm};
use crate::host;

/// Operations without a backward pass.
#[backend_extension(Flex)]
pub trait InferenceBackend: burn::backend::Backend {
    /// See [`FrozenConv::forward`].
    fn conv(x: FloatTensor<Self>, conv: Arc<Conv>) -> FloatTensor<Self>;

    /// See [`group_norm()`](super::group_norm()).
    fn group_norm(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        groups: usize,
        silu: bool,
    ) -> FloatTensor<Self>;

    /// See [`pool()`]; `mean` is of [`Pool::Mean`].
    fn pool(x: FloatTensor<Self>, mean: bool, stride: usize, padding: usize) -> FloatTensor<Self>;
}

impl InferenceBackend for Flex {
    fn group_norm(
        x: FlexTensor,
        scale: FlexTensor,
        shift: FlexTensor,
        groups: usize,
        silu: bool,
    ) -> FlexTensor {
        group_norm::of_flex(x, scale, shift, groups, silu)
    }

    fn conv(x: FlexTensor, conv: Arc<Conv>) -> FlexTensor {
        let x = x.to_contiguous();
        let [batch, channels, height, width] = x.layout().shape().dims();
        assert_eq!(channels, conv.filter().inputs, "channels");
        let out = conv.forward(values(&x), [height, width]);
        let [rows, columns] = conv.filter().out_size([height, width]);
        tensor(out, [batch, conv.filter().outputs, rows, columns])
    }

    fn pool(x: FlexTensor, mean: bool, stride: usize, padding: usize) -> FlexTensor {
        let x = x.to_contiguous();
        let [batch, channels, height, width] = x.layout().shape().dims();
        let shape = PoolShape {
            planes: batch * channels,
            size: [height, width],
            stride,
            padding,
        };
        let kind = if mean { Pool::Mean } else { Pool::Max };
        let out = pool::pool(kind, &shape, values(&x));
        let [rows, columns] = shape.out_size();
        tensor(out, [batch, channels, rows, columns])
    }
}

/// The largest value, or the mean of those inside the image, of each window of 3×3: images `[B, C, H, W]` → `[B, C, H', W']`.
pub fn pool(x: Tensor<4>, kind: Pool, stride: usize, padding: usize) -> Tensor<4> {
    let device = x.device();
    if available(&device) && !device.is_autodiff() {
        let mean = kind == Pool::Mean;
        return Tensor::from_dispatch(Dispatch::pool(x.into_dispatch(), mean, stride, padding));
    }
    pool_reference(x, kind, stride, padding)
}

/// [`pool()`] in burn operations: what defines it, on every device.
pub fn pool_reference(x: Tensor<4>, kind: Pool, stride: usize, padding: usize) -> Tensor<4> {
    let (stride, padding) = ([stride; 2], [(padding, padding); 2]);
    match kind {
        Pool::Max => max_pool2d(
            x,
            MaxPoolOptions {
                stride,
                padding,
                ..MaxPoolOptions::new([3, 3])
            },
        ),
        Pool::Mean => avg_pool2d(
            x,
            AvgPoolOptions {
                stride,
                padding,
                count_include_pad: false,
                ..AvgPoolOptions::new([3, 3])
            },
        ),
    }
}

/// `conv(x) + bias`, or the ReLU of it, with weights that stay as they are; clones share them.
///
/// Where the kernel runs they are packed for it. It knows no gradients, so that weights on a device that tracks them have the
/// reference compute.
#[derive(Debug, Clone)]
pub struct FrozenConv(Weights);

#[derive(Debug, Clone)]
enum Weights {
    /// For the kernel.
    Packed(Arc<Conv>),
    /// For the reference.
    Tensors(Box<Tensors>),
}

#[derive(Debug, Clone)]
struct Tensors {
    weight: Tensor<4>,
    bias: Tensor<1>,
    stride: usize,
    padding: [usize; 2],
    relu: bool,
}

impl FrozenConv {
    /// Takes weight `[D, C, kh, kw]` and bias `[D]`; zeros around the images above and below, left and right.
    pub fn new(
        weight: Tensor<4>,
        bias: Tensor<1>,
        stride: usize,
        padding: [usize; 2],
        relu: bool,
    ) -> Self {
        let device = weight.device();
        if !available(&device) || device.is_autodiff() {
            return Self(Weights::Tensors(Box::new(Tensors {
                weight,
                bias,
                stride,
                padding,
                relu,
            })));
        }
        let [outputs, inputs, rows, columns] = weight.dims();
        let filter = Filter {
            inputs,
            outputs,
            kernel: [rows, columns],
            stride,
            padding,
        };
        let (weight, bias) = (host::values(weight), host::values(bias));
        Self(Weights::Packed(Arc::new(Conv::new(
            filter, &weight, &bias, relu,
        ))))
    }

    /// Images `[B, C, H, W]` → `[B, D, H', W']`.
    ///
    /// # Panics
    /// When images are not on the device of the weights: a bug of the caller, never of a user.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match &self.0 {
            Weights::Packed(conv) => {
                assert_eq!(x.device(), Device::flex(), "images elsewhere than weights");
                Tensor::from_dispatch(Dispatch::conv(x.into_dispatch(), Arc::clone(conv)))
            }
            Weights::Tensors(tensors) => {
                let Tensors {
                    weight,
                    bias,
                    stride,
                    padding,
                    relu,
                } = tensors.as_ref().clone();
                conv_reference(x, weight, bias, stride, padding, relu)
            }
        }
    }
}

/// [`FrozenConv`] in burn operations: what defines it, on every device. Images `[B, C, H, W]`, weight `[D, C, kh, kw]` and bias `[D]` →
/// `[B, D, H', W']`.
pub fn conv_reference(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    stride: usize,
    padding: [usize; 2],
    relu: bool,
) -> Tensor<4> {
    let options = ConvOptions::new([stride; 2], padding, [1; 2], 1);
    let out = conv2d(x, weight, Some(bias), options);
    match relu {
        true => activation::relu(out),
        false => out,
    }
}
