//! Scoring images with the embedded Fashion-MNIST network: a Fréchet distance between features (never
//! called FID, which is Inception's), and how often the classifier sees the class that was asked for.

use anyhow::Result;
use burn::tensor::{Device, Tensor, TensorData};
use dmp_math::frechet::{frechet_distance, frechet_distance_of_means};
use dmp_math::moments::{Gaussian, Moments};
use dmp_math::resample::{Filter, resize_bytes};
use dmp_model::denoiser::ImageLayout;
use dmp_model::features::FashionCnn;
use dmp_model::host;
use serde::{Deserialize, Serialize};

use crate::data::{Split, demo, to_unit};
use crate::run::progress_bar;
use crate::sampling::{Drawing, SampledBatch, next_batch};

/// What is measured, in one line.
pub const METRIC: &str = "Fréchet distance (Fashion-MNIST CNN)";

/// How good images are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// [`METRIC`] to the reference statistics; lower is better.
    pub frechet: f64,
    /// The part of it that the means make; absent from what was measured before this was written.
    #[serde(default)]
    pub frechet_of_means: Option<f64>,
    /// Share of images whose class the network recognises, from 0 to 1.
    pub accuracy: f64,
    /// Images scored.
    pub count: usize,
    /// Images that they were held against.
    #[serde(default)]
    pub reference_count: Option<usize>,
}

/// Scores what is drawn against a split's statistics, which are of the classes that are drawn; `each` sees every batch, and `name`
/// stands before the progress bar.
pub fn score(
    mut drawing: Drawing<'_>,
    split: Split,
    name: &'static str,
    device: &Device,
    mut each: impl FnMut(&SampledBatch),
) -> Result<Score> {
    let args = drawing.args();
    let reference = demo::statistics(split, args.class.as_ref())?;
    let mut scorer = Scorer::new(drawing.layout(), device)?;
    let bar = progress_bar(args.count as u64, 0, "images").with_prefix(name);
    while let Some(batch) = next_batch(&mut drawing, &bar)? {
        scorer.push(&batch)?;
        each(&batch);
    }
    bar.finish_and_clear();
    scorer.finish(&reference)
}

/// Gathers features of images as they come.
struct Scorer {
    network: FashionCnn,
    moments: Moments,
    recognised: usize,
    images: ImageLayout,
    device: Device,
}

impl Scorer {
    /// With the embedded network, on `device`, for images of this layout.
    fn new(images: ImageLayout, device: &Device) -> Result<Self> {
        anyhow::ensure!(
            images.channels == 1,
            "the {METRIC} is of grey images; this model makes others"
        );
        Ok(Self {
            images,
            network: demo::features(device)?,
            moments: Moments::new(FashionCnn::FEATURES),
            recognised: 0,
            device: device.clone(),
        })
    }

    /// Adds a batch of grey images; those of another size than 28×28 are resized.
    fn push(&mut self, batch: &SampledBatch) -> Result<()> {
        let (size, side) = (
            [self.images.height, self.images.width],
            [demo::SHAPE.height, demo::SHAPE.width],
        );
        let shape = [batch.labels.len(), 1, side[0], side[1]];
        let images = batch.pixels.chunks(self.images.len());
        let values: Vec<f32> = if size == side {
            batch.pixels.iter().map(|&pixel| to_unit(pixel)).collect()
        } else {
            images
                .flat_map(|image| resize_bytes(image, size, side, Filter::Bicubic))
                .map(to_unit)
                .collect()
        };
        let output = self.network.forward(Tensor::from_data(
            TensorData::new(values, shape),
            &self.device,
        ));
        let features = host::values(output.features);
        self.moments.push_rows(&features);
        let logits = host::values(output.logits);
        for (row, &label) in logits.chunks(FashionCnn::CLASSES).zip(&batch.labels) {
            let best = row
                .iter()
                .enumerate()
                .max_by(|a, b| a.1.total_cmp(b.1))
                .map(|(class, _)| class);
            self.recognised += usize::from(best == Some(label));
        }
        Ok(())
    }

    /// The score against reference statistics.
    fn finish(&self, reference: &Gaussian) -> Result<Score> {
        let features = self.moments.finish()?;
        Ok(Score {
            frechet: frechet_distance(&features, reference)?,
            frechet_of_means: Some(frechet_distance_of_means(&features, reference)?),
            accuracy: self.recognised as f64 / features.count.max(1) as f64,
            count: features.count,
            reference_count: Some(reference.count),
        })
    }
}
