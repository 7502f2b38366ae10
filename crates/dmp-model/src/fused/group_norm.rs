//! GroupNorm with what follows it, for networks that are not trained here.

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use burn::tensor::activation;
use burn_flex::FlexTensor;
use dmp_kernels::group_norm::GroupNorm;

use super::available;
use super::conv::InferenceBackend;
use super::flex::values;

/// ε of every GroupNorm here.
const EPSILON: f64 = 1e-6;

/// The kernel on the CPU backend.
pub(super) fn of_flex(
    x: FlexTensor,
    scale: FlexTensor,
    shift: FlexTensor,
    groups: usize,
    silu: bool,
) -> FlexTensor {
    let (mut x, scale, shift) = (
        x.to_contiguous(),
        scale.to_contiguous(),
        shift.to_contiguous(),
    );
    let pixels = x.layout().shape()[2..].iter().product();
    let norm = GroupNorm {
        groups,
        epsilon: EPSILON,
        scale: values(&scale),
        shift: values(&shift),
        silu,
    };
    norm.apply(x.storage_mut(), pixels);
    x
}

/// Images `[B, C, H, W]`, normalised over each of `groups` of an image's channels, scaled and shifted by `[C]` each; then SiLU, if
/// it is asked for. ε is 10⁻⁶.
///
/// # Panics
/// When shapes do not fit: a bug of the caller, never of a user.
pub fn group_norm(
    x: Tensor<4>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    groups: usize,
    silu: bool,
) -> Tensor<4> {
    let channels = x.dims()[1];
    assert_eq!(scale.dims(), [channels], "a scale a channel");
    assert_eq!(shift.dims(), [channels], "a shift a channel");
    assert!(channels.is_multiple_of(groups), "groups of channels");
    let device = x.device();
    if !available(&device) || device.is_autodiff() {
        return group_norm_reference(x, scale, shift, groups, silu);
    }
    Tensor::from_dispatch(Dispatch::group_norm(
        x.into_dispatch(),
        scale.into_dispatch(),
        shift.into_dispatch(),
        groups,
        silu,
    ))
}

/// [`group_norm`] in burn operations: what defines it, on every device.
pub fn group_norm_reference(
    x: Tensor<4>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    groups: usize,
    silu: bool,
) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let grouped = x.reshape([batch, groups, channels / groups * height * width]);
    let centred = grouped.clone() - grouped.mean_dim(2);
    let variance = centred.clone().square().mean_dim(2);
    let normed = (centred / (variance + EPSILON).sqrt()).reshape([batch, channels, height, width]);
    let of_channels = |values: Tensor<1>| values.reshape([1, channels, 1, 1]);
    let normed = normed * of_channels(scale) + of_channels(shift);
    match silu {
        true => activation::silu(normed),
        false => normed,
    }
}
