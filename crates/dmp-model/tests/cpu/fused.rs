//! The fused nodes against their references in burn operations: forward and every gradient, over random
//! shapes, odd token counts and single images among them.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use dmp_math::seed::{Purpose, stream};
use dmp_model::checkpoint::{Tensors, apply, collect};
use dmp_model::dit::{DitBlock, DitConfig};
use dmp_model::fused::{self, Checkpointing, Precision};
use dmp_model::host;
use proptest::prelude::*;

/// Sizes of a random block and batch.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    batch: usize,
    tokens: usize,
    heads: usize,
    head: usize,
    seed: u64,
}

fn sizes() -> impl Strategy<Value = Sizes> {
    (1usize..6, 1usize..20, 1usize..4, 1usize..4, any::<u64>()).prop_map(
        |(batch, tokens, heads, quarter_head, seed)| Sizes {
            batch,
            tokens,
            heads,
            head: 4 * quarter_head,
            seed,
        },
    )
}

fn random<const D: usize>(
    shape: [usize; D],
    seed: u64,
    index: u64,
    scale: f32,
    device: &Device,
) -> Tensor<D> {
    let mut values = vec![0.0; shape.iter().product()];
    stream(seed, Purpose::Init, index).fill_normal(&mut values);
    values.iter_mut().for_each(|v| *v *= scale);
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// A block with random weights and biases, all requiring gradients; its matrices `rounded` to bf16 or not.
fn block(sizes: Sizes, rounded: bool, device: &Device) -> DitBlock {
    let width = sizes.heads * sizes.head;
    let config = DitConfig {
        input_size: 4,
        patch_size: 4,
        in_channels: 1,
        hidden_size: width,
        depth: 1,
        num_heads: sizes.heads,
        mlp_ratio: 4.0,
        learn_sigma: true,
        num_classes: 1,
        class_dropout_prob: 0.0,
    };
    let empty = DitBlock::zeroed(&config, device);
    let mut tensors: Tensors = collect(&empty, str::to_owned);
    for (index, tensor) in tensors.values_mut().enumerate() {
        stream(sizes.seed, Purpose::Init, 100 + index as u64).fill_normal(&mut tensor.values);
        let matrix = tensor.shape.len() == 2;
        tensor.values.iter_mut().for_each(|v| {
            *v *= 0.3;
            if rounded && matrix {
                *v = half::bf16::from_f32(*v).to_f32();
            }
        });
    }
    apply(empty, tensors, str::to_owned).unwrap()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

fn relative_error(got: &[f32], want: &[f32]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let difference = square(&mut got.iter().zip(want).map(|(a, b)| f64::from(a - b)));
    (difference / square(&mut want.iter().map(|b| f64::from(*b)))).sqrt()
}

#[track_caller]
fn assert_close(what: &str, got: &[f32], want: &[f32]) {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut got.iter().zip(want).map(|(a, b)| f64::from(a - b)));
    let size = norm(&mut want.iter().map(|b| f64::from(*b)));
    assert_eq!(got.len(), want.len(), "{what}");
    assert!(
        difference <= 2e-5 * size + 1e-6,
        "{what}: off by {difference:.2e} of {size:.2e}"
    );
}

/// How far off a number rounded to bf16, of 8 bits, is at most.
const ROUNDING: f64 = 1.0 / 512.0;

/// How a block is computed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    Reference,
    /// The reference, with matrices rounded to bf16.
    Rounded,
    Fused,
    Frozen(Precision),
    Checkpointed(Checkpointing),
}

/// Output, and gradients of input, modulation and every weight, of a weighted sum of the output.
fn run(sizes: Sizes, how: How) -> Vec<(String, Vec<f32>)> {
    let device = Device::flex().autodiff();
    let mut block = block(sizes, how == How::Rounded, &device);
    match how {
        How::Frozen(precision) => block.pack_weights(precision),
        How::Checkpointed(checkpointing) => block.set_checkpointing(checkpointing),
        How::Reference | How::Rounded | How::Fused => {}
    }
    let width = sizes.heads * sizes.head;
    let shape = [sizes.batch, sizes.tokens, width];
    let x = random(shape, sizes.seed, 0, 1.0, &device).require_grad();
    let modulation = random([sizes.batch, 6 * width], sizes.seed, 1, 0.5, &device).require_grad();
    let out = match how {
        How::Reference | How::Rounded => block.reference(x.clone(), modulation.clone()),
        _ => block.modulated(x.clone(), modulation.clone()),
    };
    let gradients = (out.clone() * random(shape, sizes.seed, 2, 1.0, &device))
        .sum()
        .backward();
    let mut found = vec![
        ("output".to_owned(), values(out)),
        ("x".to_owned(), values(x.grad(&gradients).unwrap())),
        (
            "modulation".to_owned(),
            values(modulation.grad(&gradients).unwrap()),
        ),
    ];
    struct Weights<'a>(
        &'a burn::tensor::Gradients,
        &'a mut Vec<(String, Vec<f32>)>,
        Vec<String>,
    );
    impl burn::module::ModuleVisitor for Weights<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.2.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.2.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad(self.0) {
                self.1.push((self.2.join("."), values(gradient)));
            }
        }
    }
    block.visit(&mut Weights(&gradients, &mut found, Vec::new()));
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn fused_block_equals_its_reference(sizes in sizes()) {
        let (got, want) = (run(sizes, How::Fused), run(sizes, How::Reference));
        prop_assert_eq!(got.len(), 3 + 8);
        prop_assert_eq!(want.len(), 3 + 8);
        for ((name, got), (_, want)) in got.iter().zip(&want) {
            assert_close(name, got, want);
        }
    }

    #[test]
    fn what_is_computed_anew_is_the_same_to_the_bit(sizes in sizes()) {
        let all = run(sizes, How::Fused);
        for checkpointing in [Checkpointing::Mlp, Checkpointing::Block] {
            prop_assert_eq!(&run(sizes, How::Checkpointed(checkpointing)), &all);
        }
    }

    #[test]
    fn a_frozen_block_equals_its_reference(sizes in sizes()) {
        let (got, want) = (run(sizes, How::Frozen(Precision::F32)), run(sizes, How::Reference));
        // Output, and gradients of input and modulation; its weights have none.
        prop_assert_eq!(got.len(), 3);
        for ((name, got), (_, want)) in got.iter().zip(&want) {
            assert_close(name, got, want);
        }
    }

    #[test]
    fn a_block_frozen_in_bf16_is_near_its_reference(sizes in sizes()) {
        let [got, want, rounded] =
            [How::Frozen(Precision::Bf16), How::Reference, How::Rounded].map(|how| run(sizes, how));
        // Output, and gradients of input and modulation; its weights have none.
        prop_assert_eq!(got.len(), 3);
        for (((name, got), (_, want)), (_, rounded)) in got.iter().zip(&want).zip(&rounded) {
            // How far roundings move this block's results depends on its softmax, so that the matrices' own rounding is the
            // measure. What they are multiplied with is rounded alike: √2 of it is usual.
            let (error, measure) = (relative_error(got, want), relative_error(rounded, want).max(ROUNDING));
            prop_assert!(error > 0.0 && error < 10.0 * measure, "{}: off by {:.2e}, by rounded matrices {:.2e}", name, error, measure);
        }
    }

    #[test]
    fn fused_prompts_and_norm_equal_their_references(sizes in sizes()) {
        let device = Device::flex().autodiff();
        let (b, n, d) = (sizes.batch, sizes.tokens, sizes.heads * sizes.head);
        let x = random([b, n, d], sizes.seed, 0, 1.0, &device).require_grad();
        let mask = random([b, n], sizes.seed, 1, 1.0, &device).require_grad();
        let prompts = random([n, d], sizes.seed, 2, 1.0, &device).require_grad();
        let (shift, scale) = (random([b, d], sizes.seed, 3, 1.0, &device).require_grad(), random([b, d], sizes.seed, 4, 1.0, &device).require_grad());
        let weight = random([b, n, d], sizes.seed, 5, 1.0, &device);
        let all = |out: Tensor<3>| {
            let gradients = (out.clone() * weight.clone()).sum().backward();
            let mut found = vec![values(out), values(x.grad(&gradients).unwrap())];
            found.extend([&mask, &prompts, &shift, &scale].into_iter().filter_map(|t| t.grad(&gradients)).map(values));
            found
        };
        let fused_prompts = all(fused::prompt_add(x.clone(), mask.clone(), prompts.clone()));
        let plain_prompts = all(x.clone() + mask.clone().unsqueeze_dim::<3>(2) * prompts.clone().unsqueeze::<3>());
        let fused_norm = all(fused::norm_modulate(x.clone(), shift.clone(), scale.clone()));
        let centred = x.clone() - x.clone().mean_dim(2);
        let normalised = centred.clone() / (centred.square().mean_dim(2) + 1e-6).sqrt();
        let plain_norm = all(normalised * (scale.clone().unsqueeze_dim::<3>(1) + 1.0) + shift.clone().unsqueeze_dim::<3>(1));
        prop_assert_eq!(fused_prompts.len(), 4);
        prop_assert_eq!(fused_norm.len(), 4);
        for (got, want) in fused_prompts.iter().chain(&fused_norm).zip(plain_prompts.iter().chain(&plain_norm)) {
            assert_close("node", got, want);
        }
    }
}

/// GroupNorm with groups of one channel, of some and of all.
#[test]
fn the_fused_group_norm_is_the_reference() {
    let device = Device::flex();
    for (groups, silu) in [(1, true), (3, false), (6, true)] {
        let x = random([2, 6, 7, 5], 21, 0, 2.0, &device) + 0.3;
        let scale = random([6], 21, 1, 0.3, &device) + 1.0;
        let shift = random([6], 21, 2, 0.3, &device);
        let found = fused::group_norm(x.clone(), scale.clone(), shift.clone(), groups, silu);
        let expected = fused::group_norm_reference(x, scale, shift, groups, silu);
        let distance = (found - expected).abs().max().into_scalar::<f32>();
        assert!(distance < 1e-5, "{groups} groups: {distance}");
    }
}

/// Its kernel knows no gradients; where they are tracked the reference computes.
#[test]
fn a_tracked_group_norm_has_gradients() {
    let device = Device::flex().autodiff();
    let x = Tensor::<4>::from_data(
        TensorData::new(vec![1.0f32, 2.0, 4.0, 8.0], [1, 2, 1, 2]),
        &device,
    )
    .require_grad();
    let ones = Tensor::<1>::ones([2], &device);
    let out = fused::group_norm(x.clone(), ones.clone(), ones, 1, false);
    let gradients = out.slice([0..1, 0..1, 0..1, 0..1]).sum().backward();
    let gradient = host::values(x.grad(&gradients).unwrap());
    // Moving all values together changes nothing.
    assert!(gradient[0] > 0.1, "{gradient:?}");
    assert!(gradient.iter().sum::<f32>().abs() < 1e-5, "{gradient:?}");
}
