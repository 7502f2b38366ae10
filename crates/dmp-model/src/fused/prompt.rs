//! Adding masked prompts, as one node.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn_flex::{Flex, FlexTensor};
use dmp_kernels::prompt::prompt_add_backward;

use super::FusedBackend;
use super::flex::{tensor, values};

#[derive(Debug)]
struct PromptNode;

impl Backward<Flex, 3> for PromptNode {
    /// Mask and prompts.
    type State = (FlexTensor, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (mask, prompts) = ops.state;
        let [x_node, mask_node, prompts_node] = ops.parents;
        if mask_node.is_some() || prompts_node.is_some() {
            let (mask_shape, prompts_shape) = (
                mask.layout().shape().to_vec(),
                prompts.layout().shape().to_vec(),
            );
            let mut dmask = vec![0.0; mask_shape.iter().product()];
            let mut dprompts = vec![0.0; prompts_shape.iter().product()];
            prompt_add_backward(
                values(&gradient),
                values(&mask),
                values(&prompts),
                prompts_shape[0],
                &mut dmask,
                &mut dprompts,
            );
            if let Some(node) = mask_node {
                grads.register::<Flex>(node.id, tensor(dmask, mask_shape));
            }
            if let Some(node) = prompts_node {
                grads.register::<Flex>(node.id, tensor(dprompts, prompts_shape));
            }
        }
        if let Some(node) = x_node {
            grads.register::<Flex>(node.id, gradient);
        }
    }
}

pub(super) fn prompt_add<C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<Flex, C>>,
    mask: FloatTensor<Autodiff<Flex, C>>,
    prompts: FloatTensor<Autodiff<Flex, C>>,
) -> FloatTensor<Autodiff<Flex, C>> {
    let nodes = [x.node(), mask.node(), prompts.node()];
    let (mask, prompts) = (
        mask.into_primitive().to_contiguous(),
        prompts.into_primitive().to_contiguous(),
    );
    let out = Flex::prompt_add(x.into_primitive(), mask.clone(), prompts.clone());
    match PromptNode.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish((mask, prompts), out),
        OpsKind::UnTracked(prep) => prep.finish(out),
    }
}
