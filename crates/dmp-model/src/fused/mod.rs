//! Operations that `dmp-kernels` does in one piece, as single nodes of the autodiff graph.
//!
//! Each has a reference made of burn operations, which defines it and runs on every device; on the CPU
//! backend the kernels do it. Tests hold the two together, forward and gradient. Convolutions, GroupNorm and pooling are for networks that
//! are not trained here: they have no backward pass, and where gradients are tracked their references compute.

mod block;
mod conv;
mod flex;
mod group_norm;
mod norm;
mod prompt;

pub use dmp_kernels::profile;

pub use block::{BlockPlan, FrozenBlock};
pub use dmp_kernels::block::Checkpointing;
pub use dmp_kernels::frozen::Precision;

pub use conv::{FrozenConv, conv_reference, pool, pool_reference};
pub use group_norm::{group_norm, group_norm_reference};

use burn::backend::tensor::FloatTensor;
use burn::backend::{Dispatch, backend_extension};
use burn::tensor::{Device, Tensor};

/// The fused operations of a backend. Shapes: see the functions of this module.
#[backend_extension(Flex, Autodiff)]
pub trait FusedBackend: burn::backend::Backend {
    /// See [`dit_block`].
    #[allow(clippy::too_many_arguments)]
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
    ) -> FloatTensor<Self>;

    /// See [`prompt_add`].
    fn prompt_add(
        x: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        prompts: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// See [`norm_modulate`].
    fn norm_modulate(
        x: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        scale: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// Whether the kernels run on this device; elsewhere callers use their references.
pub fn available(device: &Device) -> bool {
    device.clone().inner() == Device::flex()
}

/// A block's weights as burn keeps them, `[in, out]`.
pub struct BlockTensors {
    /// `[D, 3·D]` and `[3·D]`.
    pub qkv: (Tensor<2>, Tensor<1>),
    /// `[D, D]` and `[D]`.
    pub proj: (Tensor<2>, Tensor<1>),
    /// `[D, hidden]` and `[hidden]`.
    pub fc1: (Tensor<2>, Tensor<1>),
    /// `[hidden, D]` and `[D]`.
    pub fc2: (Tensor<2>, Tensor<1>),
}

/// One DiT block: tokens `[B, N, D]`, modulation `[B, 6·D]` → tokens `[B, N, D]`. With frozen
/// weights in `plan` the biases are all that counts of `weights`.
pub fn dit_block(
    x: Tensor<3>,
    modulation: Tensor<2>,
    weights: BlockTensors,
    plan: BlockPlan,
) -> Tensor<3> {
    let BlockTensors {
        qkv,
        proj,
        fc1,
        fc2,
    } = weights;
    Tensor::from_dispatch(Dispatch::dit_block(
        x.into_dispatch(),
        modulation.into_dispatch(),
        qkv.0.into_dispatch(),
        qkv.1.into_dispatch(),
        proj.0.into_dispatch(),
        proj.1.into_dispatch(),
        fc1.0.into_dispatch(),
        fc1.1.into_dispatch(),
        fc2.0.into_dispatch(),
        fc2.1.into_dispatch(),
        plan,
    ))
}

/// `x + mask ⊙ prompts`: tokens `[B, N, D]`, mask `[B, N]`, prompts `[N, D]`.
///
/// # Panics
/// When shapes do not fit: a bug of the caller, never of a user.
pub fn prompt_add(x: Tensor<3>, mask: Tensor<2>, prompts: Tensor<2>) -> Tensor<3> {
    let [batch, tokens, width] = x.dims();
    assert_eq!(mask.dims(), [batch, tokens], "a mask an image");
    assert_eq!(prompts.dims(), [tokens, width], "a prompt a token");
    Tensor::from_dispatch(Dispatch::prompt_add(
        x.into_dispatch(),
        mask.into_dispatch(),
        prompts.into_dispatch(),
    ))
}

/// `LN(x)·(1 + scale) + shift`: tokens `[B, N, D]`, shift and scale `[B, D]`.
///
/// # Panics
/// When shapes do not fit: a bug of the caller, never of a user.
pub fn norm_modulate(x: Tensor<3>, shift: Tensor<2>, scale: Tensor<2>) -> Tensor<3> {
    let [batch, _, width] = x.dims();
    assert_eq!(shift.dims(), [batch, width], "a shift an image");
    assert_eq!(scale.dims(), [batch, width], "a scale an image");
    Tensor::from_dispatch(Dispatch::norm_modulate(
        x.into_dispatch(),
        shift.into_dispatch(),
        scale.into_dispatch(),
    ))
}
