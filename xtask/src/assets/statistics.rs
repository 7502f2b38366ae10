//! `statistics.safetensors`: mean and covariance of the feature network's features; `class-statistics.safetensors`: of each class.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use dmp::data::demo::IMAGES_PER_CLASS;
use dmp::data::statistics::{self, Split, by_class};
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
    let sources = Sources::open(folder, network)?;
    let splits = Split::ALL
        .map(|split| {
            let (data, indices) = sources.of(split);
            Ok((split, sources.fit(data, &indices)?))
        })
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    for (i, (a, first)) in splits.iter().enumerate() {
        for (b, second) in &splits[i + 1..] {
            println!("{a} to {b}: {:.4}", frechet_distance(first, second)?);
        }
    }
    Ok(statistics::write(&splits, &hex(&Sha256::digest(network)))?)
}

/// The file of the statistics of each class.
pub fn build_by_class(folder: &Path, network: &[u8]) -> Result<Vec<u8>> {
    let sources = Sources::open(folder, network)?;
    let splits = Split::ALL
        .map(|split| {
            let (data, indices) = sources.of(split);
            let fits = (0..CLASSES).map(|class| {
                let of_class = |index: &usize| usize::from(data.labels[*index]) == class;
                let indices: Vec<usize> = indices.iter().copied().filter(of_class).collect();
                sources.fit(data, &indices)
            });
            Ok((split, fits.collect::<Result<Vec<_>>>()?))
        })
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    Ok(by_class::write(&splits, &hex(&Sha256::digest(network)))?)
}

/// Fashion-MNIST, and the network that looks at it.
struct Sources {
    cnn: FashionCnn,
    device: Device,
    train: Labelled,
    test: Labelled,
}

impl Sources {
    fn open(folder: &Path, network: &[u8]) -> Result<Self> {
        let device = Device::flex();
        Ok(Self {
            cnn: FashionCnn::from_safetensors(network, &device)?,
            device,
            train: source::train(folder)?,
            test: source::test(folder)?,
        })
    }

    /// Where the images of a split are, and which they are.
    fn of(&self, split: Split) -> (&Labelled, Vec<usize>) {
        let train = |skip, count| {
            let of_class = |class| self.train.of_class(class).skip(skip).take(count);
            (&self.train, (0..CLASSES).flat_map(of_class).collect())
        };
        match split {
            Split::HeldOut => (&self.test, (0..self.test.labels.len()).collect()),
            Split::Validation => train(IMAGES_PER_CLASS, VALIDATION_PER_CLASS),
            Split::Train => train(0, IMAGES_PER_CLASS),
        }
    }

    fn fit(&self, data: &Labelled, indices: &[usize]) -> Result<Gaussian> {
        let mut moments = Moments::new(FashionCnn::FEATURES);
        for (_, images) in batches(data, indices, &self.device) {
            let features = self.cnn.forward(images).features;
            moments.push_rows(&features.try_into_vec_as::<f32>()?);
        }
        Ok(moments.finish()?)
    }
}
