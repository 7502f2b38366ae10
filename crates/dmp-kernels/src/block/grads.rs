//! Gradients of a block: which are wanted, and where they are.

use super::BlockShape;

/// Which gradients are wanted besides the input's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Of the modulation `[B, 6·D]`; needs the branches in [`super::Saved`].
    pub modulation: bool,
    /// Of the weights.
    pub weights: bool,
}

/// Gradients of one block.
#[derive(Debug, Clone, Default)]
pub struct Gradients {
    /// Of the input, `[B, N, D]`.
    pub x: Vec<f32>,
    /// Of the modulation, `[B, 6·D]`; empty unless wanted.
    pub modulation: Vec<f32>,
    /// Of the weights; `None` unless wanted.
    pub weights: Option<WeightGradients>,
}

/// Gradients of [`super::BlockWeights`], in the same layout.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WeightGradients {
    /// `[D, 3·D]`.
    pub qkv: Vec<f32>,
    /// `[3·D]`.
    pub qkv_bias: Vec<f32>,
    /// `[D, D]`.
    pub proj: Vec<f32>,
    /// `[D]`.
    pub proj_bias: Vec<f32>,
    /// `[D, hidden]`.
    pub fc1: Vec<f32>,
    /// `[hidden]`.
    pub fc1_bias: Vec<f32>,
    /// `[hidden, D]`.
    pub fc2: Vec<f32>,
    /// `[D]`.
    pub fc2_bias: Vec<f32>,
}

impl WeightGradients {
    /// Zeros for a block of this shape.
    pub fn zeros(shape: &BlockShape) -> Self {
        let (d, hidden) = (shape.width, shape.hidden);
        Self {
            qkv: vec![0.0; d * 3 * d],
            qkv_bias: vec![0.0; 3 * d],
            proj: vec![0.0; d * d],
            proj_bias: vec![0.0; d],
            fc1: vec![0.0; d * hidden],
            fc1_bias: vec![0.0; hidden],
            fc2: vec![0.0; hidden * d],
            fc2_bias: vec![0.0; d],
        }
    }

    /// Adds another worker's gradients.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.qkv, &other.qkv),
            (&mut self.qkv_bias, &other.qkv_bias),
            (&mut self.proj, &other.proj),
            (&mut self.proj_bias, &other.proj_bias),
            (&mut self.fc1, &other.fc1),
            (&mut self.fc1_bias, &other.fc1_bias),
            (&mut self.fc2, &other.fc2),
            (&mut self.fc2_bias, &other.fc2_bias),
        ];
        for (sum, part) in pairs {
            sum.iter_mut()
                .zip(part)
                .for_each(|(sum, part)| *sum += part);
        }
    }
}
