//! Convolution, bias and ReLU in one, and pooling, for networks that only measure.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Dispatch, backend_extension};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::module::{avg_pool2d, conv2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn_flex::{Flex, FlexTensor};
use dmp_kernels::conv::{self, ConvShape};
use dmp_kernels::pool::{self, Pool, PoolShape};

use super::available;
use super::flex::{tensor, values};

/// Operations without a backward pass.
#[backend_extension(Flex)]
pub trait InferenceBackend: burn::backend::Backend {
    /// See [`conv_relu`].
    fn conv_relu(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: usize,
        padding: [usize; 2],
    ) -> FloatTensor<Self>;

    /// See [`pool()`]; `mean` is of [`Pool::Mean`].
    fn pool(x: FloatTensor<Self>, mean: bool, stride: usize, padding: usize) -> FloatTensor<Self>;
}

impl InferenceBackend for Flex {
    fn conv_relu(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        stride: usize,
        padding: [usize; 2],
    ) -> FlexTensor {
        let (x, weight, bias) = (
            x.to_contiguous(),
            weight.to_contiguous(),
            bias.to_contiguous(),
        );
        let (images, kernels) = (
            x.layout().shape().to_vec(),
            weight.layout().shape().to_vec(),
        );
        let shape = ConvShape {
            batch: images[0],
            inputs: images[1],
            outputs: kernels[0],
            size: [images[2], images[3]],
            kernel: [kernels[2], kernels[3]],
            stride,
            padding,
        };
        let out = conv::conv_relu(&shape, values(&x), values(&weight), values(&bias));
        let [rows, columns] = shape.out_size();
        tensor(out, [shape.batch, shape.outputs, rows, columns])
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

/// `relu(conv(x) + bias)`: images `[B, C, H, W]`, weight `[D, C, kh, kw]`, bias `[D]` → `[B, D, H', W']`.
pub fn conv_relu(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    stride: usize,
    padding: [usize; 2],
) -> Tensor<4> {
    // The kernel knows no gradients, so a device that tracks them takes the reference.
    let device = x.device();
    if available(&device) && !device.is_autodiff() {
        return Tensor::from_dispatch(Dispatch::conv_relu(
            x.into_dispatch(),
            weight.into_dispatch(),
            bias.into_dispatch(),
            stride,
            padding,
        ));
    }
    conv_relu_reference(x, weight, bias, stride, padding)
}

/// [`conv_relu`] in burn operations: what defines it, on every device.
pub fn conv_relu_reference(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    stride: usize,
    padding: [usize; 2],
) -> Tensor<4> {
    let options = ConvOptions::new([stride; 2], padding, [1; 2], 1);
    relu(conv2d(x, weight, Some(bias), options))
}
