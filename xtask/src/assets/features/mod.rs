//! `features.safetensors`: the classifier whose hidden layer the demo's Fréchet distances are measured in.
//!
//! `features-check` tries settings on the last 1 000 training images of every class, held out. The network that
//! is written is trained on all 60 000, and the 10 000 test images are for its final figure alone.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use dmp_model::features::FashionCnn;

use super::source::{self, CLASSES, Labelled};

mod augment;
mod train;

pub use train::batches;

/// Images of each class that `check` holds out.
const HELD_OUT_PER_CLASS: usize = 1_000;

/// Trains on all training images; gives the file's bytes and says how well the network read back from them
/// does on the test images.
pub fn build(folder: &Path) -> Result<Vec<u8>> {
    let data = source::train(folder)?;
    let bytes = train::train(&data, &(0..data.labels.len()).collect::<Vec<_>>())?;
    let test = source::test(folder)?;
    let all: Vec<usize> = (0..test.labels.len()).collect();
    println!(
        "test accuracy {:.2} %",
        100.0 * accuracy(&bytes, &test, &all)?
    );
    Ok(bytes)
}

/// Trains without the held-out training images and says how well the network does on them.
pub fn check(folder: &Path) -> Result<()> {
    let data = source::train(folder)?;
    let (mut kept, mut held_out) = (Vec::new(), Vec::new());
    for class in 0..CLASSES {
        let images: Vec<usize> = data.of_class(class).collect();
        let (head, tail) = images.split_at(images.len().saturating_sub(HELD_OUT_PER_CLASS));
        kept.extend_from_slice(head);
        held_out.extend_from_slice(tail);
    }
    let bytes = train::train(&data, &kept)?;
    println!(
        "held-out accuracy {:.2} %",
        100.0 * accuracy(&bytes, &data, &held_out)?
    );
    Ok(())
}

/// Share of the images `indices` that the network in `bytes` classifies rightly.
fn accuracy(bytes: &[u8], data: &Labelled, indices: &[usize]) -> Result<f64> {
    let device = Device::flex();
    let network = FashionCnn::from_safetensors(bytes, &device)?;
    let mut right = 0;
    for (batch, images) in batches(data, indices, &device) {
        let said = network.forward(images).logits.argmax(1);
        let said = said.try_into_vec_as::<i64>()?;
        right += (batch.iter().zip(said))
            .filter(|&(&index, said)| i64::from(data.labels[index]) == said)
            .count();
    }
    Ok(right as f64 / indices.len() as f64)
}
