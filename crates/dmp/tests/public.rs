//! A checkpoint as the public DiT code saves it while it trains (`scripts/export/public_dit.py`), against what that code
//! computes with it.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use dmp::models::open_backbone;
use dmp_model::denoiser::Denoiser;
use dmp_model::host;
use safetensors::SafeTensors;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/public")
}

/// Shape and values of an expected tensor.
fn expected(name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(folder().join("expected.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    let values = tensor.data().chunks_exact(4);
    let values = values.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    (tensor.shape().to_vec(), values.collect())
}

#[test]
fn the_average_of_a_training_checkpoint_is_computed_as_the_public_code_does() {
    let device = Device::flex();
    let path = folder().join("0000001.pt").display().to_string();
    let model = open_backbone(&path, &device).unwrap().model;
    let (shape, values) = expected("in.x");
    let x = Tensor::<4>::from_data(TensorData::new(values, shape), &device);
    let numbers = |name| -> Vec<usize> {
        let (_, values) = expected(name);
        values.into_iter().map(|value| value as usize).collect()
    };
    let found = host::values(model.predict(x, &numbers("in.t"), &numbers("in.y")));
    let (_, wanted) = expected("out");
    assert_eq!(found.len(), wanted.len());
    let norm = |values: &mut dyn Iterator<Item = f32>| {
        values.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt()
    };
    let off = norm(&mut found.iter().zip(&wanted).map(|(a, b)| a - b));
    let relative = off / norm(&mut wanted.iter().copied());
    println!("public DiT: off by {relative:.1e}");
    assert!(relative < 1e-5, "{relative:e}");
}

#[test]
fn heads_that_no_shape_tells_are_asked_for_by_name() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("tiny.pt");
    std::fs::copy(folder().join("0000001.pt"), &path).unwrap();
    let error = open_backbone(&path.display().to_string(), &Device::flex()).unwrap_err();
    let error = format!("{error:#}");
    assert!(
        error.contains("num_heads") && error.contains("config.json"),
        "{error}"
    );
}
