//! The DiT block as one node.

use std::sync::Arc;

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::tensor::Tensor;
use burn_flex::{Flex, FlexTensor};
use dmp_kernels::block::{
    BlockShape, BlockWeights, Checkpointing, Saved, Wanted, Weight, block_backward, block_forward,
};
use dmp_kernels::frozen::{FrozenWeight, Precision};

use super::flex::{tensor, values};
use super::{BlockTensors, FusedBackend};

/// How a block is computed.
#[derive(Debug, Clone)]
pub struct BlockPlan {
    /// Attention heads.
    pub heads: usize,
    /// What is kept for the backward pass, and what is computed anew.
    pub checkpointing: Checkpointing,
    /// Its weights, in the place of the tensors, if they stay as they are.
    pub frozen: Option<FrozenBlock>,
}

/// A frozen block's weights, packed once; clones share them.
#[derive(Debug, Clone)]
pub struct FrozenBlock(Arc<Packed>);

#[derive(Debug)]
struct Packed {
    qkv: FrozenWeight,
    proj: FrozenWeight,
    fc1: FrozenWeight,
    fc2: FrozenWeight,
}

impl FrozenBlock {
    /// Packs a block's weights.
    pub fn new(weights: BlockTensors, precision: Precision) -> Self {
        let pack = |weight: Tensor<2>| {
            let [inputs, outputs] = weight.dims();
            FrozenWeight::new(&crate::host::values(weight), inputs, outputs, precision)
        };
        Self(Arc::new(Packed {
            qkv: pack(weights.qkv.0),
            proj: pack(weights.proj.0),
            fc1: pack(weights.fc1.0),
            fc2: pack(weights.fc2.0),
        }))
    }

    /// Feeds every packed byte to `hash`: what tells whether they are still what they were.
    pub(crate) fn bytes(&self, hash: &mut impl FnMut(&[u8])) {
        let Packed {
            qkv,
            proj,
            fc1,
            fc2,
        } = &*self.0;
        for weight in [qkv, proj, fc1, fc2] {
            let mut bytes = Vec::new();
            weight.words(|word| {
                bytes.extend(word.to_le_bytes());
                if bytes.len() >= 1 << 16 {
                    hash(&bytes);
                    bytes.clear();
                }
            });
            hash(&bytes);
        }
    }
}

/// What a block takes, in the order of [`FusedBackend::dit_block`], contiguous.
#[derive(Debug, Clone)]
pub(super) struct Operands {
    tensors: [FlexTensor; 10],
    shape: BlockShape,
    plan: BlockPlan,
}

impl Operands {
    pub(super) fn new(tensors: [FlexTensor; 10], plan: BlockPlan) -> Self {
        let tensors = tensors.map(|tensor| tensor.to_contiguous());
        let x = tensors[0].layout().shape();
        // The bias of fc1: frozen weights are not among the tensors.
        let hidden = tensors[7].layout().shape()[0];
        let shape = BlockShape {
            batch: x[0],
            tokens: x[1],
            width: x[2],
            heads: plan.heads,
            hidden,
        };
        Self {
            tensors,
            shape,
            plan,
        }
    }

    fn weights(&self) -> BlockWeights<'_> {
        let [
            _,
            _,
            qkv,
            qkv_bias,
            proj,
            proj_bias,
            fc1,
            fc1_bias,
            fc2,
            fc2_bias,
        ] = &self.tensors;
        let packed = self.plan.frozen.as_ref().map(|frozen| &*frozen.0);
        let weight = |tensor, packed: Option<_>| match packed {
            Some(packed) => Weight::Frozen(packed),
            None => Weight::F32(values(tensor)),
        };
        BlockWeights {
            qkv: weight(qkv, packed.map(|packed| &packed.qkv)),
            qkv_bias: values(qkv_bias),
            proj: weight(proj, packed.map(|packed| &packed.proj)),
            proj_bias: values(proj_bias),
            fc1: weight(fc1, packed.map(|packed| &packed.fc1)),
            fc1_bias: values(fc1_bias),
            fc2: weight(fc2, packed.map(|packed| &packed.fc2)),
            fc2_bias: values(fc2_bias),
        }
    }

    pub(super) fn forward(&self, saved: Option<&mut Saved>) -> FlexTensor {
        let mut out = vec![0.0; self.shape.len()];
        block_forward(
            &self.shape,
            &self.weights(),
            values(&self.tensors[1]),
            values(&self.tensors[0]),
            &mut out,
            saved,
        );
        tensor(out, [self.shape.batch, self.shape.tokens, self.shape.width])
    }
}

#[derive(Debug)]
struct BlockNode;

#[derive(Debug, Clone)]
struct State {
    operands: Operands,
    saved: Arc<Saved>,
    wanted: Wanted,
}

impl Backward<Flex, 10> for BlockNode {
    type State = State;

    fn backward(self, ops: Ops<State, 10>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dout = grads.consume::<Flex>(&ops.node).to_contiguous();
        let State {
            operands,
            saved,
            wanted,
        } = ops.state;
        let (x, modulation) = (values(&operands.tensors[0]), values(&operands.tensors[1]));
        let computed = block_backward(
            &operands.shape,
            &operands.weights(),
            modulation,
            x,
            &saved,
            values(&dout),
            wanted,
        );
        let weights = computed.weights.unwrap_or_default();
        let all = [
            computed.x,
            computed.modulation,
            weights.qkv,
            weights.qkv_bias,
            weights.proj,
            weights.proj_bias,
            weights.fc1,
            weights.fc1_bias,
            weights.fc2,
            weights.fc2_bias,
        ];
        for ((parent, gradient), operand) in ops.parents.into_iter().zip(all).zip(&operands.tensors)
        {
            if let Some(parent) = parent {
                grads.register::<Flex>(
                    parent.id,
                    tensor(gradient, operand.layout().shape().to_vec()),
                );
            }
        }
    }
}

impl<C: CheckpointStrategy> FusedBackend for Autodiff<Flex, C> {
    fn dit_block(
        x: FloatTensor<Self>,
        modulation: FloatTensor<Self>,
        qkv: FloatTensor<Self>,
        qkv_bias: FloatTensor<Self>,
        proj: FloatTensor<Self>,
        proj_bias: FloatTensor<Self>,
        fc1: FloatTensor<Self>,
        fc1_bias: FloatTensor<Self>,
        fc2: FloatTensor<Self>,
        fc2_bias: FloatTensor<Self>,
        plan: BlockPlan,
    ) -> FloatTensor<Self> {
        let all = [
            x, modulation, qkv, qkv_bias, proj, proj_bias, fc1, fc1_bias, fc2, fc2_bias,
        ];
        let wanted = Wanted {
            modulation: all[1].is_tracked(),
            weights: all[2..].iter().any(|weight| weight.is_tracked()),
        };
        let nodes = std::array::from_fn(|i| all[i].node());
        let operands = Operands::new(all.map(|operand| operand.into_primitive()), plan);
        match BlockNode.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let mut saved = Saved::new(
                    &operands.shape,
                    operands.plan.checkpointing,
                    wanted.modulation,
                );
                let out = operands.forward(Some(&mut saved));
                prep.finish(
                    State {
                        operands,
                        saved: Arc::new(saved),
                        wanted,
                    },
                    out,
                )
            }
            OpsKind::UnTracked(prep) => prep.finish(operands.forward(None)),
        }
    }

    fn prompt_add(
        x: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        prompts: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        super::prompt::prompt_add::<C>(x, mask, prompts)
    }

    fn norm_modulate(
        x: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        scale: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        super::norm::norm_modulate::<C>(x, shift, scale)
    }
}
