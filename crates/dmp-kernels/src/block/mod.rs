//! A whole DiT block, forward and backward, a group of images at a time.
//!
//! ```text
//! u = x̂(1 + scale₁) + shift₁      qkv = u·W_qkv + b     o = attention(qkv)
//! p = o·W_proj + b                x₁ = x + gate₁ ⊙ p
//! v = x̂₁(1 + scale₂) + shift₂     a = v·W_fc1 + b       f = gelu(a)·W_fc2 + b
//! y = x₁ + gate₂ ⊙ f
//! ```

mod backward;
mod forward;
mod grads;
mod linear;
mod recompute;
mod saved;
mod scratch;
mod weight;

use gemm::Parallelism;

pub use backward::block_backward;
pub use forward::block_forward;
pub use grads::{Gradients, Wanted, WeightGradients};
pub use saved::{Checkpointing, Saved};
pub use weight::Weight;

use crate::attention::AttentionShape;

/// Sizes of a block and its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockShape {
    /// Images B.
    pub batch: usize,
    /// Tokens N of an image.
    pub tokens: usize,
    /// Token width D.
    pub width: usize,
    /// Attention heads; divides D.
    pub heads: usize,
    /// Hidden width of the MLP.
    pub hidden: usize,
}

/// A block's weights, `[in, out]`.
#[derive(Debug, Clone, Copy)]
pub struct BlockWeights<'a> {
    /// `[D, 3·D]`.
    pub qkv: Weight<'a>,
    /// `[3·D]`.
    pub qkv_bias: &'a [f32],
    /// `[D, D]`.
    pub proj: Weight<'a>,
    /// `[D]`.
    pub proj_bias: &'a [f32],
    /// `[D, hidden]`.
    pub fc1: Weight<'a>,
    /// `[hidden]`.
    pub fc1_bias: &'a [f32],
    /// `[hidden, D]`.
    pub fc2: Weight<'a>,
    /// `[D]`.
    pub fc2_bias: &'a [f32],
}

/// The six modulation vectors of one image, from its row `[6·D]`.
#[derive(Clone, Copy)]
struct Modulation<'a> {
    shift_msa: &'a [f32],
    scale_msa: &'a [f32],
    gate_msa: &'a [f32],
    shift_mlp: &'a [f32],
    scale_mlp: &'a [f32],
    gate_mlp: &'a [f32],
}

impl<'a> Modulation<'a> {
    fn of(row: &'a [f32], width: usize) -> Self {
        let part = |i: usize| &row[i * width..(i + 1) * width];
        Self {
            shift_msa: part(0),
            scale_msa: part(1),
            gate_msa: part(2),
            shift_mlp: part(3),
            scale_mlp: part(4),
            gate_mlp: part(5),
        }
    }
}

impl BlockShape {
    /// Values in `[B, N, D]`.
    pub fn len(&self) -> usize {
        self.batch * self.tokens * self.width
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every length that a caller hands over.
    ///
    /// # Panics
    /// When one does not fit: a bug of the caller, never of a user.
    fn check(&self, weights: &BlockWeights<'_>, modulation: &[f32], tensors: &[&[f32]]) {
        let (d, hidden) = (self.width, self.hidden);
        assert!(
            self.heads > 0 && d.is_multiple_of(self.heads),
            "heads do not divide the width"
        );
        assert_eq!(modulation.len(), self.batch * 6 * d, "modulation");
        for tensor in tensors {
            assert_eq!(tensor.len(), self.len(), "tensor of [B, N, D]");
        }
        let maps = [
            (weights.qkv, weights.qkv_bias, [d, 3 * d]),
            (weights.proj, weights.proj_bias, [d, d]),
            (weights.fc1, weights.fc1_bias, [d, hidden]),
            (weights.fc2, weights.fc2_bias, [hidden, d]),
        ];
        for (weight, bias, shape) in maps {
            assert!(weight.fits(shape), "weight");
            assert_eq!(bias.len(), shape[1], "bias");
        }
    }

    fn attention(&self, weights: &BlockWeights<'_>) -> AttentionShape {
        AttentionShape {
            precision: weights.qkv.precision(),
            tokens: self.tokens,
            heads: self.heads,
            width: self.width,
        }
    }

    /// Images a worker takes through the block together: enough rows to make packing a weight matrix worth
    /// it, few enough to keep every worker busy.
    fn group(&self, workers: usize) -> usize {
        let rows = self.width.max(256);
        rows.div_ceil(self.tokens.max(1))
            .clamp(1, self.batch.div_ceil(workers).max(1))
    }

    /// Whether workers share the work inside each matrix product instead of taking images.
    fn inner_parallelism(&self, workers: usize) -> Parallelism {
        if self.batch < workers {
            Parallelism::Rayon(0)
        } else {
            Parallelism::None
        }
    }
}
