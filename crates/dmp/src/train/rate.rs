//! Learning rate over a run: linear warm-up, then constant or cosine.

use serde::{Deserialize, Serialize};

/// What follows the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// The full rate to the end.
    #[default]
    Constant,
    /// Half a cosine down to zero at the last step.
    Cosine,
}

impl Decay {
    /// Settings in which a run may differ from the one it goes on with: at a constant rate a finished run can be taken further,
    /// a cosine depends on where it ends.
    pub fn free_settings(self) -> &'static [&'static str] {
        match self {
            Self::Constant => &["steps"],
            Self::Cosine => &[],
        }
    }
}

/// Factor on the learning rates at each step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateSchedule {
    /// Steps of linear warm-up.
    pub warmup: u64,
    /// What follows.
    pub decay: Decay,
    /// Steps in all.
    pub steps: u64,
}

impl RateSchedule {
    /// The factor at `step`, counted from 0.
    pub fn factor(&self, step: u64) -> f64 {
        if step < self.warmup {
            return (step + 1) as f64 / self.warmup as f64;
        }
        match self.decay {
            Decay::Constant => 1.0,
            Decay::Cosine => {
                let span = self.steps.saturating_sub(self.warmup).max(1) as f64;
                let done = ((step - self.warmup) as f64 / span).min(1.0);
                0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warms_up_then_decays_to_nothing() {
        let schedule = RateSchedule {
            warmup: 10,
            decay: Decay::Cosine,
            steps: 110,
        };
        assert_eq!(schedule.factor(4), 0.5);
        assert_eq!(schedule.factor(10), 1.0);
        assert!((schedule.factor(60) - 0.5).abs() < 1e-12);
        assert!(schedule.factor(109) < 1e-3);
        assert_eq!(
            RateSchedule {
                decay: Decay::Constant,
                ..schedule
            }
            .factor(109),
            1.0
        );
    }
}
