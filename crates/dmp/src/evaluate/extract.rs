//! Inception's features of many images.

use anyhow::Result;
use burn::tensor::{Device, Tensor, TensorData};
use dmp_model::checkpoint::{HostTensor, Tensors};
use dmp_model::features::inception::SIDE;
use dmp_model::features::{Inception, Preprocess};
use dmp_model::fused;
use dmp_model::host;

use super::pictures::Pictures;
use crate::data::Picture;
use crate::memory;
use crate::run::{Interrupt, Interrupted, Workers, progress_bar};

/// Most images a worker takes at a time. On the CPU fewer would have the weights come from memory more often, more the images' own
/// values; other devices compute more of them side by side.
fn most(device: &Device) -> usize {
    if fused::available(device) { 4 } else { 8 }
}

/// Memory that an image takes while its features are computed, at the most.
const IMAGE_BYTES: u64 = 32 << 20;

/// Images each of `workers` takes at a time: half of the memory that is free is enough for all. What comes of an image does not
/// depend on it.
fn batch(most: usize, workers: usize, free: Option<u64>) -> usize {
    let fits = free.map_or(u64::MAX, |bytes| bytes / 2 / IMAGE_BYTES) / workers as u64;
    usize::try_from(fits).unwrap_or(most).clamp(1, most)
}

/// Features of images, a row each, in the images' order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Extracted {
    /// Images.
    pub count: usize,
    /// Pooled features `[count, 2048]`.
    pub pool: Vec<f32>,
    /// Spatial features `[count, 2023]`.
    pub spatial: Vec<f32>,
    /// Class scores without the classifier's bias `[count, 1008]`; empty when the weights have no classifier.
    pub logits: Vec<f32>,
    /// The same with the bias.
    pub logits_with_bias: Vec<f32>,
}

impl Extracted {
    /// As named tensors `[count, width]`; what is empty is left out.
    pub fn tensors(&self) -> Tensors {
        let parts = [
            ("pool", &self.pool),
            ("spatial", &self.spatial),
            ("logits", &self.logits),
            ("logits_with_bias", &self.logits_with_bias),
        ];
        let given = parts.into_iter().filter(|(_, values)| !values.is_empty());
        let named = given.map(|(name, values)| {
            let shape = vec![self.count, values.len() / self.count];
            let values = values.clone();
            (name.to_owned(), HostTensor { shape, values })
        });
        named.collect()
    }

    /// What [`Self::tensors`] was made of, if it is whole.
    pub fn from_tensors(mut tensors: Tensors) -> Option<Self> {
        let count = *tensors.get("pool")?.shape.first()?;
        let mut take = |name: &str| tensors.remove(name).map(|tensor| tensor.values);
        Some(Self {
            count,
            pool: take("pool")?,
            spatial: take("spatial")?,
            logits: take("logits").unwrap_or_default(),
            logits_with_bias: take("logits_with_bias").unwrap_or_default(),
        })
    }

    /// Whether every part is of all images, and the pooled features as wide as Inception's.
    pub fn is_whole(&self) -> bool {
        let parts = [&self.spatial, &self.logits, &self.logits_with_bias];
        self.count > 0
            && self.pool.len() == self.count * Inception::FEATURES
            && parts
                .iter()
                .all(|part| part.len().is_multiple_of(self.count))
    }

    fn append(&mut self, other: Self) {
        self.count += other.count;
        self.pool.extend(other.pool);
        self.spatial.extend(other.spatial);
        self.logits.extend(other.logits);
        self.logits_with_bias.extend(other.logits_with_bias);
    }
}

/// What features are taken with.
pub struct Extractor<'a> {
    /// The network.
    pub network: &'a Inception,
    /// How images become its input.
    pub preprocess: Preprocess,
    /// Where it computes.
    pub device: &'a Device,
}

impl Extractor<'_> {
    /// Features of all `pictures`; `name` stands before the progress bar.
    pub fn all(&self, pictures: Pictures<'_>, name: &'static str) -> Result<Extracted> {
        // Images are resized on the CPU, whatever the network computes on.
        let (resizing, computing) = (Workers::of_cpu()?, Workers::on(self.device)?);
        let interrupt = Interrupt::listen();
        let bar = progress_bar(pictures.count as u64, 0, "images").with_prefix(name);
        let batch = batch(most(self.device), resizing.count(), memory::available());
        let mut all = Extracted::default();
        let stopped = match pictures.kept() {
            Some(folder) => format!(
                "stopped; the images drawn so far are in {}, and the same command goes on from there",
                folder.display()
            ),
            None => "stopped; nothing was written".to_owned(),
        };
        let mut pictures = pictures.peekable();
        while pictures.peek().is_some() {
            let mut batches = Vec::with_capacity(resizing.count());
            for _ in 0..resizing.count() {
                let taken = pictures.by_ref().take(batch).collect::<Result<Vec<_>>>()?;
                if !taken.is_empty() {
                    batches.push(taken);
                }
            }
            let inputs = resizing.map(batches, |batch| self.input(&batch));
            let inputs = inputs
                .into_iter()
                .map(|input| (self.network.clone(), input));
            let parts = computing.map(inputs.collect(), |(network, input)| {
                self.features(&network, input)
            });
            for part in parts {
                bar.inc(part.count as u64);
                all.append(part);
            }
            if interrupt.asked() {
                return Err(Interrupted(stopped).into());
            }
        }
        bar.finish_and_clear();
        Ok(all)
    }

    /// What the network takes for some pictures, `[count, 3, SIDE, SIDE]`.
    fn input(&self, pictures: &[Picture]) -> TensorData {
        let mut values = Vec::with_capacity(pictures.len() * 3 * SIDE * SIDE);
        for picture in pictures {
            let plane = picture.size[0] * picture.size[1];
            for channel in 0..3 {
                // Grey is the same in red, green and blue.
                let channel = channel % picture.channels;
                let pixels = &picture.planes[channel * plane..(channel + 1) * plane];
                values.extend(self.preprocess.channel(pixels, picture.size, SIDE));
            }
        }
        TensorData::new(values, [pictures.len(), 3, SIDE, SIDE])
    }

    fn features(&self, network: &Inception, input: TensorData) -> Extracted {
        let count = input.shape()[0];
        let output = network.forward(Tensor::from_data(input, self.device));
        let logits = |bias| {
            network
                .logits(output.pool.clone(), bias)
                .map(host::values)
                .unwrap_or_default()
        };
        Extracted {
            count,
            logits: logits(false),
            logits_with_bias: logits(true),
            pool: host::values(output.pool.clone()),
            spatial: host::values(output.spatial),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_as_large_as_memory_allows() {
        assert_eq!(batch(8, 2, None), 8);
        assert_eq!(batch(4, 2, Some(24 << 30)), 4);
        assert_eq!(batch(8, 64, Some(16 << 30)), 4);
        assert_eq!(batch(4, 64, Some(1 << 20)), 1);
    }
}
