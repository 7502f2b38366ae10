//! Noise schedules: how much variance β_t each forward step adds.

use std::f64::consts::FRAC_PI_2;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// No step may add more variance than this: β = 1 would erase the image, and ᾱ = 0 has no reciprocal.
const MAX_BETA: f64 = 0.999;

/// A named family of β_t, with the names guided-diffusion and diffusers give them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BetaSchedule {
    /// β from 1e-4 to 0.02 over 1000 steps (Ho et al. 2006.11239, §4); other lengths scale both ends
    /// by `1000 / steps`, so that ᾱ at the last step stays alike.
    #[default]
    #[serde(rename = "linear")]
    Linear,
    /// ᾱ(t) = cos²((t + 0.008) / 1.008 · π/2), with β capped at 0.999 (Nichol & Dhariwal 2102.09672,
    /// eq. 17).
    #[serde(rename = "squaredcos_cap_v2")]
    SquaredCosine,
}

impl BetaSchedule {
    /// Every schedule, in the order messages list them.
    pub const ALL: [Self; 2] = [Self::Linear, Self::SquaredCosine];

    /// The name used in configuration files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::SquaredCosine => "squaredcos_cap_v2",
        }
    }

    /// β_t for t = 0 … `steps` − 1, each in (0, 0.999]; empty when `steps` is 0.
    ///
    /// A `linear` schedule of 20 steps or fewer would reach β ≥ 1, where guided-diffusion refuses to
    /// run; here such betas are capped at 0.999.
    pub fn betas(self, steps: usize) -> Vec<f64> {
        let betas = match self {
            Self::Linear => linear(steps),
            Self::SquaredCosine => from_alpha_bar(steps, squared_cosine_alpha_bar),
        };
        betas.into_iter().map(|beta| beta.min(MAX_BETA)).collect()
    }
}

/// `numpy.linspace(scale · 1e-4, scale · 0.02, steps)`, to the last bit.
fn linear(steps: usize) -> Vec<f64> {
    let scale = 1000.0 / steps as f64;
    let (start, end) = (scale * 0.0001, scale * 0.02);
    let stride = (end - start) / steps.saturating_sub(1) as f64;
    (0..steps)
        .map(|t| match t {
            0 => start,
            t if t + 1 == steps => end,
            t => t as f64 * stride + start,
        })
        .collect()
}

/// β_t = 1 − ᾱ((t+1)/T) / ᾱ(t/T). The divisions are real ones: with integers every β would be 0.
fn from_alpha_bar(steps: usize, alpha_bar: impl Fn(f64) -> f64) -> Vec<f64> {
    let total = steps as f64;
    (0..steps)
        .map(|t| 1.0 - alpha_bar((t + 1) as f64 / total) / alpha_bar(t as f64 / total))
        .collect()
}

/// ᾱ(t) for t in [0, 1].
fn squared_cosine_alpha_bar(t: f64) -> f64 {
    ((t + 0.008) / 1.008 * FRAC_PI_2).cos().powi(2)
}

impl fmt::Display for BetaSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A schedule name nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown noise schedule `{0}`; use `linear` or `squaredcos_cap_v2`")]
pub struct UnknownSchedule(String);

impl FromStr for BetaSchedule {
    type Err = UnknownSchedule;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|schedule| schedule.name() == name)
            .ok_or_else(|| UnknownSchedule(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_runs_from_1e_4_to_0_02() {
        let betas = BetaSchedule::Linear.betas(1000);
        assert_eq!((betas[0], betas[999]), (0.0001, 0.02));
    }

    // Regression seen in other Rust ports: t / T in integers gives all-zero cosine betas.
    #[test]
    fn every_beta_is_positive_and_below_one() {
        for schedule in BetaSchedule::ALL {
            for steps in [1, 2, 10, 20, 21, 100, 1000, 4000] {
                let betas = schedule.betas(steps);
                assert_eq!(betas.len(), steps);
                assert!(
                    betas.iter().all(|&b| b > 0.0 && b <= MAX_BETA),
                    "{schedule} {steps}"
                );
            }
            assert!(schedule.betas(0).is_empty());
        }
    }

    #[test]
    fn names_round_trip_through_text_and_serde() {
        for schedule in BetaSchedule::ALL {
            assert_eq!(schedule.to_string().parse(), Ok(schedule));
            let json = serde_json::to_string(&schedule).unwrap();
            assert_eq!(json, format!("\"{schedule}\""));
            assert_eq!(
                serde_json::from_str::<BetaSchedule>(&json).unwrap(),
                schedule
            );
        }
        let error = "cosine".parse::<BetaSchedule>().unwrap_err().to_string();
        assert!(
            error.contains("`cosine`") && error.contains("squaredcos_cap_v2"),
            "{error}"
        );
    }
}
