//! One transformer block: attention and MLP, each gated and modulated by the conditioning (adaLN-Zero).

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor, activation::gelu_approximate};

use super::{DitConfig, linear};
use crate::fused::{self, BlockPlan, BlockTensors, Checkpointing, FrozenBlock, Precision};
use crate::init::{self, Initializer};

/// LayerNorm's ε in the original DiT.
pub(crate) const NORM_EPS: f64 = 1e-6;

/// `x ← x + gate_msa·attn(mod(LN(x)))`, then `x ← x + gate_mlp·mlp(mod(LN(x)))`.
#[derive(Module, Debug)]
pub struct DitBlock {
    attn: Attention,
    mlp: Mlp,
    adaln_modulation_1: Linear,
    #[module(skip)]
    plan: BlockPlan,
}

#[derive(Module, Debug)]
struct Attention {
    qkv: Linear,
    proj: Linear,
}

#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

/// The six vectors, each `[B, D]`, that the conditioning makes for one block.
#[derive(Debug, Clone)]
pub struct Modulation {
    /// Added before attention.
    pub shift_msa: Tensor<2>,
    /// Scales (as 1 + scale) before attention.
    pub scale_msa: Tensor<2>,
    /// Scales the attention branch.
    pub gate_msa: Tensor<2>,
    /// Added before the MLP.
    pub shift_mlp: Tensor<2>,
    /// Scales (as 1 + scale) before the MLP.
    pub scale_mlp: Tensor<2>,
    /// Scales the MLP branch.
    pub gate_mlp: Tensor<2>,
}

impl Modulation {
    /// Splits `[B, 6·D]`, in the original's order.
    fn split(all: Tensor<2>) -> Self {
        let d = all.dims()[1] / 6;
        let part = |i: usize| all.clone().narrow(1, i * d, d);
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

impl DitBlock {
    /// A block of zeros, for strict loading to fill.
    pub fn zeroed(config: &DitConfig, device: &Device) -> Self {
        let d = config.hidden_size;
        let hidden = config.mlp_hidden_size();
        Self {
            attn: Attention {
                qkv: linear_zeros(d, 3 * d, device),
                proj: linear_zeros(d, d, device),
            },
            mlp: Mlp {
                fc1: linear_zeros(d, hidden, device),
                fc2: linear_zeros(hidden, d, device),
            },
            adaln_modulation_1: linear_zeros(d, 6 * d, device),
            plan: BlockPlan {
                heads: config.num_heads,
                checkpointing: Checkpointing::None,
                frozen: None,
            },
        }
    }

    pub(super) fn init(&mut self, init: &mut Initializer) {
        for linear in [
            &mut self.attn.qkv,
            &mut self.attn.proj,
            &mut self.mlp.fc1,
            &mut self.mlp.fc2,
        ] {
            xavier(linear, init);
        }
    }

    /// What a backward pass through the fused node finds, and what it computes anew.
    pub fn set_checkpointing(&mut self, checkpointing: Checkpointing) {
        self.plan.checkpointing = checkpointing;
    }

    /// Packs the weights as they are now, once; the tensors themselves are given up.
    pub fn pack_weights(&mut self, precision: Precision) {
        let Some(weights) = self.tensors().filter(|_| self.plan.frozen.is_none()) else {
            return;
        };
        self.plan.frozen = Some(FrozenBlock::new(weights, precision));
        let linears = [
            &mut self.attn.qkv,
            &mut self.attn.proj,
            &mut self.mlp.fc1,
            &mut self.mlp.fc2,
        ];
        for linear in linears {
            let device = linear.weight.device();
            linear.weight = init::zeros([0, 0], &device).set_require_grad(false);
            let bias = linear.bias.take();
            linear.bias = bias.map(|bias| bias.set_require_grad(false));
        }
    }

    /// The packed weights, if they are.
    pub(crate) fn frozen(&self) -> Option<&FrozenBlock> {
        self.plan.frozen.as_ref()
    }

    /// tokens `[B, N, D]`, SiLU of the conditioning `[B, D]` → tokens `[B, N, D]`.
    pub fn forward(&self, x: Tensor<3>, activated: Tensor<2>) -> Tensor<3> {
        let modulation = self.adaln_modulation_1.forward(activated);
        self.modulated(x, modulation)
    }

    /// The block given its modulation `[B, 6·D]`: fused where it can be, else [`Self::reference`].
    pub fn modulated(&self, x: Tensor<3>, modulation: Tensor<2>) -> Tensor<3> {
        match self.tensors() {
            Some(weights) if fused::available(&x.device()) => {
                fused::dit_block(x, modulation, weights, self.plan.clone())
            }
            _ => self.reference(x, modulation),
        }
    }

    /// The block in burn operations: what defines it, on every device. `modulation` is `[B, 6·D]`.
    pub fn reference(&self, x: Tensor<3>, modulation: Tensor<2>) -> Tensor<3> {
        let m = Modulation::split(modulation);
        let branch = self.attn.forward(
            modulate(layer_norm(x.clone()), m.shift_msa, m.scale_msa),
            self.plan.heads,
        );
        let x = x + branch * m.gate_msa.unsqueeze_dim(1);
        let branch = self
            .mlp
            .forward(modulate(layer_norm(x.clone()), m.shift_mlp, m.scale_mlp));
        x + branch * m.gate_mlp.unsqueeze_dim(1)
    }
}

impl DitBlock {
    fn tensors(&self) -> Option<BlockTensors> {
        let pair = |linear: &Linear| Some((linear.weight.val(), linear.bias.as_ref()?.val()));
        Some(BlockTensors {
            qkv: pair(&self.attn.qkv)?,
            proj: pair(&self.attn.proj)?,
            fc1: pair(&self.mlp.fc1)?,
            fc2: pair(&self.mlp.fc2)?,
        })
    }
}

impl Attention {
    /// Multi-head self-attention over tokens `[B, N, D]`, scale head_dim^-1/2.
    fn forward(&self, x: Tensor<3>, heads: usize) -> Tensor<3> {
        let [b, n, d] = x.dims();
        let head = d / heads;
        // [B, N, 3, heads, head] → [3, B, heads, N, head]
        let qkv = self
            .qkv
            .forward(x)
            .reshape([b, n, 3, heads, head])
            .permute([2, 0, 3, 1, 4]);
        let part = |i: usize| qkv.clone().narrow(0, i, 1).reshape([b, heads, n, head]);
        let mixed = attention(
            part(0),
            part(1),
            part(2),
            None,
            None,
            AttentionModuleOptions::default(),
        );
        self.proj.forward(mixed.swap_dims(1, 2).reshape([b, n, d]))
    }
}

impl Mlp {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.fc2.forward(gelu_approximate(self.fc1.forward(x)))
    }
}

/// LayerNorm over the last dimension, without learned scale or shift.
pub(super) fn layer_norm(x: Tensor<3>) -> Tensor<3> {
    let centred = x.clone() - x.mean_dim(2);
    let variance = centred.clone().square().mean_dim(2);
    centred / (variance + NORM_EPS).sqrt()
}

/// LayerNorm, then [`modulate`]: fused where it can be.
pub(super) fn norm_modulate(x: Tensor<3>, shift: Tensor<2>, scale: Tensor<2>) -> Tensor<3> {
    if fused::available(&x.device()) {
        return fused::norm_modulate(x, shift, scale);
    }
    modulate(layer_norm(x), shift, scale)
}

/// `x·(1 + scale) + shift`, with `shift` and `scale` `[B, D]` broadcast over tokens.
pub(super) fn modulate(x: Tensor<3>, shift: Tensor<2>, scale: Tensor<2>) -> Tensor<3> {
    x * (scale.unsqueeze_dim::<3>(1) + 1.0) + shift.unsqueeze_dim::<3>(1)
}

pub(super) fn linear_zeros(d_input: usize, d_output: usize, device: &Device) -> Linear {
    linear(d_input, d_output, device)
}

pub(super) fn xavier(linear: &mut Linear, init: &mut Initializer) {
    let [d_input, d_output] = linear.weight.dims();
    linear.weight = init.xavier([d_input, d_output], d_input, d_output);
}
