//! The denoising loss of a model by noise level, bare and patched on the same images, noise and timesteps: the
//! difference is known far better than either, and tells at which noise levels a patch helps.

use anyhow::{Result, ensure};
use burn::tensor::{Device, Tensor, TensorData};
use dmp_math::Estimate;
use dmp_math::diffusion::Diffusion;
use dmp_math::seed::{Purpose, stream};
use dmp_model::denoiser::Denoiser;
use dmp_model::host;
use dmp_model::loss::NoisedBatch;
use serde::Serialize;

use crate::DIFFUSION_STEPS;
use crate::data::Dataset;
use crate::models::Model;
use crate::run::{Interrupt, Interrupted, Workers, progress_bar};

/// Images a worker noises at a time.
const BATCH: usize = 64;

/// What is noised, and how.
#[derive(Debug, Clone, Copy)]
pub struct LossRequest {
    /// Images noised; where the data has fewer, it is gone through again.
    pub count: usize,
    /// Bands of timesteps, as wide as each other; each gets as many images.
    pub bands: usize,
    /// Seed of the order of images, of timesteps and of noise.
    pub seed: u64,
}

/// A mean, and how well it is known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SampleMean {
    /// The mean.
    pub mean: f64,
    /// Its standard error.
    pub standard_error: f64,
}

/// Mean squared error of the predicted noise over some timesteps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LossBand {
    /// First timestep of the band, and the one after its last.
    pub timesteps: [usize; 2],
    /// Of the bare model.
    pub base: SampleMean,
    /// Of the patched model, if there is one.
    pub patched: Option<SampleMean>,
    /// Patched minus bare, image by image.
    pub change: Option<SampleMean>,
}

/// The bands, and all timesteps together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LossProfile {
    /// From the cleanest timesteps to the noisiest.
    pub bands: Vec<LossBand>,
    /// Over all timesteps, each as likely as another, as in training.
    pub all: LossBand,
}

/// Mean squared errors of one noised image.
#[derive(Debug, Clone, Copy)]
struct Errors {
    base: f64,
    patched: Option<f64>,
}

/// Noises images of `data` and asks both models for the noise.
///
/// # Errors
/// When there are fewer than two images a band, more bands than timesteps, predictions that are no finite numbers, or Ctrl-C.
pub fn loss_profile(
    base: &Model,
    patched: Option<&Model>,
    data: &Dataset,
    request: LossRequest,
    device: &Device,
) -> Result<LossProfile> {
    let LossRequest { count, bands, .. } = request;
    ensure!(
        (1..=DIFFUSION_STEPS).contains(&bands),
        "--bands is {bands}; give a number from 1 to {DIFFUSION_STEPS}, the timesteps"
    );
    ensure!(
        count >= 2 * bands,
        "--count {count} is too few for {bands} bands; give at least {}",
        2 * bands
    );
    let draws = Draws::new(base, data, request);
    let workers = Workers::on(device)?;
    let interrupt = Interrupt::listen();
    let bar = progress_bar(count as u64, 0, "images").with_prefix("noising");
    let mut errors: Vec<Errors> = Vec::new();
    while errors.len() < count {
        if interrupt.asked() {
            return Err(Interrupted("stopped before the figures were there".to_owned()).into());
        }
        let batch = BATCH.min((count - errors.len()).div_ceil(workers.count()));
        let work: Vec<_> = (0..workers.count())
            .map(|worker| errors.len() + worker * batch)
            .filter(|&first| first < count)
            .map(|first| {
                (
                    base.clone(),
                    patched.cloned(),
                    first..count.min(first + batch),
                )
            })
            .collect();
        let done = workers.map(work, |(base, patched, images)| {
            draws.errors(&base, patched.as_ref(), images, device)
        });
        errors.extend(done.into_iter().flatten());
        let finite =
            |errors: &Errors| errors.base.is_finite() && errors.patched.is_none_or(f64::is_finite);
        ensure!(
            errors.iter().all(finite),
            "the model's predictions hold values that are no finite numbers; use less --patch-scale, or another model or patch"
        );
        bar.set_position(errors.len() as u64);
    }
    bar.finish_and_clear();
    Ok(profile(&errors, bands))
}

/// What each image drawn is, in which noise, and which timestep.
struct Draws<'a> {
    data: &'a Dataset,
    order: Vec<usize>,
    request: LossRequest,
    diffusion: Diffusion,
    labelled: bool,
}

impl<'a> Draws<'a> {
    fn new(model: &Model, data: &'a Dataset, request: LossRequest) -> Self {
        let mut order: Vec<usize> = (0..data.len()).collect();
        stream(request.seed, Purpose::Data, 0).shuffle(&mut order);
        Self {
            data,
            order,
            request,
            diffusion: Diffusion::new(model.schedule, DIFFUSION_STEPS),
            labelled: model.num_classes > 1,
        }
    }

    fn errors(
        &self,
        base: &Model,
        patched: Option<&Model>,
        images: std::ops::Range<usize>,
        device: &Device,
    ) -> Vec<Errors> {
        let shape = self.data.shape();
        let size = shape.len();
        let seed = self.request.seed;
        let indices: Vec<usize> = images
            .clone()
            .map(|image| self.order[image % self.order.len()])
            .collect();
        let mut pixels = vec![0.0; indices.len() * size];
        let flips = vec![false; indices.len()];
        let first = images.start;
        let stream_of = |place| stream(seed, Purpose::Latent, (first + place) as u64);
        self.data
            .fill_batch(&indices, &flips, stream_of, &mut pixels);
        let mut noise = vec![0.0; pixels.len()];
        for (image, noise) in images.clone().zip(noise.chunks_exact_mut(size)) {
            stream(seed, Purpose::Noise, image as u64).fill_normal(noise);
        }
        let steps = images
            .map(|image| {
                let [first, end] = timesteps(image % self.request.bands, self.request.bands);
                let width = (end - first) as u64;
                first + stream(seed, Purpose::Time, image as u64).below(width) as usize
            })
            .collect();
        let labels: Vec<usize> = indices
            .iter()
            .map(|&index| match self.labelled {
                true => self.data.labels()[index] as usize,
                false => 0,
            })
            .collect();
        let dims = [indices.len(), shape.channels, shape.height, shape.width];
        let tensor = |values| Tensor::from_data(TensorData::new(values, dims), device);
        let batch = NoisedBatch {
            x_start: tensor(pixels),
            noise: tensor(noise),
            steps,
            target: None,
        };
        let of = |model: &Model| {
            let output = model.predict(batch.noised(&self.diffusion), &batch.steps, &labels);
            host::values(batch.loss(&self.diffusion, output).mse)
        };
        let (base, patched) = (of(base), patched.map(of));
        let errors = base.iter().enumerate().map(|(image, &base)| Errors {
            base: f64::from(base),
            patched: patched.as_ref().map(|errors| f64::from(errors[image])),
        });
        errors.collect()
    }
}

/// The timesteps of a band: its first, and the one after its last.
fn timesteps(band: usize, bands: usize) -> [usize; 2] {
    [band, band + 1].map(|edge| edge * DIFFUSION_STEPS / bands)
}

fn profile(errors: &[Errors], bands: usize) -> LossProfile {
    let of_band = |band: usize| {
        let images = || errors.iter().skip(band).step_by(bands);
        LossBand {
            timesteps: timesteps(band, bands),
            base: SampleMean::of(images().map(|errors| errors.base).collect()),
            patched: images()
                .map(|errors| errors.patched)
                .collect::<Option<_>>()
                .map(SampleMean::of),
            change: images()
                .map(|errors| Some(errors.patched? - errors.base))
                .collect::<Option<_>>()
                .map(SampleMean::of),
        }
    };
    let bands: Vec<LossBand> = (0..bands).map(of_band).collect();
    let over = |value: fn(&LossBand) -> Option<SampleMean>| -> Option<SampleMean> {
        let parts: Option<Vec<_>> = bands
            .iter()
            .map(|band| Some((band.share(), value(band)?)))
            .collect();
        parts.map(|parts| SampleMean::over_strata(&parts))
    };
    let base: Vec<_> = bands.iter().map(|band| (band.share(), band.base)).collect();
    let all = LossBand {
        timesteps: [0, DIFFUSION_STEPS],
        base: SampleMean::over_strata(&base),
        patched: over(|band| band.patched),
        change: over(|band| band.change),
    };
    LossProfile { bands, all }
}

impl LossBand {
    /// Share of all timesteps.
    fn share(&self) -> f64 {
        let [first, end] = self.timesteps;
        (end - first) as f64 / DIFFUSION_STEPS as f64
    }
}

impl SampleMean {
    /// Of values drawn independently, two or more.
    fn of(values: Vec<f64>) -> Self {
        let Estimate { mean, std } = Estimate::of(&values);
        Self {
            mean,
            standard_error: std / (values.len() as f64 - 1.0).sqrt(),
        }
    }

    /// Over strata that are sampled each on its own, of these shares of the whole.
    fn over_strata(strata: &[(f64, Self)]) -> Self {
        Self {
            mean: strata.iter().map(|(share, of)| share * of.mean).sum(),
            standard_error: strata.iter().fold(0.0, |sum: f64, (share, of)| {
                sum.hypot(share * of.standard_error)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_share_all_timesteps() {
        for bands in [1, 3, 10, 1000] {
            let edges: Vec<_> = (0..bands).map(|band| timesteps(band, bands)).collect();
            assert_eq!((edges[0][0], edges[bands - 1][1]), (0, DIFFUSION_STEPS));
            assert!(edges.windows(2).all(|pair| pair[0][1] == pair[1][0]));
            assert!(edges.iter().all(|[first, end]| first < end));
        }
    }

    #[test]
    fn a_difference_is_known_better_than_what_differs() {
        let errors: Vec<_> = (0..8)
            .map(|image| {
                let base = f64::from(image * image);
                let patched = Some(base - 0.5);
                Errors { base, patched }
            })
            .collect();
        let LossProfile { bands, all } = profile(&errors, 2);
        // Images 0, 2, 4, 6 and 1, 3, 5, 7.
        assert_eq!((bands[0].base.mean, bands[1].base.mean), (14.0, 21.0));
        assert_eq!(all.base.mean, 17.5);
        let expected =
            (bands[0].base.standard_error.powi(2) + bands[1].base.standard_error.powi(2)).sqrt()
                / 2.0;
        assert!((all.base.standard_error - expected).abs() < 1e-12);
        let change = all.change.unwrap();
        assert!((change.mean + 0.5).abs() < 1e-12 && change.standard_error < 1e-12);
        // (0 - 14)² + (4 - 14)² + (16 - 14)² + (36 - 14)² = 784, over 3 and over 4.
        assert!((bands[0].base.standard_error - (784.0_f64 / 12.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn without_a_patch_there_is_nothing_to_compare() {
        let errors = [1.0, 2.0].map(|base| Errors {
            base,
            patched: None,
        });
        let LossProfile { bands, all } = profile(&errors, 1);
        assert_eq!((bands[0].patched, all.change), (None, None));
    }
}
