//! `statistics.safetensors`: mean and covariance of the feature network's features.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use dmp::data::demo::IMAGES_PER_CLASS;
use dmp::data::statistics::{self, Split};
use dmp_math::frechet::frechet_distance;
use dmp_math::moments::{Gaussian, Moments};
use dmp_model::features::FashionCnn;
use sha2::{Digest, Sha256};

use super::features::batches;
use dmp_model::checkpoint::hex;

use super::source::{self, CLASSES, Labelled};

/// Images of each class in [`Split::Validation`]: those that follow the embedded ones.
const VALIDATION_PER_CLASS: usize = 1_000;

/// The statistics' file for the feature network in `network`; says how far the splits lie from each other.
pub fn build(folder: &Path, network: &[u8]) -> Result<Vec<u8>> {
    let device = Device::flex();
    let cnn = FashionCnn::from_safetensors(network, &device)?;
    let (train, test) = (source::train(folder)?, source::test(folder)?);
    let all: Vec<usize> = (0..test.labels.len()).collect();
    let embedded = of_every_class(&train, 0, IMAGES_PER_CLASS);
    let next = of_every_class(&train, IMAGES_PER_CLASS, VALIDATION_PER_CLASS);
    let splits = [
        (Split::HeldOut, fit(&cnn, &test, &all, &device)?),
        (Split::Validation, fit(&cnn, &train, &next, &device)?),
        (Split::Train, fit(&cnn, &train, &embedded, &device)?),
    ];
    for (i, (a, first)) in splits.iter().enumerate() {
        for (b, second) in &splits[i + 1..] {
            println!("{a} to {b}: {:.4}", frechet_distance(first, second)?);
        }
    }
    Ok(statistics::write(&splits, &hex(&Sha256::digest(network)))?)
}

/// `count` images of each class, after the first `skip`.
fn of_every_class(data: &Labelled, skip: usize, count: usize) -> Vec<usize> {
    (0..CLASSES)
        .flat_map(|class| data.of_class(class).skip(skip).take(count))
        .collect()
}

fn fit(cnn: &FashionCnn, data: &Labelled, indices: &[usize], device: &Device) -> Result<Gaussian> {
    let mut moments = Moments::new(FashionCnn::FEATURES);
    for (_, images) in batches(data, indices, device) {
        moments.push_rows(&cnn.forward(images).features.try_into_vec_as::<f32>()?);
    }
    Ok(moments.finish()?)
}
