//! Targets with less noise: the noise that was put on an image is one of many that could have made the noisy image, and the
//! prediction is held against their mean (Xu et al., arXiv 2302.00670).
//!
//! The mean is over a set of images that the drawn one is in, of the label that the network is told. Every member is as
//! likely to have been the drawn one, so that the mean is the expectation of the noise given the noisy image and the set, and the
//! gradient's expectation stays what it was.

use std::collections::BTreeSet;

use dmp_math::diffusion::Diffusion;
use dmp_math::seed::{Purpose, Stream, stream};
use dmp_model::train::{Noised, expected_noise};

use crate::data::Dataset;

/// How targets are made.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetPlan {
    /// Images that the noise is averaged over.
    images: usize,
    /// √(ᾱ/(1−ᾱ)) of each step.
    ratios: Vec<f32>,
}

/// An image of a batch, with all that was drawn for it.
pub(super) struct Drawn<'a> {
    pub draw: u64,
    pub index: usize,
    pub flip: bool,
    pub label: usize,
    pub step: usize,
    pub image: &'a [f32],
    pub noise: &'a [f32],
}

/// The images of each label.
pub(super) struct Population {
    of_label: Vec<Vec<usize>>,
    all: Vec<usize>,
    /// Whether each is seen mirrored, too.
    flips: bool,
}

impl Population {
    pub fn of(data: &Dataset, labelled: bool, flips: bool) -> Self {
        let mut of_label = Vec::new();
        if labelled {
            of_label.resize(data.num_classes(), Vec::new());
            for (index, &label) in data.labels().iter().enumerate() {
                of_label[label as usize].push(index);
            }
        }
        Self {
            of_label,
            all: (0..data.len()).collect(),
            flips,
        }
    }

    /// What is drawn for a label; one that is no class stands for none, and for all images.
    fn with(&self, label: usize) -> Members<'_> {
        Members {
            indices: self.of_label.get(label).unwrap_or(&self.all),
            forms: 1 + usize::from(self.flips),
        }
    }
}

impl TargetPlan {
    /// Means over `images` images, the drawn one among them; over all there are if there are fewer.
    pub fn of(images: Option<usize>, diffusion: &Diffusion) -> Option<Self> {
        let signals = diffusion.sqrt_alphas_cumprod().iter();
        let ratios = signals.zip(diffusion.sqrt_one_minus_alphas_cumprod());
        Some(Self {
            images: images?,
            ratios: ratios
                .map(|(signal, spread)| (signal / spread) as f32)
                .collect(),
        })
    }

    /// The target of each drawn image, one after the other.
    pub(super) fn expected(
        &self,
        data: &Dataset,
        population: &Population,
        drawn: &[Drawn<'_>],
        seed: u64,
    ) -> Vec<f32> {
        let size = data.shape().len();
        let mut targets = vec![0.0; drawn.len() * size];
        let mut order: Vec<usize> = (0..drawn.len()).collect();
        order.sort_by_key(|&place| drawn[place].label);
        for alike in order.chunk_by(|&a, &b| drawn[a].label == drawn[b].label) {
            let members = population.with(drawn[alike[0]].label);
            // All members are the same for one image as for another, so that they are made but once.
            let shared = members.len() <= self.images && !data.is_of_latents();
            for group in alike.chunks(if shared { alike.len() } else { 1 }) {
                let references = members.around(&drawn[group[0]], self.images, data, seed);
                let noised: Vec<Noised<'_>> = (group.iter())
                    .map(|&place| Noised {
                        start: drawn[place].image,
                        noise: drawn[place].noise,
                        ratio: self.ratios[drawn[place].step],
                    })
                    .collect();
                let mut expected = vec![0.0; group.len() * size];
                expected_noise(&noised, &references, &mut expected);
                for (&place, expected) in group.iter().zip(expected.chunks_exact(size.max(1))) {
                    targets[place * size..][..size].copy_from_slice(expected);
                }
            }
        }
        targets
    }
}

/// What may be drawn for a label: images, each in as many forms as training sees.
struct Members<'a> {
    /// In order.
    indices: &'a [usize],
    forms: usize,
}

impl Members<'_> {
    fn len(&self) -> usize {
        self.indices.len() * self.forms
    }

    /// At most `count` different members, `[members, D]`: the drawn one, and others, each choice of them as likely.
    fn around(&self, drawn: &Drawn<'_>, count: usize, data: &Dataset, seed: u64) -> Vec<f32> {
        let before = self.indices.partition_point(|&index| index < drawn.index);
        let own = before * self.forms + usize::from(drawn.flip);
        let mut random = stream(seed, Purpose::References, drawn.draw);
        let bound = self.len() - 1;
        let others: Vec<usize> = distinct(bound.min(count - 1), bound, &mut random)
            .into_iter()
            .map(|other| other + usize::from(other >= own))
            .collect();
        let indices: Vec<usize> = (others.iter())
            .map(|other| self.indices[other / self.forms])
            .collect();
        let flips: Vec<bool> = others.iter().map(|other| other % self.forms == 1).collect();
        let mut values = vec![0.0; (1 + others.len()) * drawn.image.len()];
        let (first, rest) = values.split_at_mut(drawn.image.len());
        first.copy_from_slice(drawn.image);
        let latent = |place: usize| {
            let first = drawn.draw.wrapping_mul(count as u64);
            let index = first.wrapping_add(place as u64);
            stream(seed, Purpose::ReferenceLatent, index)
        };
        data.fill_batch(&indices, &flips, latent, rest);
        values
    }
}

/// `count` different numbers below `bound`, each choice as likely (Floyd's algorithm), in order.
fn distinct(count: usize, bound: usize, random: &mut Stream) -> BTreeSet<usize> {
    if count == bound {
        return (0..bound).collect();
    }
    let mut picked = BTreeSet::new();
    for last in bound - count..bound {
        let number = random.below(last as u64 + 1) as usize;
        if !picked.insert(number) {
            picked.insert(last);
        }
    }
    picked
}

#[cfg(test)]
mod tests;
