//! What the tests of both trainees need.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use dmp_math::seed::{Purpose, stream};
use dmp_model::checkpoint::{HostTensor, StoredType, TensorFile, backbone_bytes, load_backbone};
use dmp_model::dit::{Dit, DitConfig};

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
