//! What a training step sees, drawn on a thread of its own so that the step never waits.

mod targets;

use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};

use anyhow::Result;
use burn::tensor::{Device, Tensor, TensorData};
use dmp_math::seed::{Purpose, stream};
use dmp_math::timesteps::TimestepDraw;
use dmp_model::loss::NoisedBatch;
use dmp_model::patch::GateNoise;

use crate::data::{BatchIndices, DataError, Dataset};
use crate::memory::ensure_fits;

pub use targets::TargetPlan;

use targets::{Drawn, Population};

/// What is drawn for each step. Everything random is a function of the seed and the image's draw number,
/// whatever the batch size.
#[derive(Debug, Clone)]
pub struct DrawPlan {
    /// Seed of every stream.
    pub seed: u64,
    /// Images a step.
    pub batch: usize,
    /// Diffusion step of each image.
    pub timesteps: TimestepDraw,
    /// Whether images are mirrored at random.
    pub flip: bool,
    /// Label dropout: its probability and the label it puts.
    pub label_dropout: Option<(f64, usize)>,
    /// Whether labels are used at all; if not each is 0.
    pub labelled: bool,
    /// Blocks and prompts of the gate noise.
    pub gate: Option<(usize, usize)>,
    /// What the predicted noise is held against, if not the noise that was put on.
    pub targets: Option<TargetPlan>,
}

/// One batch in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct HostBatch {
    shape: [usize; 4],
    images: Vec<f32>,
    noise: Vec<f32>,
    /// What to expect of the noise.
    target: Option<Vec<f32>>,
    steps: Vec<usize>,
    /// Label of each image.
    pub labels: Vec<usize>,
    gate_noise: Option<(Vec<f32>, [usize; 3])>,
}

impl HostBatch {
    /// Images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Index of each image's diffusion step.
    pub fn steps(&self) -> &[usize] {
        &self.steps
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// At most `parts` batches of images one after the other, as even as can be.
    pub fn split(&self, parts: usize) -> Vec<HostBatch> {
        let share = self.len().div_ceil(parts.max(1)).max(1);
        (0..self.len())
            .step_by(share)
            .map(|first| self.range(first..self.len().min(first + share)))
            .collect()
    }

    fn range(&self, range: Range<usize>) -> HostBatch {
        let size: usize = self.shape[1..].iter().product();
        let pixels = range.start * size..range.end * size;
        let gate_noise = self
            .gate_noise
            .as_ref()
            .map(|(values, [blocks, count, prompts])| {
                let rows = range.start * prompts..range.end * prompts;
                let values = values
                    .chunks(count * prompts)
                    .flat_map(|block| &block[rows.clone()])
                    .copied()
                    .collect();
                (values, [*blocks, range.len(), *prompts])
            });
        HostBatch {
            shape: [range.len(), self.shape[1], self.shape[2], self.shape[3]],
            images: self.images[pixels.clone()].to_vec(),
            noise: self.noise[pixels.clone()].to_vec(),
            target: (self.target.as_ref()).map(|target| target[pixels].to_vec()),
            steps: self.steps[range.clone()].to_vec(),
            labels: self.labels[range].to_vec(),
            gate_noise,
        }
    }

    /// Images, noise and steps on a device.
    pub fn noised(&self, device: &Device) -> NoisedBatch {
        let tensor = |values: &[f32]| {
            Tensor::from_data(TensorData::new(values.to_vec(), self.shape), device)
        };
        NoisedBatch {
            x_start: tensor(&self.images),
            noise: tensor(&self.noise),
            steps: self.steps.clone(),
            target: self.target.as_deref().map(tensor),
        }
    }

    /// The gate's noise on a device.
    pub fn gate_noise(&self, device: &Device) -> Option<GateNoise> {
        let (values, shape) = self.gate_noise.as_ref()?;
        Some(GateNoise(Tensor::from_data(
            TensorData::new(values.clone(), *shape),
            device,
        )))
    }
}

impl DrawPlan {
    /// Refuses more images to average over than memory holds.
    ///
    /// # Errors
    /// With what is needed and what is there.
    pub fn ensure_memory(&self, data: &Dataset) -> Result<()> {
        let Some(targets) = &self.targets else {
            return Ok(());
        };
        let bytes = targets.memory(data, self.flip);
        ensure_fits("--stable-targets", bytes, "give a smaller number of images")
    }

    /// The batch of one step.
    fn draw(
        &self,
        data: &Dataset,
        population: Option<&Population>,
        order: &mut BatchIndices,
        step: u64,
    ) -> HostBatch {
        let picked = order.step(step);
        let size = data.shape().len();
        let count = picked.indices.len();
        let flips = if self.flip {
            picked.flips(self.seed)
        } else {
            vec![false; count]
        };
        let mut images = vec![0.0; count * size];
        let stream_of = |place| {
            stream(
                self.seed,
                Purpose::Latent,
                picked.draws.start + place as u64,
            )
        };
        data.fill_batch(&picked.indices, &flips, stream_of, &mut images);
        let mut noise = vec![0.0; count * size];
        let (mut steps, mut labels) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for ((draw, &index), noise) in picked
            .draws
            .clone()
            .zip(&picked.indices)
            .zip(noise.chunks_mut(size))
        {
            stream(self.seed, Purpose::Noise, draw).fill_normal(noise);
            let mut time = stream(self.seed, Purpose::Time, draw);
            steps.push(self.timesteps.draw(&mut time));
            labels.push(self.label(data.labels()[index] as usize, draw));
        }
        let gate_noise = self.gate.map(|(blocks, prompts)| {
            let mut values = vec![0.0; blocks * count * prompts];
            let mut one = vec![0.0; blocks * prompts];
            for (image, draw) in picked.draws.clone().enumerate() {
                stream(self.seed, Purpose::GateNoise, draw).fill_normal(&mut one);
                for (block, row) in one.chunks(prompts).enumerate() {
                    values[(block * count + image) * prompts..][..prompts].copy_from_slice(row);
                }
            }
            (values, [blocks, count, prompts])
        });
        let target = self
            .targets
            .as_ref()
            .zip(population)
            .map(|(targets, population)| {
                let drawn: Vec<Drawn<'_>> = (0..count)
                    .map(|place| Drawn {
                        draw: picked.draws.start + place as u64,
                        index: picked.indices[place],
                        flip: flips[place],
                        label: labels[place],
                        step: steps[place],
                        image: &images[place * size..][..size],
                        noise: &noise[place * size..][..size],
                    })
                    .collect();
                targets.expected(data, population, &drawn, self.seed)
            });
        let shape = data.shape();
        HostBatch {
            shape: [count, shape.channels, shape.height, shape.width],
            images,
            noise,
            target,
            steps,
            labels,
            gate_noise,
        }
    }

    fn label(&self, label: usize, draw: u64) -> usize {
        if !self.labelled {
            return 0;
        }
        let Some((probability, null)) = self.label_dropout else {
            return label;
        };
        let mut uniform = [0.0];
        stream(self.seed, Purpose::LabelDrop, draw).fill_uniform(&mut uniform);
        if f64::from(uniform[0]) < probability {
            null
        } else {
            label
        }
    }
}

/// Batches in order, drawn ahead.
pub struct Prefetch {
    batches: Receiver<HostBatch>,
}

impl Prefetch {
    /// Draws the batches of `steps` ahead of their use.
    pub fn start(plan: DrawPlan, data: Dataset, steps: Range<u64>) -> Result<Self, DataError> {
        let mut order = BatchIndices::new(data.len(), plan.batch, plan.seed)?;
        let (sender, batches) = sync_channel(2);
        std::thread::spawn(move || {
            let population = plan.targets.is_some();
            let population = population.then(|| Population::of(&data, plan.labelled, plan.flip));
            for step in steps {
                // The receiver is gone when training has stopped.
                if sender
                    .send(plan.draw(&data, population.as_ref(), &mut order, step))
                    .is_err()
                {
                    return;
                }
            }
        });
        Ok(Self { batches })
    }
}

impl Iterator for Prefetch {
    type Item = HostBatch;

    fn next(&mut self) -> Option<HostBatch> {
        self.batches.recv().ok()
    }
}

#[cfg(test)]
mod tests;
