//! The kernels on the CPU backend, without autodiff.

use burn::tensor::TensorData;
use burn_flex::{Flex, FlexTensor};
use dmp_kernels::norm;
use dmp_kernels::prompt;

use super::FusedBackend;
use super::block::{BlockPlan, Operands};

impl FusedBackend for Flex {
    fn dit_block(
        x: FlexTensor,
        modulation: FlexTensor,
        qkv: FlexTensor,
        qkv_bias: FlexTensor,
        proj: FlexTensor,
        proj_bias: FlexTensor,
        fc1: FlexTensor,
        fc1_bias: FlexTensor,
        fc2: FlexTensor,
        fc2_bias: FlexTensor,
        plan: BlockPlan,
    ) -> FlexTensor {
        Operands::new(
            [
                x, modulation, qkv, qkv_bias, proj, proj_bias, fc1, fc1_bias, fc2, fc2_bias,
            ],
            plan,
        )
        .forward(None)
    }

    fn prompt_add(x: FlexTensor, mask: FlexTensor, prompts: FlexTensor) -> FlexTensor {
        let (mut x, mask, prompts) = (
            x.to_contiguous(),
            mask.to_contiguous(),
            prompts.to_contiguous(),
        );
        let tokens = prompts.layout().shape()[0];
        prompt::prompt_add(x.storage_mut(), values(&mask), values(&prompts), tokens);
        x
    }

    fn norm_modulate(x: FlexTensor, shift: FlexTensor, scale: FlexTensor) -> FlexTensor {
        let (x, shift, scale) = (
            x.to_contiguous(),
            shift.to_contiguous(),
            scale.to_contiguous(),
        );
        let shape = x.layout().shape().to_vec();
        let (d, image) = (shape[2], shape[1] * shape[2]);
        let mut out = vec![0.0; shape.iter().product()];
        let images = values(&x).chunks(image).zip(out.chunks_mut(image));
        for ((x, out), (shift, scale)) in
            images.zip(values(&shift).chunks(d).zip(values(&scale).chunks(d)))
        {
            norm::norm_modulate(x, shift, scale, out);
        }
        tensor(out, shape)
    }
}

/// The values of a contiguous tensor.
pub(super) fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.storage::<f32>()
}

/// A tensor of these values.
pub(super) fn tensor(values: Vec<f32>, shape: impl Into<Vec<usize>>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.into()))
}
