//! `stats.jsonl`: what happened, one line every so many steps.

use serde::{Deserialize, Serialize};

/// What one step says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// What was minimised.
    pub loss: f64,
    /// Weighted mean squared error of the predicted noise.
    pub mse: f64,
    /// Variational bound, bits per dimension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vb: Option<f64>,
    /// Importance term of the balance loss, unweighted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importance: Option<f64>,
    /// Load term of the balance loss, unweighted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<f64>,
    /// Entropy of the masks over ln N: 1 is uniform, 0 a single prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_entropy: Option<f64>,
    /// Euclidean norm of all gradients, before clipping.
    pub grad_norm: f64,
}

impl StepRecord {
    /// Adds `share` times another record. A figure that one has and the other has not counts as 0 there: the steps of
    /// a run, like the parts of a step, all have the same ones.
    pub fn add_share(&mut self, other: &Self, share: f64) {
        let add = |sum: &mut Option<f64>, value: Option<f64>| {
            if let Some(value) = value {
                *sum = Some(sum.unwrap_or(0.0) + share * value);
            }
        };
        self.loss += share * other.loss;
        self.mse += share * other.mse;
        self.grad_norm += share * other.grad_norm;
        add(&mut self.vb, other.vb);
        add(&mut self.importance, other.importance);
        add(&mut self.load, other.load);
        add(&mut self.gate_entropy, other.gate_entropy);
    }
}

/// Mean of the steps since the last line, and how fast they went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Steps done.
    pub step: u64,
    /// Images seen since the run began.
    pub images: u64,
    /// Means over the window.
    #[serde(flatten)]
    pub mean: StepRecord,
    /// Images a second over the window.
    pub images_per_second: f64,
    /// Of a run's first line: the weighted error of its first batch, before anything was learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at_mse: Option<f64>,
}

/// Gathers steps until a line is due.
#[derive(Debug, Default)]
pub struct Window {
    records: Vec<StepRecord>,
    /// See [`Line::began_at_mse`].
    pub began_at_mse: Option<f64>,
}

impl Window {
    /// Adds a step.
    pub fn push(&mut self, record: StepRecord) {
        self.records.push(record);
    }

    /// The line after `step` steps of `batch` images, `seconds` since the last line; empties the window.
    pub fn take(&mut self, step: u64, batch: usize, seconds: f64) -> Option<Line> {
        let records = std::mem::take(&mut self.records);
        if records.is_empty() {
            return None;
        }
        let count = records.len() as f64;
        let mut mean = StepRecord::default();
        records
            .iter()
            .for_each(|record| mean.add_share(record, 1.0 / count));
        let images_per_second = count * batch as f64 / seconds.max(1e-9);
        Some(Line {
            step,
            images: step * batch as u64,
            mean,
            images_per_second,
            began_at_mse: self.began_at_mse.take(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        let record = |loss: f64| StepRecord {
            loss,
            mse: 2.0 * loss,
            vb: Some(3.0 * loss),
            ..Default::default()
        };
        let mut sum = StepRecord::default();
        sum.add_share(&record(1.0), 0.75);
        sum.add_share(&record(5.0), 0.25);
        assert_eq!(sum, record(2.0));
    }

    #[test]
    fn lines_hold_means_and_read_back() {
        let mut window = Window::default();
        window.push(StepRecord {
            loss: 1.0,
            mse: 1.0,
            gate_entropy: Some(0.5),
            ..Default::default()
        });
        window.push(StepRecord {
            loss: 3.0,
            mse: 1.0,
            gate_entropy: Some(0.5),
            ..Default::default()
        });
        let line = window.take(10, 8, 2.0).unwrap();
        assert_eq!(
            (
                line.mean.loss,
                line.mean.gate_entropy,
                line.images,
                line.images_per_second
            ),
            (2.0, Some(0.5), 80, 8.0)
        );
        let json = serde_json::to_string(&line).unwrap();
        assert!(!json.contains("load"), "{json}");
        assert_eq!(serde_json::from_str::<Line>(&json).unwrap(), line);
        assert!(window.take(11, 8, 1.0).is_none());
    }
}
