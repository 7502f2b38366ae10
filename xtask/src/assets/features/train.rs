//! Training of the feature network: AdamW, one-cycle learning rate.

use std::f64::consts::PI;
use std::time::Instant;

use anyhow::Result;
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use dmp::data::{BatchIndices, to_unit};
use dmp_math::seed::{Purpose, stream};
use dmp_model::features::FashionCnn;

use super::augment::augment;
use crate::assets::source::{Labelled, PIXELS};

const SEED: u64 = 0;
const EPOCHS: u64 = 6;
const BATCH: usize = 64;
const PEAK_RATE: f64 = 2e-3;
const WEIGHT_DECAY: f32 = 0.05;
/// Share of the steps in which the rate climbs to its peak.
const WARM_UP: f64 = 0.15;

/// Images put through the network at once where nothing is learned.
const EVALUATION_BATCH: usize = 250;

/// Trains on the images `indices` of `data` and gives the network's file.
pub fn train(data: &Labelled, indices: &[usize]) -> Result<Vec<u8>> {
    let device = Device::flex().autodiff();
    device.seed(SEED);
    let mut network = FashionCnn::new(&device);
    println!("{} parameters", network.num_params());
    let mut optimizer = AdamWConfig::new().with_weight_decay(WEIGHT_DECAY).init();
    let loss = CrossEntropyLossConfig::new().init(&device);
    let mut order = BatchIndices::new(indices.len(), BATCH, SEED)?;
    let steps = EPOCHS * indices.len() as u64 / BATCH as u64;
    let (started, mut recent) = (Instant::now(), 0.0);
    for step in 0..steps {
        let batch = order.step(step);
        let mut pixels = vec![0.0; BATCH * PIXELS];
        let mut labels = Vec::with_capacity(BATCH);
        for ((draw, &at), out) in
            (batch.draws.zip(&batch.indices)).zip(pixels.chunks_exact_mut(PIXELS))
        {
            let index = indices[at];
            let mut random = stream(SEED, Purpose::Flip, draw);
            augment(data.image(index), &mut random, out);
            labels.push(i32::from(data.labels[index]));
        }
        let images = Tensor::from_data(TensorData::new(pixels, [BATCH, 1, 28, 28]), &device);
        let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [BATCH]), &device);
        let loss = loss.forward(network.forward(images).logits, labels);
        recent = 0.99 * recent + 0.01 * f64::from(loss.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(rate(step, steps), network, gradients);
        if (step + 1) % 200 == 0 {
            let seconds = started.elapsed().as_secs();
            println!("step {}/{steps}  loss {recent:.3}  {seconds} s", step + 1);
        }
    }
    Ok(network.valid().to_safetensors()?)
}

/// Learning rate: up in a line, down along a cosine to 0.
fn rate(step: u64, steps: u64) -> f64 {
    let done = (step + 1) as f64 / steps as f64;
    if done < WARM_UP {
        PEAK_RATE * done / WARM_UP
    } else {
        PEAK_RATE * (0.5 + 0.5 * (PI * (done - WARM_UP) / (1.0 - WARM_UP)).cos())
    }
}

/// The images `indices` in batches for evaluation: their indices and `[batch, 1, 28, 28]` in [-1, 1].
pub fn batches<'a>(
    data: &'a Labelled,
    indices: &'a [usize],
    device: &'a Device,
) -> impl Iterator<Item = (&'a [usize], Tensor<4>)> {
    indices.chunks(EVALUATION_BATCH).map(move |batch| {
        let pixels: Vec<f32> = (batch.iter())
            .flat_map(|&index| data.image(index).iter().map(|&pixel| to_unit(pixel)))
            .collect();
        let pixels = TensorData::new(pixels, [batch.len(), 1, 28, 28]);
        (batch, Tensor::from_data(pixels, device))
    })
}
