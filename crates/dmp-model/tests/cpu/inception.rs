//! Inception-v3 and its preprocessing against pytorch-fid's and torch-fidelity's own code
//! (`scripts/export/inception.py`), on made-up weights that both sides compute.

use std::path::Path;

use burn::tensor::{Device, Distribution, Tensor, TensorData};
use dmp_kernels::pool::Pool;
use dmp_model::checkpoint::{HostTensor, StoredType, TensorFile, Tensors};
use dmp_model::features::inception::{ConvSpec, convolutions};
use dmp_model::features::{Inception, InceptionError, Preprocess};
use dmp_model::fused::{FrozenConv, conv_reference, pool, pool_reference};
use dmp_model::host;

/// `count` numbers in [0, 1), as the script's `hashed`.
fn hashed(count: usize, salt: usize) -> impl Iterator<Item = f64> {
    (1..=count).map(move |i| {
        (i as f64 * 0.618_033_988_749_894_9 + salt as f64 * std::f64::consts::SQRT_2) % 1.0
    })
}

/// The script's weights, under the names of pytorch-fid's file.
fn made_up() -> Tensors {
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("fc.weight".to_owned(), vec![1008, 2048]),
        ("fc.bias".to_owned(), vec![1008]),
    ];
    for ConvSpec {
        name,
        channels: [inputs, outputs],
        kernel: [rows, columns],
        ..
    } in convolutions()
    {
        shapes.push((
            format!("{name}.conv.weight"),
            vec![outputs, inputs, rows, columns],
        ));
        for part in ["weight", "bias", "running_mean", "running_var"] {
            shapes.push((format!("{name}.bn.{part}"), vec![outputs]));
        }
    }
    shapes.sort();
    shapes
        .into_iter()
        .enumerate()
        .map(|(salt, (name, shape))| {
            let fan: usize = shape[1..].iter().product();
            let value = |unit: f64| match shape.len() {
                4 => (unit - 0.5) * (24.0 / fan as f64).sqrt(),
                _ if name.ends_with("running_var") || name.ends_with("bn.weight") => 0.5 + unit,
                _ => (unit - 0.5) * 0.2,
            };
            let values = hashed(shape.iter().product(), salt)
                .map(|unit| value(unit) as f32)
                .collect();
            (name, HostTensor { shape, values })
        })
        .collect()
}

fn expected() -> Tensors {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inception/expected.safetensors");
    TensorFile::from_bytes(&std::fs::read(path).unwrap())
        .unwrap()
        .tensors
}

fn bytes(tensors: Tensors) -> Vec<u8> {
    let file = TensorFile {
        tensors,
        ..Default::default()
    };
    file.to_bytes(StoredType::F32).unwrap()
}

/// ‖a − b‖ / ‖b‖ at most 1e-4.
#[track_caller]
fn agree(name: &str, found: &[f32], expected: &Tensors) {
    let expected = &expected[name].values;
    assert_eq!(found.len(), expected.len(), "{name}");
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let distance = norm(&mut found.iter().zip(expected).map(|(a, b)| f64::from(a - b)));
    let error = distance / norm(&mut expected.iter().map(|&x| f64::from(x)));
    println!("{name}: relative error {error:.2e}");
    assert!(error < 1e-4, "{name}: {error:e}");
}

#[test]
fn features_and_scores_of_the_references() {
    let (device, expected) = (Device::flex(), expected());
    let network = Inception::load(bytes(made_up()), &device).unwrap();
    assert!(network.has_classifier());
    let ramp: Vec<f32> = (0..299).map(|i| i as f32 / 149.0 - 1.0).collect();
    let images: Vec<f32> = hashed(2 * 3 * 299 * 299, 7)
        .enumerate()
        .map(|(i, unit)| {
            let (y, x) = (i / 299 % 299, i % 299);
            0.5 * (unit as f32 * 2.0 - 1.0) + 0.5 * ramp[y] * ramp[x]
        })
        .collect();
    let images = Tensor::from_data(TensorData::new(images, [2, 3, 299, 299]), &device);
    let output = network.forward(images);
    let logits = |bias| host::values(network.logits(output.pool.clone(), bias).unwrap());
    agree("logits", &logits(true), &expected);
    agree("logits_unbiased", &logits(false), &expected);
    agree("pool", &host::values(output.pool.clone()), &expected);
    agree("spatial", &host::values(output.spatial), &expected);
}

#[test]
fn images_are_resized_as_each_evaluator_does() {
    let expected = expected();
    let every_few = |image: &[f32]| -> Vec<f32> {
        image
            .chunks(299)
            .step_by(13)
            .flat_map(|row| row.iter().step_by(7).copied())
            .collect()
    };
    let bytes = |count, salt| -> Vec<u8> {
        hashed(count, salt)
            .map(|unit| (unit * 256.0) as u8)
            .collect()
    };
    let small = bytes(3 * 40 * 31, 3);
    for way in Preprocess::ALL {
        assert_eq!(way.name().parse(), Ok(way));
        let found: Vec<f32> = small
            .chunks(40 * 31)
            .flat_map(|channel| every_few(&way.channel(channel, [40, 31], 299)))
            .collect();
        agree(&format!("resized.{way}"), &found, &expected);
    }
    let large = bytes(350 * 420, 5);
    let found = every_few(&Preprocess::Clean.channel(&large, [350, 420], 299));
    agree("reduced.clean", &found, &expected);
}

#[test]
fn weights_of_another_network_are_refused_by_name() {
    let mut tensors = made_up();
    let moved = tensors.remove("Mixed_5b.branch1x1.conv.weight").unwrap();
    tensors.insert("Mixed_5b.branch9x9.conv.weight".to_owned(), moved);
    tensors.insert(
        "Mixed_5b.branch1x1.bn.num_batches_tracked".to_owned(),
        HostTensor {
            shape: vec![],
            values: vec![0.0],
        },
    );
    let error = Inception::load(bytes(tensors), &Device::flex()).unwrap_err();
    let InceptionError::Mismatch(mismatch) = &error else {
        panic!("{error}");
    };
    assert_eq!(mismatch.missing, ["Mixed_5b.branch1x1.conv.weight"]);
    assert_eq!(mismatch.unexpected, ["Mixed_5b.branch9x9.conv.weight"]);
    let error = Inception::load(b"PK\x03\x04 and no more".to_vec(), &Device::flex()).unwrap_err();
    assert!(error.to_string().contains("PyTorch"), "{error}");
}

/// The kernel against burn's convolution.
#[test]
fn the_fused_convolution_is_the_reference() {
    let device = Device::flex();
    let random =
        |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Uniform(-1.0, 1.0), &device);
    for (kernel, stride, padding) in [
        ([1, 1], 1, [0, 0]),
        ([3, 3], 2, [0, 0]),
        ([1, 7], 1, [0, 3]),
    ] {
        let x = random([3, 5, 17, 13]);
        let weight = random([4, 5, kernel[0], kernel[1]]);
        let bias = Tensor::<1>::random([4], Distribution::Uniform(-1.0, 1.0), &device);
        for relu in [true, false] {
            let (weight, bias) = (weight.clone(), bias.clone());
            let conv = FrozenConv::new(weight.clone(), bias.clone(), stride, padding, relu);
            let found = conv.forward(x.clone());
            let expected = conv_reference(x.clone(), weight, bias, stride, padding, relu);
            let distance = (found - expected).abs().max().into_scalar::<f32>();
            assert!(distance < 1e-5, "{kernel:?}: {distance}");
        }
    }
}

/// The kernel against burn's pools.
#[test]
fn the_fused_pool_is_the_reference() {
    let device = Device::flex();
    for (kind, stride, padding) in [
        (Pool::Max, 2, 0),
        (Pool::Max, 1, 1),
        (Pool::Mean, 1, 1),
        (Pool::Mean, 2, 0),
    ] {
        let x = Tensor::<4>::random([2, 5, 17, 12], Distribution::Uniform(-1.0, 1.0), &device);
        let found = pool(x.clone(), kind, stride, padding);
        let expected = pool_reference(x, kind, stride, padding);
        assert_eq!(found.dims(), expected.dims());
        let distance = (found - expected).abs().max().into_scalar::<f32>();
        assert!(distance < 1e-6, "{kind:?}: {distance}");
    }
}

/// The kernel knows no gradients; where they are tracked the reference computes.
#[test]
fn a_tracked_convolution_has_gradients() {
    let device = Device::flex().autodiff();
    let x = Tensor::<4>::full([1, 1, 2, 2], 3.0, &device).require_grad();
    let (weight, bias) = (
        Tensor::<4>::full([1, 1, 1, 1], 2.0, &device),
        Tensor::<1>::full([1], 0.5, &device),
    );
    let out = FrozenConv::new(weight, bias, 1, [0, 0], true).forward(x.clone());
    let gradients = out.sum().backward();
    assert_eq!(host::values(x.grad(&gradients).unwrap()), [2.0; 4]);
}
