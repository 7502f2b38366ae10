//! Which timesteps training draws. How often a step is drawn changes how noisy the gradient is, not what it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::diffusion::Diffusion;
use crate::seed::Stream;

/// How often training draws each timestep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Timesteps {
    /// All alike, as in DDPM.
    #[default]
    Uniform,
    /// In proportion to 1/σ_t = 1/√(1 − ᾱ_t), each image's loss divided by how much more often its step is drawn: the same
    /// expected gradient, with less noise.
    ///
    /// The least noise is had where steps are drawn in proportion to the norm of their gradient, and the error of a
    /// predicted ε is that of the predicted image times √ᾱ_t/σ_t. The norm then also falls with √ᾱ_t where hardly anything
    /// of the image is left; drawn as often as that alone, the last steps would weigh thousands of times more than others.
    Importance,
    /// Half of them alike, half by importance (Hesterberg's defensive importance sampling): no image counts more than twice, whereas by
    /// importance alone the noisiest steps are drawn seldom and count several times.
    Mixed,
}

/// Draws the timesteps of one process.
#[derive(Clone, Debug, PartialEq)]
pub struct TimestepDraw {
    /// Σ of the probabilities up to and with each step; none where all are alike.
    cumulative: Option<Vec<f64>>,
    /// (1/T) / p of each step.
    weights: Vec<f64>,
}

impl Timesteps {
    /// The draw over all steps of `diffusion`.
    pub fn over(self, diffusion: &Diffusion) -> TimestepDraw {
        self.below(diffusion, diffusion.len())
    }

    /// The draw over the first `end` steps of `diffusion`, those with the least noise; over all where it has no more.
    pub fn below(self, diffusion: &Diffusion, end: usize) -> TimestepDraw {
        let sigmas = diffusion.sqrt_one_minus_alphas_cumprod();
        let sigmas = &sigmas[..end.min(sigmas.len())];
        let steps = sigmas.len() as f64;
        let mean = sigmas.iter().map(|sigma| 1.0 / sigma).sum::<f64>() / steps;
        let weight = |sigma: &f64| match self {
            Self::Uniform => 1.0,
            Self::Importance => mean * sigma,
            Self::Mixed => 2.0 / (1.0 + 1.0 / (mean * sigma)),
        };
        let weights: Vec<f64> = sigmas.iter().map(weight).collect();
        let cumulative = weights.iter().scan(0.0, |sum, weight| {
            *sum += 1.0 / (weight * steps);
            Some(*sum)
        });
        TimestepDraw {
            cumulative: (self != Self::Uniform).then(|| cumulative.collect()),
            weights,
        }
    }
}

impl TimestepDraw {
    /// A step, from the start of a stream of its own.
    pub fn draw(&self, stream: &mut Stream) -> usize {
        let steps = self.weights.len();
        match &self.cumulative {
            None => stream.below(steps as u64) as usize,
            Some(cumulative) => {
                let uniform = stream.below(1 << 53) as f64 / (1_u64 << 53) as f64;
                cumulative
                    .partition_point(|&below| below <= uniform)
                    .min(steps - 1)
            }
        }
    }

    /// What the loss of an image at `step` counts, for the mean over what is drawn to be that over all steps that can be,
    /// alike.
    pub fn weight(&self, step: usize) -> f64 {
        self.weights[step]
    }
}

/// No draw has this name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown timestep draw `{0}`; use `uniform`, `importance` or `mixed`")]
pub struct UnknownTimesteps(String);

impl FromStr for Timesteps {
    type Err = UnknownTimesteps;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "uniform" => Ok(Self::Uniform),
            "importance" => Ok(Self::Importance),
            "mixed" => Ok(Self::Mixed),
            _ => Err(UnknownTimesteps(name.to_owned())),
        }
    }
}

impl fmt::Display for Timesteps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uniform => "uniform",
            Self::Importance => "importance",
            Self::Mixed => "mixed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::BetaSchedule;
    use crate::seed::{Purpose, stream};

    /// The mean over what is drawn, weighed, is the mean over all steps.
    #[test]
    fn weights_undo_how_often_a_step_is_drawn() {
        let diffusion = Diffusion::new(BetaSchedule::SquaredCosine, 100);
        let value = |step: usize| 1.0 / (1.0 + step as f64);
        let expected = (0..100).map(value).sum::<f64>() / 100.0;
        let spread = |timesteps: Timesteps| {
            let draw = timesteps.over(&diffusion);
            let drawn: Vec<f64> = (0..20_000)
                .map(|index| {
                    let step = draw.draw(&mut stream(4, Purpose::Time, index));
                    draw.weight(step) * value(step)
                })
                .collect();
            let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
            assert!((mean / expected - 1.0).abs() < 0.05, "{timesteps}: {mean}");
            drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / drawn.len() as f64
        };
        // What falls as 1/σ does is known almost without noise.
        assert!(spread(Timesteps::Importance) < 0.1 * spread(Timesteps::Uniform));
        assert!(spread(Timesteps::Mixed) < spread(Timesteps::Uniform));
    }

    #[test]
    fn mixed_counts_no_step_more_than_twice() {
        let diffusion = Diffusion::new(BetaSchedule::SquaredCosine, 1000);
        let [most, mixed] = [Timesteps::Importance, Timesteps::Mixed].map(|timesteps| {
            let draw = timesteps.over(&diffusion);
            (0..1000).map(|step| draw.weight(step)).fold(0.0, f64::max)
        });
        assert!(most > 3.4 && mixed < 1.6, "{most} and {mixed}");
    }

    #[test]
    fn every_step_can_be_drawn_and_no_other() {
        let diffusion = Diffusion::new(BetaSchedule::Linear, 7);
        for timesteps in [Timesteps::Uniform, Timesteps::Importance, Timesteps::Mixed] {
            let draw = timesteps.over(&diffusion);
            let mut seen = [false; 7];
            for index in 0..2000 {
                seen[draw.draw(&mut stream(0, Purpose::Time, index))] = true;
            }
            assert_eq!(seen, [true; 7], "{timesteps}");
        }
    }

    /// Of some steps only, all of them, and as if there were no others.
    #[test]
    fn below_a_step_no_other_is_drawn() {
        let diffusion = Diffusion::new(BetaSchedule::Linear, 20);
        for timesteps in [Timesteps::Uniform, Timesteps::Importance, Timesteps::Mixed] {
            let draw = timesteps.below(&diffusion, 7);
            let (mut seen, mut mean) = ([false; 7], 0.0);
            for index in 0..5000 {
                let step = draw.draw(&mut stream(0, Purpose::Time, index));
                seen[step] = true;
                mean += draw.weight(step) * step as f64 / 5000.0;
            }
            assert_eq!(seen, [true; 7], "{timesteps}");
            assert!((mean - 3.0).abs() < 0.1, "{timesteps}: {mean}");
            assert_eq!(timesteps.below(&diffusion, 30), timesteps.over(&diffusion));
        }
    }

    #[test]
    fn names_are_read_back() {
        for timesteps in [Timesteps::Uniform, Timesteps::Importance, Timesteps::Mixed] {
            assert_eq!(timesteps.to_string().parse(), Ok(timesteps));
        }
        assert!("often".parse::<Timesteps>().is_err());
    }
}
