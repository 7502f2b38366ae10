//! Inception-v3 in the variant that FID is defined with: the weights of 2015-12-05, average pools that leave the
//! padding out, a max pool in the last block, and 1008 classes.

mod layout;
mod weights;

use burn::nn::Linear;
use burn::tensor::Tensor;

pub use layout::{ConvSpec, convolutions};
pub use weights::InceptionError;

use dmp_kernels::pool::Pool;

use crate::fused::{self, FrozenConv};

/// Rows and columns of the images it takes.
pub const SIDE: usize = 299;

/// The network, for measuring alone. Read one from a weight file with [`Inception::load`]; clones share the convolutions' weights.
#[derive(Debug, Clone)]
pub struct Inception {
    /// With their norms folded in, and ReLU.
    convs: Vec<FrozenConv>,
    /// 2048 → 1008, in the files that have it.
    classifier: Option<Linear>,
}

/// What the network says about a batch.
#[derive(Debug, Clone)]
pub struct InceptionOutput {
    /// The pooled features of FID, `[batch, 2048]`.
    pub pool: Tensor<2>,
    /// The features of sFID: the first 7 channels of the first branch of Mixed_6d, channels last, `[batch, 2023]`.
    pub spatial: Tensor<2>,
}

impl Inception {
    /// Width of the pooled features.
    pub const FEATURES: usize = 2048;
    /// Channels of the spatial features.
    const SPATIAL: usize = 7;

    /// Features of images `[batch, 3, 299, 299]`, scaled as [`super::resize`] does.
    pub fn forward(&self, images: Tensor<4>) -> InceptionOutput {
        let mut layers = Layers {
            convs: self.convs.iter(),
        };
        let x = layers.next(images);
        let x = layers.next(x);
        let x = layers.next(x);
        let x = layers.next(max_pool(x, 2, 0));
        let x = layers.next(x);
        let mut x = max_pool(x, 2, 0);
        for _ in 0..3 {
            x = layers.block_a(x);
        }
        x = layers.block_b(x);
        x = layers.block_c(x).0;
        x = layers.block_c(x).0;
        let (x, first) = layers.block_c(x);
        let x = layers.block_c(x).0;
        let x = layers.block_d(x);
        let x = layers.block_e(x, avg_pool);
        let x = layers.block_e(x, |x| max_pool(x, 1, 1));
        let spatial = first.narrow(1, 0, Self::SPATIAL).permute([0, 2, 3, 1]);
        InceptionOutput {
            pool: x.mean_dim(3).mean_dim(2).flatten(1, 3),
            spatial: spatial.flatten(1, 3),
        }
    }

    /// Class scores `[batch, 1008]` of pooled features, with or without the classifier's bias; `None` without a
    /// classifier.
    pub fn logits(&self, pool: Tensor<2>, with_bias: bool) -> Option<Tensor<2>> {
        let classifier = self.classifier.as_ref()?;
        let logits = pool.matmul(classifier.weight.val());
        match classifier.bias.as_ref().filter(|_| with_bias) {
            Some(bias) => Some(logits + bias.val().unsqueeze()),
            None => Some(logits),
        }
    }
}

/// Convolutions in the order in which they run.
struct Layers<'a> {
    convs: std::slice::Iter<'a, FrozenConv>,
}

impl Layers<'_> {
    /// Applies the next convolution.
    fn next(&mut self, x: Tensor<4>) -> Tensor<4> {
        match self.convs.next() {
            Some(conv) => conv.forward(x),
            None => unreachable!("`convolutions` lists every convolution that runs"),
        }
    }

    /// Applies the next `count`, one after the other.
    fn chain(&mut self, x: Tensor<4>, count: usize) -> Tensor<4> {
        (0..count).fold(x, |x, _| self.next(x))
    }

    fn block_a(&mut self, x: Tensor<4>) -> Tensor<4> {
        let single = self.next(x.clone());
        let five = self.chain(x.clone(), 2);
        let double = self.chain(x.clone(), 3);
        let pool = self.next(avg_pool(x));
        Tensor::cat(vec![single, five, double, pool], 1)
    }

    fn block_b(&mut self, x: Tensor<4>) -> Tensor<4> {
        let three = self.next(x.clone());
        let double = self.chain(x.clone(), 3);
        Tensor::cat(vec![three, double, max_pool(x, 2, 0)], 1)
    }

    /// The block's output, and that of its first branch.
    fn block_c(&mut self, x: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let single = self.next(x.clone());
        let seven = self.chain(x.clone(), 3);
        let double = self.chain(x.clone(), 5);
        let pool = self.next(avg_pool(x));
        (
            Tensor::cat(vec![single.clone(), seven, double, pool], 1),
            single,
        )
    }

    fn block_d(&mut self, x: Tensor<4>) -> Tensor<4> {
        let three = self.chain(x.clone(), 2);
        let seven = self.chain(x.clone(), 4);
        Tensor::cat(vec![three, seven, max_pool(x, 2, 0)], 1)
    }

    fn block_e(&mut self, x: Tensor<4>, pool: impl FnOnce(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
        let single = self.next(x.clone());
        let stem = self.next(x.clone());
        let (flat, tall) = (self.next(stem.clone()), self.next(stem));
        let stem = self.chain(x.clone(), 2);
        let (double_flat, double_tall) = (self.next(stem.clone()), self.next(stem));
        let pool = self.next(pool(x));
        Tensor::cat(vec![single, flat, tall, double_flat, double_tall, pool], 1)
    }
}

/// 3×3.
fn max_pool(x: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
    fused::pool(x, Pool::Max, stride, padding)
}

/// 3×3 of stride 1; the padding counts for nothing.
fn avg_pool(x: Tensor<4>) -> Tensor<4> {
    fused::pool(x, Pool::Mean, 1, 1)
}
