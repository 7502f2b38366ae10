//! A LoRA: it starts as the bare backbone, computes what the paper says, learns through the weights that it changes, and
//! goes to a file and back.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use dmp_math::schedule::BetaSchedule;
use dmp_math::seed::{Purpose, stream};
use dmp_model::checkpoint::{
    AdditionKind, HostTensor, PatchMetadata, StoredType, TensorFile, apply, collect, load_lora,
    load_patch, lora_bytes,
};
use dmp_model::denoiser::Denoiser;
use dmp_model::dit::Dit;
use dmp_model::host;
use dmp_model::lora::{Limited, Lora, LoraConfig, Target, public_key};
use proptest::prelude::*;

use super::{backbone, bits, config, noise};

/// A LoRA of a scale that is not 1, whose every factor is random: B too.
fn random(seed: u64, rank: usize, targets: &[Target], device: &Device) -> Lora {
    let config = LoraConfig {
        alpha: 2.5 * rank as f64,
        targets: targets.iter().copied().collect(),
        ..LoraConfig::new(rank, &config())
    };
    let empty = Lora::zeroed(&config, device);
    let mut tensors = collect(&empty, public_key);
    for (index, tensor) in tensors.values_mut().enumerate() {
        stream(seed, Purpose::Init, index as u64).fill_normal(&mut tensor.values);
        tensor.values.iter_mut().for_each(|v| *v *= 0.1);
    }
    apply(empty, tensors, public_key).unwrap()
}

fn predict(model: &impl Denoiser) -> Tensor<4> {
    model.predict(noise(3, 0, &Device::flex()), &[0, 500, 999], &[0, 1, 3])
}

#[track_caller]
fn assert_close(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}");
    let largest = want.iter().fold(0.0f32, |max, x| max.max(x.abs()));
    for (got, want) in got.iter().zip(want) {
        assert!(
            (got - want).abs() <= 1e-5 * largest,
            "{what}: {got}, not {want} (largest {largest})"
        );
    }
}

/// A is random, so that it is B's zeros that do it; joined with a graph, merged, and merged and packed.
#[test]
fn a_new_lora_changes_no_output_bit() {
    let device = Device::flex();
    let bare = backbone(&device);
    let config = LoraConfig::new(4, &config());
    let lora = Lora::init(&config, 0, &device);
    let a = host::values(lora.factors(1, Target::Fc2).unwrap().a());
    assert!(a.iter().all(|v| v.abs() <= 0.125) && a.iter().any(|v| v.abs() > 0.1));
    let merged = lora.merge(&bare).unwrap();
    assert_eq!(bits(predict(&merged)), bits(predict(&bare)));

    let tracked = device.clone().autodiff();
    let joined = Lora::init(&config, 0, &tracked).join(&backbone(&tracked));
    let x = noise(3, 0, &tracked);
    let output = joined.predict(x, &[0, 500, 999], &[0, 1, 3]);
    assert_eq!(bits(output), bits(predict(&bare)));

    let (mut bare, mut merged) = (bare, merged);
    for model in [&mut bare, &mut merged] {
        model.pack_weights(dmp_model::fused::Precision::F32);
    }
    assert_eq!(bits(predict(&merged)), bits(predict(&bare)));
}

/// Merged for sampling it is what it was in training, and something else than the backbone.
#[test]
fn merged_equals_joined() {
    let (device, tracked) = (Device::flex(), Device::flex().autodiff());
    let merged = random(5, 3, &Target::ALL, &device)
        .merge(&backbone(&device))
        .unwrap();
    let joined = random(5, 3, &Target::ALL, &tracked).join(&backbone(&tracked));
    let x = noise(3, 0, &tracked);
    let joined = joined.predict(x, &[0, 500, 999], &[0, 1, 3]);
    assert_eq!(bits(predict(&merged)), bits(joined));
    assert_ne!(bits(predict(&merged)), bits(predict(&backbone(&device))));
}

fn matrix(shape: [usize; 2], seed: u64, index: u64, device: &Device) -> Tensor<2> {
    let mut values = vec![0.0; shape[0] * shape[1]];
    stream(seed, Purpose::Init, index).fill_normal(&mut values);
    Tensor::from_data(TensorData::new(values, shape), device)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// x·(W + ΔW) = x·W + (alpha / rank)·(x·Aᵀ)·Bᵀ for each map, equation 3 of the paper.
    #[test]
    fn a_change_is_what_the_paper_says(seed: u64, rank in 1usize..9, rows in 1usize..5) {
        let device = Device::flex();
        let lora = random(seed, rank, &Target::ALL, &device);
        let (base, scale) = (backbone(&device), lora.config().scale());
        let merged = lora.merge(&base).unwrap();
        let [before, after] = [&base, &merged].map(|model| collect(model, dmp_model::dit::public_key));
        for (block, target) in lora.modules() {
            let [inputs, outputs] = lora.config().sizes(target);
            let weight = |tensors: &BTreeMap<String, HostTensor>| {
                let found = &tensors[&format!("{}.weight", target.module(block))];
                let data = TensorData::new(found.values.clone(), [outputs, inputs]);
                Tensor::<2>::from_data(data, &device).transpose()
            };
            let factors = lora.factors(block, target).unwrap();
            let x = matrix([rows, inputs], seed, 1000, &device);
            let unmerged = x.clone().matmul(weight(&before))
                + x.clone().matmul(factors.a().transpose()).matmul(factors.b().transpose()) * scale;
            let merged = x.matmul(weight(&after));
            assert_close(target.name(), &host::values(merged), &host::values(unmerged));
        }
    }
}

/// What the weights' own gradients give by the chain rule: dA = scale·Bᵀ·dWᵀ, dB = scale·dWᵀ·Aᵀ, for adapted maps, with
/// the gradients of a backbone that is trained whole. Others and the backbone's own parameters have none.
#[test]
fn gradients_go_through_the_weights() {
    let device = Device::flex().autodiff();
    let gradients = |model: &Dit| -> Gradients {
        let x = noise(3, 0, &device);
        let output = model.predict(x, &[0, 500, 999], &[0, 1, 3]);
        (output * noise(6, 1, &device).reshape([3, 2, 8, 8]))
            .sum()
            .backward()
    };
    let targets = [Target::Qkv, Target::Fc2];
    let lora = random(5, 3, &targets, &device);
    let base = backbone(&device);
    let found = gradients(&lora.join(&base));

    let plain = random(5, 3, &targets, &Device::flex());
    let merged = plain.merge(&backbone(&Device::flex())).unwrap();
    let whole = apply(
        Dit::zeroed(&config(), &device),
        collect(&merged, dmp_model::dit::public_key),
        dmp_model::dit::public_key,
    )
    .unwrap();
    let of_weights = weight_gradients(&whole, &gradients(&whole));
    let scale = lora.config().scale();
    assert_eq!(lora.modules().count(), 4);
    for (block, target) in lora.modules() {
        let factors = lora.factors(block, target).unwrap();
        let plain = plain.factors(block, target).unwrap();
        let weight = of_weights[&format!("{}.weight", target.module(block))].clone();
        let a = (weight.clone().matmul(plain.b())).transpose() * scale;
        let b = (plain.a().matmul(weight)).transpose() * scale;
        for (what, tensor, want) in [("A", factors.a(), a), ("B", factors.b(), b)] {
            let got = tensor.grad(&found).unwrap();
            assert_close(what, &host::values(got), &host::values(want));
        }
    }
    assert!(weight_gradients(&base, &found).is_empty());
}

/// Gradients of a model's matrices, by path.
fn weight_gradients(model: &Dit, gradients: &Gradients) -> BTreeMap<String, Tensor<2>> {
    struct Weights<'a>(&'a Gradients, Vec<String>, BTreeMap<String, Tensor<2>>);
    impl burn::module::ModuleVisitor for Weights<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.1.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.1.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
            if D == 2
                && let Some(gradient) = param.val().grad(self.0)
            {
                let [rows, columns] = [param.dims()[0], param.dims()[1]];
                let gradient = gradient.reshape([rows, columns]);
                self.2.insert(self.1.join("."), gradient);
            }
        }
    }
    let mut weights = Weights(gradients, Vec::new(), BTreeMap::new());
    model.visit(&mut weights);
    weights.2
}

fn metadata() -> PatchMetadata {
    PatchMetadata {
        base_sha256: "base".to_owned(),
        schedule: BetaSchedule::SquaredCosine,
        architecture: "dit".to_owned(),
        title: "LoRA of tiny".to_owned(),
        resolution: "8x8".to_owned(),
        date: "2026-01-01".to_owned(),
    }
}

#[test]
fn a_file_has_the_names_other_tools_read_and_comes_back_whole() {
    let device = Device::flex();
    let lora = random(5, 3, &[Target::Qkv, Target::Fc1], &device);
    let bytes = lora_bytes(&lora, &metadata()).unwrap();
    let file = TensorFile::from_bytes(&bytes).unwrap();
    assert_eq!(AdditionKind::of(&file), Some(AdditionKind::Lora));
    assert_eq!(file.metadata["modelspec.architecture"], "dit/lora");
    // Two blocks, two maps, two factors and an alpha.
    assert_eq!(file.tensors.len(), 2 * 2 * 3);
    let numbers: usize = file.tensors.values().map(|t| t.values.len()).sum();
    assert_eq!(numbers, lora.config().added_params() + 4);
    for (name, shape) in [
        (
            "base_model.model.blocks.1.attn.qkv.lora_A.weight",
            vec![3, 16],
        ),
        (
            "base_model.model.blocks.1.attn.qkv.lora_B.weight",
            vec![48, 3],
        ),
        (
            "base_model.model.blocks.0.mlp.fc1.lora_B.weight",
            vec![64, 3],
        ),
        ("base_model.model.blocks.0.mlp.fc1.alpha", vec![]),
    ] {
        assert_eq!(file.tensors[name].shape, shape, "{name}");
    }
    let back = load_lora(file, &device).unwrap();
    assert_eq!(back.metadata, metadata());
    assert_eq!(back.lora.config(), lora.config());
    assert_eq!(lora_bytes(&back.lora, &back.metadata).unwrap(), bytes);
    assert!(back.metadata.check_backbone("base").is_ok());
    let other = back.metadata.check_backbone("other").unwrap_err();
    assert!(other.to_string().contains("another backbone"), "{other}");
}

#[test]
fn what_is_wrong_with_a_file_is_named() {
    let device = Device::flex();
    let lora = random(5, 3, &Target::ALL, &device);
    let whole = TensorFile::from_bytes(&lora_bytes(&lora, &metadata()).unwrap()).unwrap();
    let (factor, alpha) = (
        "base_model.model.blocks.0.mlp.fc2.lora_A.weight",
        "base_model.model.blocks.1.attn.proj.alpha",
    );
    type Change = fn(&mut TensorFile, &str);
    let changes: [(Change, &str, &str); 7] = [
        (|f, name| drop(f.tensors.remove(name)), factor, "missing"),
        (|f, name| drop(f.tensors.remove(name)), alpha, "missing"),
        (
            |f, name| f.tensors.get_mut(name).unwrap().shape = vec![64, 3],
            factor,
            "[64, 3] instead of [3, 64]",
        ),
        (
            |f, name| f.tensors.get_mut(name).unwrap().shape = vec![1],
            alpha,
            "[1] instead of []",
        ),
        (
            |f, name| f.tensors.get_mut(name).unwrap().values = vec![9.0],
            alpha,
            "disagrees",
        ),
        (
            |f, name| {
                let tensor = f.tensors[name].clone();
                f.tensors.insert("extra".to_owned(), tensor);
            },
            factor,
            "unknown: 'extra'",
        ),
        (
            |f, name| f.tensors.get_mut(name).unwrap().values[0] = f32::NAN,
            factor,
            "NaN",
        ),
    ];
    for (change, name, said) in changes {
        let mut file = whole.clone();
        change(&mut file, name);
        // As from a file, which holds only what it can.
        let file = TensorFile::from_bytes(&file.to_bytes(StoredType::F32).unwrap()).unwrap();
        let message = load_lora(file, &device).unwrap_err().to_string();
        assert!(message.contains(said), "no '{said}' in: {message}");
        assert!(
            message.contains(name) || said.starts_with("unknown"),
            "{message}"
        );
    }
    let message = load_patch(whole.clone(), &device).unwrap_err().to_string();
    assert!(message.contains("no patch"), "{message}");
    let wide = dmp_model::dit::DitConfig {
        hidden_size: 32,
        ..config()
    };
    let message = lora.merge(&Dit::zeroed(&wide, &device)).unwrap_err();
    assert!(message.to_string().contains("width is 16"), "{message}");
}

/// Below its limit it is the merged backbone and from there on the bare one: image by image, whatever the others are.
#[test]
fn a_limited_lora_acts_below_its_limit_only() {
    let device = Device::flex();
    let bare = backbone(&device);
    let lora = random(7, 2, &[Target::Qkv, Target::Fc2], &device);
    let merged = lora.merge(&bare).unwrap();
    let x = noise(4, 0, &device);
    let labels = [0, 1, 3, 2];
    // Neither sorted by noise nor all of one kind.
    let times = [999, 0, 500, 20];
    let drawn = |model: &dyn Denoiser| bits(model.predict(x.clone(), &times, &labels));
    let (whole, none) = (drawn(&merged), drawn(&bare));
    for below in [1, 20, 21, 500, 501, 999, 1000] {
        let found = drawn(&Limited::new(bare.clone(), &lora, below).unwrap());
        let size = found.len() / times.len();
        for (image, &time) in times.iter().enumerate() {
            let of = |all: &[u32]| all[image * size..][..size].to_vec();
            let wanted = if time < below { &whole } else { &none };
            assert_eq!(of(&found), of(wanted), "below {below}: image {image}");
            assert_ne!(of(&whole), of(&none));
        }
    }
    // Another size is another size of both.
    let limited = Limited::new(bare.clone(), &lora, 500).unwrap();
    let above = |model: &dyn Denoiser| bits(model.predict(x.clone(), &[500; 4], &labels));
    assert_eq!(above(&limited), above(&bare));
    let resized = limited
        .map_backbones(|model| model.resized([4, 8]))
        .unwrap();
    assert_eq!((resized.layout().height, resized.layout().width), (4, 8));
    let error = lora.acting_below(Some(0)).unwrap_err().to_string();
    assert!(error.contains("(patch_below) is 0"), "{error}");
}

/// A limit that was taken out of the metadata, or changed there, is not lost without a word.
#[test]
fn a_limit_is_in_the_file_twice() {
    let device = Device::flex();
    let lora = random(7, 2, &[Target::Qkv], &device);
    let limited = lora.clone().acting_below(Some(400)).unwrap();
    let bytes = lora_bytes(&limited, &metadata()).unwrap();
    let file = TensorFile::from_bytes(&bytes).unwrap();
    let back = load_lora(file.clone(), &device).unwrap();
    assert_eq!(back.lora.config().patch_below, Some(400));
    for (changed, says) in [
        ("", "unknown: 'dmp.patch_below'"),
        (
            ",\"patch_below\":401",
            "disagrees with the tensor 'dmp.patch_below'",
        ),
        (",\"patch_below\":70000", "from 1 to 65536"),
    ] {
        let mut file = file.clone();
        let config = file.metadata.get_mut("dmp.lora").unwrap();
        assert!(config.contains(",\"patch_below\":400"), "{config}");
        *config = config.replace(",\"patch_below\":400", changed);
        let error = load_lora(file, &device).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
