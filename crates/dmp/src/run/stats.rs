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
}

/// Gathers steps until a line is due.
#[derive(Debug, Default)]
pub struct Window {
    records: Vec<StepRecord>,
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
        let mean = |get: &dyn Fn(&StepRecord) -> f64| records.iter().map(get).sum::<f64>() / count;
        let optional = |get: &dyn Fn(&StepRecord) -> Option<f64>| {
            let values: Vec<f64> = records.iter().filter_map(get).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let mean = StepRecord {
            loss: mean(&|r| r.loss),
            mse: mean(&|r| r.mse),
            vb: optional(&|r| r.vb),
            importance: optional(&|r| r.importance),
            load: optional(&|r| r.load),
            gate_entropy: optional(&|r| r.gate_entropy),
            grad_norm: mean(&|r| r.grad_norm),
        };
        let images_per_second = count * batch as f64 / seconds.max(1e-9);
        Some(Line {
            step,
            images: step * batch as u64,
            mean,
            images_per_second,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
