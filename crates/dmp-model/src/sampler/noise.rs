//! Where a sampler's randomness comes from: one stream an image.

use burn::tensor::{Device, Tensor, TensorData};
use dmp_math::seed::{Purpose, Stream, stream};

use crate::denoiser::ImageLayout;

/// Gives the noise of a batch: first the starting point, then once for each step.
pub trait NoiseSource {
    /// The next N(0, 1) noise, `[B, C, H, W]`.
    fn next(&mut self) -> Tensor<4>;
}

/// Noise that depends on the seed and on each image's index, and on nothing else: never on the batch size.
pub struct ImageNoise {
    streams: Vec<Stream>,
    layout: ImageLayout,
    device: Device,
}

impl ImageNoise {
    /// Streams of the images with these indices.
    pub fn new(
        seed: u64,
        indices: impl IntoIterator<Item = u64>,
        layout: ImageLayout,
        device: &Device,
    ) -> Self {
        let streams = indices
            .into_iter()
            .map(|index| stream(seed, Purpose::Sample, index))
            .collect();
        Self {
            streams,
            layout,
            device: device.clone(),
        }
    }
}

impl NoiseSource for ImageNoise {
    fn next(&mut self) -> Tensor<4> {
        let ImageLayout {
            channels,
            height,
            width,
        } = self.layout;
        let mut values = vec![0.0; self.streams.len() * self.layout.len()];
        for (stream, image) in self
            .streams
            .iter_mut()
            .zip(values.chunks_mut(self.layout.len().max(1)))
        {
            stream.fill_normal(image);
        }
        Tensor::from_data(
            TensorData::new(values, [self.streams.len(), channels, height, width]),
            &self.device,
        )
    }
}
