//! What the tests of both trainees need.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use dmp_math::seed::{Purpose, stream};
use dmp_model::checkpoint::{HostTensor, StoredType, TensorFile, backbone_bytes, load_backbone};
use dmp_model::dit::{Dit, DitConfig};

use crate::data::{Dataset, ImageShape};
use crate::run::{DrawPlan, HostBatch, Prefetch};

/// The smallest network with everything in it.
pub(super) const TINY: DitConfig = DitConfig {
    input_size: 4,
    patch_size: 2,
    in_channels: 1,
    hidden_size: 8,
    depth: 2,
    num_heads: 2,
    mlp_ratio: 2.0,
    learn_sigma: true,
    num_classes: 3,
    class_dropout_prob: 0.1,
};

/// The first batch of ten images of its size.
pub(super) fn batch(draws: DrawPlan) -> HostBatch {
    let shape = ImageShape {
        channels: 1,
        height: 4,
        width: 4,
    };
    let pixels = (0..10 * shape.len())
        .map(|i| (i * 37 % 251) as u8)
        .collect();
    let data = Dataset::new(pixels, (0..10).map(|i| i % 3).collect(), shape, 3).unwrap();
    Prefetch::start(draws, data, 0..1).unwrap().next().unwrap()
}

/// A network whose every weight is random: none of adaLN's zeros, which would stop gradients.
pub(super) fn random(config: &DitConfig, device: &Device) -> Dit {
    let bytes = backbone_bytes(
        &Dit::init(config, 0, device),
        Default::default(),
        StoredType::F32,
    )
    .unwrap();
    let mut file = TensorFile::from_bytes(&bytes).unwrap();
    for (index, HostTensor { values, .. }) in file.tensors.values_mut().enumerate() {
        stream(7, Purpose::Init, index as u64).fill_normal(values);
        values.iter_mut().for_each(|value| *value *= 0.3);
    }
    load_backbone(file, None, device).unwrap().model
}

/// Gradients of every parameter, the sum of the parts.
pub(super) fn summed(module: &impl Module, parts: &[GradientsParams]) -> Vec<f32> {
    struct Sums<'a>(&'a [GradientsParams], Vec<f32>);
    impl ModuleVisitor for Sums<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let zero = Tensor::zeros(param.dims(), &param.device().inner());
            let gradients = self.0.iter().filter_map(|part| part.get::<D>(param.id));
            let sum = gradients.fold(zero, |sum, gradient| sum + gradient);
            self.1.extend(dmp_model::host::values(sum));
        }
    }
    let mut sums = Sums(parts, Vec::new());
    module.visit(&mut sums);
    sums.1
}

/// Equal but for the order of summation.
#[track_caller]
pub(super) fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f32, |max, x| max.max(x.abs()));
    assert!(largest > 0.0, "no gradient at all");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() < 1e-5 * largest,
            "{at}: {found}, not {expected} (largest {largest})"
        );
    }
}
