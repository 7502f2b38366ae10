//! The noise to expect of a noisy image, where it may have been made of any of several clean ones.
//!
//! Of x_t = √ᾱ·x₀ + √(1−ᾱ)·ε one sees x_t alone. If each of N references y is as likely to have been x₀, the noise is
//! (x_t − √ᾱ·y)/√(1−ᾱ) with a weight proportional to exp(−‖x_t − √ᾱ·y‖² / 2(1−ᾱ)). With the difference d = x₀ − y and
//! k = √(ᾱ/(1−ᾱ)) that noise is ε + k·d, and the logarithm of its weight, but for a constant, −Σ k·d·(ε + k·d/2): no large
//! numbers cancel, however small the noise.

use std::ops::Range;

use crate::simd::{LANES, exp};
use crate::vectorised;

/// An image that noise was put on.
#[derive(Debug, Clone, Copy)]
pub struct Noised<'a> {
    /// The clean image x₀, `[D]`.
    pub start: &'a [f32],
    /// The noise ε, `[D]`.
    pub noise: &'a [f32],
    /// √(ᾱ/(1−ᾱ)), the ratio of signal to noise.
    pub ratio: f32,
}

/// Bytes of references that stay in cache while one image after the other is compared with them.
const BLOCK_BYTES: usize = 1 << 18;

/// Values that are summed before it is asked whether the others can still matter.
const LOOK: usize = 192;

/// Below this share of the largest, a weight changes nothing that 32-bit floats show.
const NEGLIGIBLE: f32 = 1e-9;

/// Below −ln of that, with room for rounding: such a logarithm is negligible beside 0, that of the image itself.
const LOWEST: f32 = 24.0;

vectorised! {
    /// Logarithms of the references' weights, but for a constant: 0 for `start` itself, and −∞ where a look at some values has shown
    /// that the weight is negligible. `rest` is Σ ε²/2 over all others, no more than which the sum can fall by there.
    fn log_weights(start: &[f32], noise: &[f32], ratio: f32, rest: f32, references: &[&[f32]], out: &mut [f32]) {
        let look = looked_at(start.len());
        for (reference, out) in references.iter().zip(out) {
            let some = distance(&start[look.clone()], &noise[look.clone()], &reference[look.clone()], ratio);
            *out = if some - rest > LOWEST {
                f32::NEG_INFINITY
            } else {
                let before = distance(&start[..look.start], &noise[..look.start], &reference[..look.start], ratio);
                let behind = distance(&start[look.end..], &noise[look.end..], &reference[look.end..], ratio);
                -(some + before + behind)
            };
        }
    }
}

/// The values looked at first, of so many: those in the middle, where images differ most.
fn looked_at(size: usize) -> Range<usize> {
    let first = size.saturating_sub(LOOK) / 2;
    first..size.min(first + LOOK)
}

/// Σ k·d·(ε + k·d/2) over some values, k being the ratio and d the difference of start and reference.
#[inline(always)]
fn distance(start: &[f32], noise: &[f32], reference: &[f32], ratio: f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (starts, start_rest) = start.as_chunks::<LANES>();
    let (noises, noise_rest) = noise.as_chunks::<LANES>();
    let (others, other_rest) = reference.as_chunks::<LANES>();
    for ((start, noise), other) in starts.iter().zip(noises).zip(others) {
        for i in 0..LANES {
            let away = ratio * (start[i] - other[i]);
            lanes[i] += away * (noise[i] + 0.5 * away);
        }
    }
    let mut total: f32 = lanes.iter().sum();
    for ((start, noise), other) in start_rest.iter().zip(noise_rest).zip(other_rest) {
        let away = ratio * (start - other);
        total += away * (noise + 0.5 * away);
    }
    total
}

vectorised! {
    /// `target += scale · (start − reference)`.
    fn add_away(target: &mut [f32], start: &[f32], reference: &[f32], scale: f32) {
        for ((target, &start), &reference) in target.iter_mut().zip(start).zip(reference) {
            *target += scale * (start - reference);
        }
    }
}

/// Writes the noise to expect of each of `images` to its row of `targets`, `[images, D]`. All have the same `references`, each
/// `[D]`, and each image's own `start` is one of them.
///
/// # Panics
/// When sizes do not fit: a bug of the caller, never of a user.
pub fn expected_noise(images: &[Noised<'_>], references: &[&[f32]], targets: &mut [f32]) {
    let Some(size) = images.first().map(|image| image.start.len()) else {
        return;
    };
    assert_eq!(targets.len(), images.len() * size, "one target an image");
    if size == 0 {
        return;
    }
    let rests: Vec<f32> = images.iter().map(|image| rest(image.noise)).collect();
    let count = references.len();
    let rows = (BLOCK_BYTES / (4 * size)).max(1);
    let mut weights = vec![0.0; images.len() * count];
    for (block, references) in references.chunks(rows).enumerate() {
        let images = images.iter().zip(&rests);
        for ((image, &rest), weights) in images.zip(weights.chunks_exact_mut(count)) {
            let weights = &mut weights[block * rows..][..references.len()];
            log_weights(
                image.start,
                image.noise,
                image.ratio,
                rest,
                references,
                weights,
            );
        }
    }
    let weighed = images.iter().zip(weights.chunks_exact_mut(count));
    for ((image, weights), target) in weighed.zip(targets.chunks_exact_mut(size)) {
        let highest = crate::simd::max(weights);
        for weight in &mut *weights {
            *weight = exp(*weight - highest);
        }
        let sum: f32 = weights.iter().sum();
        for weight in &mut *weights {
            *weight = match *weight > NEGLIGIBLE {
                true => image.ratio * *weight / sum,
                false => 0.0,
            };
        }
        target.copy_from_slice(image.noise);
    }
    for (block, references) in references.chunks(rows).enumerate() {
        let weighed = images.iter().zip(weights.chunks_exact(count));
        for ((image, weights), target) in weighed.zip(targets.chunks_exact_mut(size)) {
            for (&weight, reference) in weights[block * rows..].iter().zip(references) {
                if weight != 0.0 {
                    add_away(target, image.start, reference, weight);
                }
            }
        }
    }
}

/// Σ ε²/2 over all values that are not looked at first.
fn rest(noise: &[f32]) -> f32 {
    let look = looked_at(noise.len());
    let others = noise[..look.start].iter().chain(&noise[look.end..]);
    0.5 * others.map(|value| value * value).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 293;
    const REFERENCES: usize = 2000;

    /// Numbers without a pattern, from -1 to 1.
    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    /// As the definition says, in f64.
    fn by_definition(image: &Noised<'_>, references: &[f32], alpha: f64) -> Vec<f64> {
        let (signal, spread) = (alpha.sqrt(), (1.0 - alpha).sqrt());
        let noisy: Vec<f64> = (image.start.iter().zip(image.noise))
            .map(|(&x, &e)| signal * f64::from(x) + spread * f64::from(e))
            .collect();
        let away = |reference: &[f32]| -> Vec<f64> {
            let values = noisy.iter().zip(reference);
            values
                .map(|(x, &y)| (x - signal * f64::from(y)) / spread)
                .collect()
        };
        let rows: Vec<Vec<f64>> = references.chunks_exact(SIZE).map(away).collect();
        let logs: Vec<f64> = rows
            .iter()
            .map(|row| -0.5 * row.iter().map(|x| x * x).sum::<f64>())
            .collect();
        let highest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = logs.iter().map(|log| (log - highest).exp()).collect();
        let sum: f64 = weights.iter().sum();
        (0..SIZE)
            .map(|i| {
                let terms = rows.iter().zip(&weights);
                terms.map(|(row, weight)| row[i] * weight).sum::<f64>() / sum
            })
            .collect()
    }

    /// From hardly any noise to hardly anything else, with a near twin of the first image among the references.
    #[test]
    fn it_is_the_mean_that_the_definition_says() {
        let mut references = numbers(REFERENCES * SIZE, 1);
        for i in 0..SIZE {
            references[SIZE + i] = references[i] + 1e-3 * references[5 * SIZE + i];
        }
        let noise = numbers(3 * SIZE, 2);
        for alpha in [0.9999f64, 0.99, 0.9, 0.5, 0.1, 0.001] {
            let images: Vec<Noised<'_>> = [0, 700, 1999]
                .iter()
                .zip(noise.chunks_exact(SIZE))
                .map(|(&at, noise)| Noised {
                    start: &references[at * SIZE..][..SIZE],
                    noise,
                    ratio: (alpha / (1.0 - alpha)).sqrt() as f32,
                })
                .collect();
            let mut targets = vec![0.0; 3 * SIZE];
            let rows: Vec<&[f32]> = references.chunks_exact(SIZE).collect();
            expected_noise(&images, &rows, &mut targets);
            for (image, target) in images.iter().zip(targets.chunks_exact(SIZE)) {
                let wanted = by_definition(image, &references, alpha);
                for (target, wanted) in target.iter().zip(wanted) {
                    let off = (f64::from(*target) - wanted).abs();
                    assert!(off < 2e-5, "ᾱ {alpha}: {target} for {wanted}");
                }
            }
        }
    }

    #[test]
    fn alone_it_is_the_noise_itself() {
        let (start, noise) = (numbers(SIZE, 3), numbers(SIZE, 4));
        let image = Noised {
            start: &start,
            noise: &noise,
            ratio: 3.0,
        };
        let mut target = vec![0.0; SIZE];
        expected_noise(&[image], &[&start], &mut target);
        assert_eq!(target, noise);
    }
}
