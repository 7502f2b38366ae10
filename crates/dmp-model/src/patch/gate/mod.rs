//! What makes a mask's logits: from the noise level, the label and the block's index to one logit a prompt.

mod affine;
mod attention;
mod mlp;

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::softplus};

pub use affine::Affine;
pub use attention::AttentionGate;
pub use mlp::MlpGate;

use super::config::{GateInput, GateKind, PatchConfig};
use crate::denoiser::Conditioning;
use crate::init::Initializer;

/// Least standard deviation of the training noise on logits.
pub const NOISE_FLOOR: f64 = 1e-2;

/// A gate: from its input g to one logit a prompt, block by block.
pub trait Gate {
    /// Logits `[B, N]` of each of `blocks`, without noise.
    ///
    /// # Shapes
    /// `input` g is `[B, W]`, W as [`GateInput::width`] says.
    fn logits(&self, input: Tensor<2>, blocks: &[usize]) -> Vec<Tensor<2>>;

    /// Draws its parameters, Xavier-uniform. With `silent` what makes the logits is left at 0, so that the mask starts
    /// uniform; what is before it is drawn all the same, or nothing would ever learn.
    fn init(&mut self, init: &mut Initializer, silent: bool);
}

/// The gates that learn. A new one needs a line in each of these.
#[derive(Module, Debug)]
pub enum LearnedGate {
    /// The paper's.
    Linear(Affine),
    /// With one hidden layer.
    Mlp(MlpGate),
    /// Attention over learned keys.
    Attention(AttentionGate),
}

impl LearnedGate {
    /// A gate of zeros, for strict loading to fill; `None` for kinds that learn nothing.
    pub(super) fn zeroed(config: &PatchConfig, device: &Device) -> Option<Self> {
        let width = config.gate_input.width(config.hidden_size);
        let (hidden, prompts) = (config.gate_hidden, config.num_prompts);
        match config.gate {
            GateKind::None | GateKind::Uniform => None,
            GateKind::Linear => Some(Self::Linear(Affine::zeroed(width, prompts, device))),
            GateKind::Mlp => Some(Self::Mlp(MlpGate::zeroed(width, hidden, prompts, device))),
            GateKind::Attention => Some(Self::Attention(AttentionGate::zeroed(
                width, hidden, prompts, device,
            ))),
        }
    }

    /// The paper's gate, if it is one.
    pub fn linear(&self) -> Option<&Affine> {
        match self {
            Self::Linear(gate) => Some(gate),
            Self::Mlp(_) | Self::Attention(_) => None,
        }
    }
}

impl Gate for LearnedGate {
    fn logits(&self, input: Tensor<2>, blocks: &[usize]) -> Vec<Tensor<2>> {
        match self {
            Self::Linear(gate) => gate.logits(input, blocks),
            Self::Mlp(gate) => gate.logits(input, blocks),
            Self::Attention(gate) => gate.logits(input, blocks),
        }
    }

    fn init(&mut self, init: &mut Initializer, silent: bool) {
        match self {
            Self::Linear(gate) => gate.init(init, silent),
            Self::Mlp(gate) => gate.init(init, silent),
            Self::Attention(gate) => gate.init(init, silent),
        }
    }
}

impl GateInput {
    /// g `[B, W]`.
    pub(super) fn of(self, conditioning: &Conditioning) -> Tensor<2> {
        let Conditioning { timestep, combined } = conditioning;
        match self {
            Self::Conditioning => combined.clone(),
            Self::Timestep => timestep.clone(),
            Self::Both => Tensor::cat(vec![timestep.clone(), combined.clone()], 1),
        }
    }
}

/// Standard deviation `[B, N]` of the training noise on logits: softplus(g·W_noise) + 10⁻².
pub(super) fn noise_std(input: Tensor<2>, w_noise: Tensor<2>) -> Tensor<2> {
    softplus(input.matmul(w_noise), 1.0) + NOISE_FLOOR
}
