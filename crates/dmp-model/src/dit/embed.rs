//! What enters the transformer: image patches, the noise level, the label.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor, TensorData, activation::silu};

use super::block::linear_zeros;
use crate::init::{self, Initializer};

/// Width of the sinusoidal timestep features.
const FREQUENCIES: usize = 256;

/// A p×p convolution of stride p, computed as one matrix product over patches.
#[derive(Module, Debug)]
pub struct PatchEmbedder {
    proj: PatchProjection,
}

#[derive(Module, Debug)]
struct PatchProjection {
    /// `[D, C, p, p]`, as a convolution stores it.
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
}

impl PatchEmbedder {
    pub(super) fn zeroed(channels: usize, patch: usize, hidden: usize, device: &Device) -> Self {
        let weight = init::zeros([hidden, channels, patch, patch], device);
        Self {
            proj: PatchProjection {
                weight,
                bias: init::zeros([hidden], device),
            },
        }
    }

    pub(super) fn init(&mut self, init: &mut Initializer) {
        let [d, c, p, _] = self.proj.weight.dims();
        self.proj.weight = init.xavier([d, c, p, p], c * p * p, d);
    }

    /// `[B, C, H, W]` → tokens `[B, (H/p)·(W/p), D]`, row by row.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<3> {
        let [b, c, h, w] = x.dims();
        let [d, _, p, _] = self.proj.weight.dims();
        let patches = x
            .reshape([b, c, h / p, p, w / p, p])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([b * (h / p) * (w / p), c * p * p]);
        // Permuted before it is reshaped: of the other order, burn's fusion on a GPU writes an optimiser's step of this
        // weight to the wrong places.
        let weight = self.proj.weight.val();
        let weight = weight.permute([1, 2, 3, 0]).reshape([c * p * p, d]);
        let tokens = patches.matmul(weight) + self.proj.bias.val().unsqueeze();
        tokens.reshape([b, (h / p) * (w / p), d])
    }
}

/// Sinusoidal features through a two-layer MLP.
#[derive(Module, Debug)]
pub struct TimestepEmbedder {
    mlp_0: Linear,
    mlp_2: Linear,
}

impl TimestepEmbedder {
    pub(super) fn zeroed(hidden: usize, device: &Device) -> Self {
        Self {
            mlp_0: linear_zeros(FREQUENCIES, hidden, device),
            mlp_2: linear_zeros(hidden, hidden, device),
        }
    }

    pub(super) fn init(&mut self, init: &mut Initializer) {
        for linear in [&mut self.mlp_0, &mut self.mlp_2] {
            linear.weight = init.normal(linear.weight.dims(), 0.02);
        }
    }

    /// B timesteps → `[B, D]`.
    pub fn forward(&self, timesteps: &[usize]) -> Tensor<2> {
        let features = timestep_features(timesteps, FREQUENCIES);
        let features = TensorData::new(features, [timesteps.len(), FREQUENCIES]);
        let features = Tensor::<2>::from_data(features, &self.mlp_0.weight.device());
        self.mlp_2.forward(silu(self.mlp_0.forward(features)))
    }
}

/// `[cos(t·f_i), …, sin(t·f_i), …]` with f_i = exp(-ln(10000)·i/half): cosines first, row-major `[B, width]`.
pub fn timestep_features(timesteps: &[usize], width: usize) -> Vec<f32> {
    let half = width / 2;
    let frequency = |i: usize| (-(10_000f32.ln()) * i as f32 / half as f32).exp();
    let frequencies: Vec<f32> = (0..half).map(frequency).collect();
    let mut features: Vec<f32> = Vec::with_capacity(timesteps.len() * width);
    let mut last = None;
    for &t in timesteps {
        // A sampler's images are all at the same one.
        if last.replace(t) == Some(t) {
            features.extend_from_within(features.len() - 2 * half..);
            continue;
        }
        features.extend(frequencies.iter().map(|f| (t as f32 * f).cos()));
        features.extend(frequencies.iter().map(|f| (t as f32 * f).sin()));
    }
    features
}

/// One learned row a label, and one more for "no label" when trained with label dropout.
#[derive(Module, Debug)]
pub struct LabelEmbedder {
    embedding_table: LabelTable,
}

#[derive(Module, Debug)]
struct LabelTable {
    /// `[rows, D]`
    weight: Param<Tensor<2>>,
}

impl LabelEmbedder {
    pub(super) fn zeroed(rows: usize, hidden: usize, device: &Device) -> Self {
        Self {
            embedding_table: LabelTable {
                weight: init::zeros([rows, hidden], device),
            },
        }
    }

    pub(super) fn init(&mut self, init: &mut Initializer) {
        self.embedding_table.weight = init.normal(self.embedding_table.weight.dims(), 0.02);
    }

    /// B labels → `[B, D]`.
    pub fn forward(&self, labels: &[usize]) -> Tensor<2> {
        let table = self.embedding_table.weight.val();
        let indices: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
        let indices =
            Tensor::<1, Int>::from_data(TensorData::new(indices, [labels.len()]), &table.device());
        table.select(0, indices)
    }
}
