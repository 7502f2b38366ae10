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
    /// 2 where each is seen mirrored, too.
    forms: usize,
    /// Every image in every form, ready to be compared with, where they are not too many.
    ready: Option<Vec<f32>>,
}

/// Bytes of images that are kept ready.
const READY_BYTES: usize = 1 << 28;

/// Forms that each image is seen in.
fn forms(flips: bool) -> usize {
    1 + usize::from(flips)
}

/// Bytes of so many images.
fn bytes(images: usize, data: &Dataset) -> u128 {
    4 * images as u128 * data.shape().len() as u128
}

/// Whether all images are kept in all forms; latents are drawn anew each time.
fn keeps_ready(data: &Dataset, flips: bool) -> bool {
    let all = data.len().saturating_mul(forms(flips));
    !data.is_of_latents() && bytes(all, data) <= READY_BYTES as u128
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
        let mut population = Self {
            of_label,
            all: (0..data.len()).collect(),
            forms: forms(flips),
            ready: None,
        };
        if keeps_ready(data, flips) {
            let all = population.with(usize::MAX);
            let everyone: Vec<usize> = (0..all.len()).collect();
            let mut ready = vec![0.0; all.len() * data.shape().len()];
            let none = |_| stream(0, Purpose::ReferenceLatent, 0);
            all.fill(&everyone, data, none, &mut ready);
            population.ready = Some(ready);
        }
        population
    }

    /// What is drawn for a label; one that is no class stands for none, and for all images.
    fn with(&self, label: usize) -> Members<'_> {
        Members {
            indices: self.of_label.get(label).unwrap_or(&self.all),
            forms: self.forms,
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

    /// Bytes of memory that the references take.
    pub(super) fn memory(&self, data: &Dataset, flips: bool) -> u128 {
        let all = data.len().saturating_mul(forms(flips));
        match keeps_ready(data, flips) {
            true => bytes(all, data),
            false => bytes(all.min(self.images), data),
        }
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
        // Megabytes, of one group after the other.
        let mut made = Vec::new();
        for alike in order.chunk_by(|&a, &b| drawn[a].label == drawn[b].label) {
            let members = population.with(drawn[alike[0]].label);
            // All members are the same for one image as for another.
            let shared = members.len() <= self.images && !data.is_of_latents();
            for group in alike.chunks(if shared { alike.len() } else { 1 }) {
                let one = &drawn[group[0]];
                let others = members.others(one, self.images, seed);
                let mut references = vec![one.image];
                match &population.ready {
                    Some(ready) => {
                        let places = others.iter().map(|&other| members.place(other));
                        references.extend(places.map(|place| &ready[place * size..][..size]));
                    }
                    None => {
                        made.resize(others.len() * size, 0.0);
                        let first = one.draw.wrapping_mul(1 + others.len() as u64);
                        let latent = |place: usize| {
                            let index = first.wrapping_add(place as u64);
                            stream(seed, Purpose::ReferenceLatent, index)
                        };
                        members.fill(&others, data, latent, &mut made);
                        references.extend(made.chunks_exact(size.max(1)));
                    }
                }
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

    /// Where a member is among all images in all forms.
    fn place(&self, member: usize) -> usize {
        self.indices[member / self.forms] * self.forms + member % self.forms
    }

    /// Up to `count` different members with the drawn one, which is left out here: each choice of the others is as likely.
    fn others(&self, drawn: &Drawn<'_>, count: usize, seed: u64) -> Vec<usize> {
        let before = self.indices.partition_point(|&index| index < drawn.index);
        let own = before * self.forms + usize::from(drawn.flip);
        let mut random = stream(seed, Purpose::References, drawn.draw);
        let bound = self.len() - 1;
        let others = distinct(bound.min(count - 1), bound, &mut random).into_iter();
        others
            .map(|other| other + usize::from(other >= own))
            .collect()
    }

    /// Writes the values of `members` to `out`, `[members, D]`.
    fn fill(
        &self,
        members: &[usize],
        data: &Dataset,
        latent: impl Fn(usize) -> Stream,
        out: &mut [f32],
    ) {
        let form = |member: &usize| (self.indices[member / self.forms], member % self.forms == 1);
        let (indices, flips): (Vec<usize>, Vec<bool>) = members.iter().map(form).unzip();
        data.fill_batch(&indices, &flips, latent, out);
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
