//! A small backbone whose every parameter is random, and small images.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use dmp_math::seed::{Purpose, stream};
use dmp_model::checkpoint::collect;
use dmp_model::dit::{Dit, DitConfig, public_key};

pub fn config() -> DitConfig {
    DitConfig {
        input_size: 8,
        patch_size: 2,
        in_channels: 1,
        hidden_size: 16,
        depth: 2,
        num_heads: 2,
        mlp_ratio: 4.0,
        learn_sigma: true,
        num_classes: 3,
        class_dropout_prob: 0.1,
    }
}

/// A backbone whose every parameter is random, so that nothing is zero by initialisation.
pub fn backbone(device: &Device) -> Dit {
    let empty = Dit::zeroed(&config(), device);
    let mut tensors = collect(&empty, public_key);
    for (index, tensor) in tensors.values_mut().enumerate() {
        stream(7, Purpose::Init, index as u64).fill_normal(&mut tensor.values);
        tensor.values.iter_mut().for_each(|v| *v *= 0.2);
    }
    dmp_model::checkpoint::apply(empty.no_grad(), tensors, public_key).unwrap()
}

pub fn noise(count: usize, index: u64, device: &Device) -> Tensor<4> {
    let mut values = vec![0.0; count * 64];
    stream(1, Purpose::Noise, index).fill_normal(&mut values);
    Tensor::from_data(TensorData::new(values, [count, 1, 8, 8]), device)
}
