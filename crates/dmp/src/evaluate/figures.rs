//! FID and its kin, from features.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use dmp_math::features::Features as Rows;
use dmp_math::frechet::{frechet_distance, frechet_distance_of_means};
use dmp_math::kernel_distance::{KernelSettings, kernel_distance};
use dmp_math::manifold::manifold;
use dmp_math::moments::{Gaussian, Moments};
use dmp_math::reference_random::RandomState;
use dmp_math::seed::{Purpose, stream};
use dmp_math::{Estimate, inception_score};
use dmp_model::features::Inception;
use serde::Serialize;

use super::side::{Features, Side};
use crate::run::{Interrupt, Interrupted, progress_bar};

/// A group of figures that are computed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Fréchet distance of pooled features.
    Fid,
    /// Fréchet distance of spatial features.
    Sfid,
    /// Inception score.
    InceptionScore,
    /// Kernel distance.
    Kid,
    /// Precision, recall, density, coverage.
    Manifold,
}

impl Metric {
    /// Every group, in the order in which they are printed.
    pub const ALL: [Self; 5] = [
        Self::Fid,
        Self::Sfid,
        Self::InceptionScore,
        Self::Kid,
        Self::Manifold,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fid => "fid",
            Self::Sfid => "sfid",
            Self::InceptionScore => "is",
            Self::Kid => "kid",
            Self::Manifold => "prdc",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|metric| metric.name() == name)
            .ok_or_else(|| format!("unknown metric '{name}'; use fid, sfid, is, kid or prdc"))
    }
}

/// What is computed, and how.
#[derive(Debug, Clone, Serialize)]
pub struct Request {
    /// Groups of figures that must be computed; of the others those that can be when this is empty.
    #[serde(skip)]
    pub metrics: Vec<Metric>,
    /// Random subsets of the kernel distance.
    pub kid_subsets: usize,
    /// Rows of such a subset.
    pub kid_subset_size: usize,
    /// Neighbours that the balls of precision and recall reach to.
    pub neighbours: usize,
    /// Parts of the Inception score.
    pub splits: usize,
    /// Resamples for confidence intervals; 0 for none.
    pub bootstrap: usize,
    /// Seed of subsets and shuffles, as numpy's `RandomState` takes it.
    pub seed: u32,
}

/// The figures; what was not computed is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Fréchet distance of the pooled features (FID).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fid: Option<f64>,
    /// The part of it that the means make; the covariances make the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fid_of_means: Option<f64>,
    /// Its 95 % interval at this number of images: the spread over resamples of the samples' images, about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fid_interval: Option<[f64; 2]>,
    /// Fréchet distance of the spatial features (sFID).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sfid: Option<f64>,
    /// Inception score, of scores without the classifier's bias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inception_score: Option<f64>,
    /// Its standard deviation over parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inception_score_std: Option<f64>,
    /// Inception score of scores with the bias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inception_score_with_bias: Option<f64>,
    /// Kernel distance (KID).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<f64>,
    /// Its standard deviation over subsets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid_std: Option<f64>,
    /// Share of samples within the reference's manifold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    /// Share of the reference within the samples' manifold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recall: Option<f64>,
    /// Reference balls a sample is in, over their number of neighbours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub density: Option<f64>,
    /// Share of reference balls with a sample in them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<f64>,
}

/// Computes what is asked for. Both sides have had their features taken.
pub fn figures(samples: &Side<'_>, reference: &Side<'_>, request: &Request) -> Result<Figures> {
    let mut figures = Figures::default();
    let wanted: Vec<Metric> = if request.metrics.is_empty() {
        Metric::ALL.to_vec()
    } else {
        request.metrics.clone()
    };
    let interrupt = Interrupt::listen();
    for metric in wanted {
        if interrupt.asked() {
            return Err(stopped());
        }
        match compute(metric, samples, reference, request, &mut figures) {
            Ok(()) => {}
            // Not asked for by name: what cannot be had is left out, and said. A distance always can be.
            Err(error) if request.metrics.is_empty() && metric != Metric::Fid => {
                crate::tell!("note: no {metric}: {error:#}");
            }
            Err(error) => return Err(error.context(format!("--metrics {metric}"))),
        }
    }
    Ok(figures)
}

fn compute(
    metric: Metric,
    samples: &Side<'_>,
    reference: &Side<'_>,
    request: &Request,
    figures: &mut Figures,
) -> Result<()> {
    match metric {
        Metric::Fid => {
            let (drawn, target) = (pooled(samples)?, pooled(reference)?);
            let distance = frechet_distance(&drawn, &target)?;
            figures.fid = Some(distance);
            figures.fid_of_means = Some(frechet_distance_of_means(&drawn, &target)?);
            if request.bootstrap > 0 {
                let (rows, dim) = rows(samples)?;
                figures.fid_interval = Some(interval(rows, dim, &target, distance, request)?);
            }
        }
        Metric::Sfid => {
            let spatial = |side| {
                spatial(side)?.context(
                    "sFID needs the spatial features of images, or statistics with 'mu_s' and 'sigma_s', on both sides",
                )
            };
            figures.sfid = Some(frechet_distance(&spatial(samples)?, &spatial(reference)?)?);
        }
        Metric::InceptionScore => {
            let Side::Inception(extracted) = samples else {
                bail!("the Inception score needs the samples' images");
            };
            if extracted.logits.is_empty() {
                bail!(
                    "these weights have no classifier, which the Inception score needs; give torch-fidelity's or pytorch-fid's"
                );
            }
            let score = |logits: &[f32]| -> Result<Estimate> {
                let dim = logits.len() / extracted.count.max(1);
                let order = RandomState::new(request.seed).permutation(extracted.count);
                let shuffled: Vec<f32> = order
                    .iter()
                    .flat_map(|&row| &logits[row * dim..(row + 1) * dim])
                    .copied()
                    .collect();
                Ok(inception_score(Rows::new(&shuffled, dim)?, request.splits)?)
            };
            let plain = score(&extracted.logits)?;
            figures.inception_score = Some(plain.mean);
            figures.inception_score_std = Some(plain.std);
            figures.inception_score_with_bias = Some(score(&extracted.logits_with_bias)?.mean);
        }
        Metric::Kid => {
            let ((a, dim), (b, other)) = (rows(samples)?, rows(reference)?);
            let settings = KernelSettings {
                subsets: request.kid_subsets,
                subset_size: request.kid_subset_size,
                seed: request.seed,
            };
            let kid = kernel_distance(Rows::new(a, dim)?, Rows::new(b, other)?, settings)?;
            figures.kid = Some(kid.mean);
            figures.kid_std = Some(kid.std);
        }
        Metric::Manifold => {
            let ((a, dim), (b, other)) = (rows(samples)?, rows(reference)?);
            let found = manifold(Rows::new(a, dim)?, Rows::new(b, other)?, request.neighbours)?;
            figures.precision = Some(found.precision);
            figures.recall = Some(found.recall);
            figures.density = Some(found.density);
            figures.coverage = Some(found.coverage);
        }
    }
    Ok(())
}

/// Rows of features, `[count, dim]`, and dim.
fn rows<'a>(side: &'a Side<'_>) -> Result<(&'a [f32], usize)> {
    match side {
        Side::Inception(extracted) => Ok((&extracted.pool, Inception::FEATURES)),
        Side::Features(Features { values, dim }) => Ok((values, *dim)),
        Side::Statistics(_) => {
            bail!("statistics hold no single images; give images or features on both sides")
        }
        Side::Images(_) => bail!("the images' features have not been taken"),
    }
}

/// Mean and covariance of the pooled features, or of those that were given.
pub fn pooled(side: &Side<'_>) -> Result<Gaussian> {
    if let Side::Statistics(statistics) = side {
        return Ok(statistics.pool.clone());
    }
    let (rows, dim) = rows(side)?;
    gaussian(rows, dim)
}

/// Mean and covariance of the spatial features; `None` where there are none.
pub fn spatial(side: &Side<'_>) -> Result<Option<Gaussian>> {
    match side {
        Side::Statistics(statistics) => Ok(statistics.spatial.clone()),
        Side::Inception(extracted) => {
            let dim = extracted.spatial.len() / extracted.count.max(1);
            gaussian(&extracted.spatial, dim).map(Some)
        }
        Side::Features(_) | Side::Images(_) => Ok(None),
    }
}

fn gaussian(rows: &[f32], dim: usize) -> Result<Gaussian> {
    let mut moments = Moments::new(dim);
    moments.push_rows(rows);
    Ok(moments.finish()?)
}

fn stopped() -> anyhow::Error {
    Interrupted("stopped before the figures were done".to_owned()).into()
}

/// The middle 95 % of the distance over resamples of the rows, drawn with replacement, about the distance itself: rows that
/// are there twice make every resample's distance larger by about the same, which says nothing of its spread.
fn interval(
    rows: &[f32],
    dim: usize,
    target: &Gaussian,
    distance: f64,
    request: &Request,
) -> Result<[f64; 2]> {
    let count = rows.len() / dim;
    let bar = progress_bar(request.bootstrap as u64, 0, "resamples").with_prefix("FID");
    let interrupt = Interrupt::listen();
    let mut distances = Vec::with_capacity(request.bootstrap);
    for draw in 0..request.bootstrap {
        let mut random = stream(u64::from(request.seed), Purpose::Subset, draw as u64);
        let resampled: Vec<f32> = (0..count)
            .flat_map(|_| {
                let row = random.below(count as u64) as usize;
                &rows[row * dim..(row + 1) * dim]
            })
            .copied()
            .collect();
        distances.push(frechet_distance(&gaussian(&resampled, dim)?, target)?);
        bar.inc(1);
        if interrupt.asked() {
            return Err(stopped());
        }
    }
    bar.finish_and_clear();
    distances.sort_by(f64::total_cmp);
    let shift = distance - distances.iter().sum::<f64>() / distances.len() as f64;
    let at = |share: f64| distances[((distances.len() - 1) as f64 * share).round() as usize];
    Ok([0.025, 0.975].map(|share| (at(share) + shift).max(0.0)))
}
