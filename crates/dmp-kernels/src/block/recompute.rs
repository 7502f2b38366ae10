//! What the forward pass did not keep, made anew for one group with the forward pass's own code.

use super::BlockShape;
use super::forward::ForwardPass;
use super::saved::Parts;
use crate::gelu::bias_gelu;
use crate::norm::add_bias;

/// Lengths of the parts of a group that were not kept; `branches` when the modulation's gradient is wanted.
pub(super) fn anew(
    shape: &BlockShape,
    kept: &Parts<&[f32]>,
    branches: bool,
    rows: usize,
) -> Parts<usize> {
    let mut lengths = kept.missing(shape, rows);
    // x₁ is made of attention's branch, so this one is needed on the way.
    if lengths.middle == 0 && !branches {
        lengths.attention_branch = 0;
    }
    if !branches {
        lengths.mlp_branch = 0;
    }
    lengths
}

/// Fills the parts that have room in `again`, those that were not `kept`; `x` are the group's rows of the input.
pub(super) fn recompute(
    forward: &ForwardPass<'_>,
    x: &[f32],
    kept: Parts<&[f32]>,
    again: &mut Parts<&mut [f32]>,
    [u, activated, scores]: [&mut [f32]; 3],
) {
    if !again.middle.is_empty() {
        forward.attention_branch(x, u, scores, again);
    }
    let Parts {
        middle,
        pre,
        mlp_branch,
        ..
    } = again;
    if pre.is_empty() {
        return;
    }
    let middle = if middle.is_empty() {
        kept.middle
    } else {
        middle
    };
    forward.hidden(middle, u, pre);
    let weights = forward.weights;
    if mlp_branch.is_empty() {
        add_bias(pre, weights.fc1_bias);
    } else {
        bias_gelu(pre, weights.fc1_bias, activated);
        forward.project_hidden(activated, mlp_branch);
        add_bias(mlp_branch, weights.fc2_bias);
    }
}
