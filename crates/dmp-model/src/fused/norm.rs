//! LayerNorm with adaLN modulation, as one node (the final layer's; a block has its own inside).

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn_flex::{Flex, FlexTensor};
use dmp_kernels::norm::{modulation_backward, norm_modulate_backward};

use super::FusedBackend;
use super::flex::{tensor, values};

#[derive(Debug)]
struct NormNode;

impl Backward<Flex, 3> for NormNode {
    /// Input `[B, N, D]` and scale `[B, D]`.
    type State = (FlexTensor, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let du = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (x, scale) = ops.state;
        let shape = x.layout().shape().to_vec();
        let (batch, d, image) = (shape[0], shape[2], shape[1] * shape[2]);
        let [x_node, shift_node, scale_node] = ops.parents;
        let images = || values(&x).chunks(image).zip(values(&du).chunks(image));
        if let Some(node) = x_node {
            let mut dx = vec![0.0; shape.iter().product()];
            for (((x, du), scale), dx) in images()
                .zip(values(&scale).chunks(d))
                .zip(dx.chunks_mut(image))
            {
                norm_modulate_backward(x, scale, du, dx);
            }
            grads.register::<Flex>(node.id, tensor(dx, shape.clone()));
        }
        if shift_node.is_some() || scale_node.is_some() {
            let (mut dshift, mut dscale) = (vec![0.0; batch * d], vec![0.0; batch * d]);
            for (((x, du), shift), scale) in
                images().zip(dshift.chunks_mut(d)).zip(dscale.chunks_mut(d))
            {
                modulation_backward(x, du, shift, scale);
            }
            if let Some(node) = shift_node {
                grads.register::<Flex>(node.id, tensor(dshift, [batch, d]));
            }
            if let Some(node) = scale_node {
                grads.register::<Flex>(node.id, tensor(dscale, [batch, d]));
            }
        }
    }
}

pub(super) fn norm_modulate<C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<Flex, C>>,
    shift: FloatTensor<Autodiff<Flex, C>>,
    scale: FloatTensor<Autodiff<Flex, C>>,
) -> FloatTensor<Autodiff<Flex, C>> {
    let nodes = [x.node(), shift.node(), scale.node()];
    let (x, scale) = (
        x.into_primitive().to_contiguous(),
        scale.into_primitive().to_contiguous(),
    );
    let out = Flex::norm_modulate(x.clone(), shift.into_primitive(), scale.clone());
    match NormNode.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish((x, scale), out),
        OpsKind::UnTracked(prep) => prep.finish(out),
    }
}
