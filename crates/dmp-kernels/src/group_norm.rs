//! GroupNorm with learned scale and shift, and SiLU after it: what an autoencoder does between convolutions.

use rayon::prelude::*;

use crate::simd::{sigmoid, sum2};
use crate::vectorised;

/// Values that are summed in f32; what they come to is summed in f64.
const SUMMED: usize = 4096;

/// A normalisation over each group of an image's channels.
#[derive(Debug, Clone, Copy)]
pub struct GroupNorm<'a> {
    /// As many groups of equally many channels.
    pub groups: usize,
    /// ε, added to the variance.
    pub epsilon: f64,
    /// A scale for each channel.
    pub scale: &'a [f32],
    /// A shift for each channel.
    pub shift: &'a [f32],
    /// Whether SiLU, `y·σ(y)`, follows.
    pub silu: bool,
}

impl GroupNorm<'_> {
    /// Images `[batch, channels, pixels]`, normalised in place.
    ///
    /// # Panics
    /// When `x` has no such images, or the channels no such groups: a bug of the caller, never of a user.
    pub fn apply(&self, x: &mut [f32], pixels: usize) {
        let channels = self.scale.len();
        assert_eq!(self.shift.len(), channels, "shift");
        assert!(
            pixels > 0 && x.len().is_multiple_of(channels * pixels),
            "images"
        );
        assert!(channels.is_multiple_of(self.groups), "groups");
        let of_group = channels / self.groups;
        x.par_chunks_exact_mut(of_group * pixels)
            .enumerate()
            .for_each(|(group, x)| {
                let (mean, rstd) = self.statistics(x);
                let first = group % self.groups * of_group;
                for (channel, x) in x.chunks_exact_mut(pixels).enumerate() {
                    let scale = rstd * self.scale[first + channel];
                    let shift = self.shift[first + channel];
                    match self.silu {
                        true => scale_shift_silu(x, mean, scale, shift),
                        false => scale_shift(x, mean, scale, shift),
                    }
                }
            });
    }

    /// Mean and 1/√(variance + ε).
    fn statistics(&self, x: &[f32]) -> (f32, f32) {
        let mean_of = |sum: &dyn Fn(&[f32]) -> f32| {
            let sums = x.chunks(SUMMED).map(|piece| f64::from(sum(piece)));
            sums.sum::<f64>() / x.len() as f64
        };
        let mean = mean_of(&|piece| sum_of(piece)) as f32;
        let variance = mean_of(&|piece| squares_of(piece, mean));
        (mean, (1.0 / (variance + self.epsilon).sqrt()) as f32)
    }
}

vectorised! {
    fn sum_of(x: &[f32]) -> f32 {
        sum2(x, x, |x, _| x)
    }
}

vectorised! {
    fn squares_of(x: &[f32], mean: f32) -> f32 {
        sum2(x, x, |x, _| (x - mean) * (x - mean))
    }
}

vectorised! {
    fn scale_shift(x: &mut [f32], mean: f32, scale: f32, shift: f32) {
        for x in x {
            *x = (*x - mean).mul_add(scale, shift);
        }
    }
}

vectorised! {
    fn scale_shift_silu(x: &mut [f32], mean: f32, scale: f32, shift: f32) {
        for x in x {
            let y = (*x - mean).mul_add(scale, shift);
            *x = y * sigmoid(y);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition in f64.
    fn reference(norm: &GroupNorm<'_>, x: &[f32], pixels: usize) -> Vec<f64> {
        let channels = norm.scale.len();
        let group = channels / norm.groups * pixels;
        let mut out = Vec::new();
        for x in x.chunks(group) {
            let n = x.len() as f64;
            let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
            let square = |&x: &f32| (f64::from(x) - mean).powi(2);
            let deviation = (x.iter().map(square).sum::<f64>() / n + norm.epsilon).sqrt();
            for &x in x {
                let channel = out.len() / pixels % channels;
                let [scale, shift] = [norm.scale, norm.shift].map(|of| f64::from(of[channel]));
                let y = (f64::from(x) - mean) / deviation * scale + shift;
                out.push(if norm.silu { y / (1.0 + (-y).exp()) } else { y });
            }
        }
        out
    }

    proptest! {
        #[test]
        fn is_the_definition(
            batch in 0usize..3,
            groups in 1usize..5,
            of_group in 1usize..4,
            pixels in prop_oneof![9 => 1usize..90, 1 => 5000usize..6000],
            offset in -50.0f32..50.0,
            silu: bool,
            seed: u32,
        ) {
            let channels = groups * of_group;
            let drawn = |from: u32, count: usize| -> Vec<f32> {
                let of = |i: u32| (seed ^ from).wrapping_add(i).wrapping_mul(2_654_435_761);
                (0..count as u32).map(|i| of(i) as f32 / 2f32.powi(31) - 1.0).collect()
            };
            let (scale, shift) = (drawn(1, channels), drawn(2, channels));
            let mut x = drawn(3, batch * channels * pixels);
            // Of few values the deviation may be as small as what rounding leaves of a large mean.
            let offset = if of_group * pixels > 8 { offset } else { 0.0 };
            x.iter_mut().for_each(|x| *x += offset);
            let norm = GroupNorm { groups, epsilon: 1e-6, scale: &scale, shift: &shift, silu };
            let expected = reference(&norm, &x, pixels);
            let bound = 2e-5 * (1.0 + offset.abs());
            norm.apply(&mut x, pixels);
            for (found, expected) in x.iter().zip(&expected) {
                let off = (f64::from(*found) - expected).abs();
                prop_assert!(off <= f64::from(bound), "{found}, not {expected}");
            }
        }
    }
}
