//! The networks that measure.

use burn::tensor::{Device, Tensor, TensorData};
use dmp_math::seed::{Purpose, stream};
use dmp_model::checkpoint::{apply, collect};
use dmp_model::features::FashionCnn;
use dmp_model::fused::{self, FrozenConv};
use dmp_model::host;

fn random<const D: usize>(shape: [usize; D], index: u64, device: &Device) -> Tensor<D> {
    let mut values = vec![0.0; shape.iter().product()];
    stream(11, Purpose::Init, index).fill_normal(&mut values);
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[test]
fn the_embedded_networks_features() {
    crate::agrees_with_the_cpu(1e-4, |device| {
        let empty = FashionCnn::new(device);
        let mut tensors = collect(&empty, str::to_owned);
        for (index, tensor) in tensors.values_mut().enumerate() {
            stream(5, Purpose::Init, index as u64).fill_normal(&mut tensor.values);
            tensor.values.iter_mut().for_each(|value| *value *= 0.2);
        }
        for (name, tensor) in &mut tensors {
            if name.ends_with("running_var") {
                tensor.values.fill(0.5);
            }
        }
        let network = apply(empty, tensors, str::to_owned).unwrap();
        let output = network.forward(random([2, 1, 28, 28], 0, device));
        vec![
            ("features".to_owned(), host::values(output.features)),
            ("logits".to_owned(), host::values(output.logits)),
        ]
    });
}

/// The shapes of Inception's: without a kernel of ours, burn's convolution.
#[test]
fn convolutions() {
    crate::agrees_with_the_cpu(1e-4, |device| {
        [
            ([1, 1], 1, [0, 0]),
            ([3, 3], 2, [0, 0]),
            ([1, 7], 1, [0, 3]),
        ]
        .into_iter()
        .map(|(kernel, stride, padding)| {
            let x = random([2, 5, 17, 13], 1, device);
            let weight = random([4, 5, kernel[0], kernel[1]], 2, device);
            let bias = random([4], 3, device);
            // With ReLU and without.
            let out = [true, false].map(|relu| {
                let (weight, bias) = (weight.clone(), bias.clone());
                FrozenConv::new(weight, bias, stride, padding, relu).forward(x.clone())
            });
            let out = host::values(Tensor::cat(out.to_vec(), 0));
            (format!("convolution {kernel:?}"), out)
        })
        .collect()
    });
}

/// What an autoencoder has between convolutions.
#[test]
fn group_norms() {
    crate::agrees_with_the_cpu(1e-4, |device| {
        let x = random([2, 6, 7, 5], 1, device);
        let (scale, shift) = (random([6], 2, device), random([6], 3, device));
        let out = fused::group_norm(x, scale, shift, 3, true);
        vec![("GroupNorm".to_owned(), host::values(out))]
    });
}
