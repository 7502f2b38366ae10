//! What the demo found.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::evaluate::{METRIC, Score};
use crate::report::table::{Column, Table};

/// `metrics.json`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// The bare model.
    pub base: Score,
    /// With the patch, from the same noise.
    pub patched: Score,
    /// Parameters the patch adds.
    pub added_parameters: usize,
    /// The same as a share of the backbone's, in percent.
    pub added_percent: f64,
    /// Time of each stage.
    pub seconds: Seconds,
}

/// Wall-clock seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Seconds {
    /// Training the patch.
    pub train: f64,
    /// Sampling and measuring both models.
    pub sample: f64,
    /// Everything.
    pub total: f64,
}

impl Metrics {
    /// What the demo prints; `patch` is the file.
    pub fn table(&self, patch: &Path) -> Result<Table> {
        let bytes = std::fs::metadata(patch)
            .with_context(|| patch.display().to_string())?
            .len();
        let relative = 100.0 * (self.patched.frechet / self.base.frechet - 1.0);
        let columns = [
            Column::text(""),
            Column::number("base"),
            Column::number("patched"),
            Column::number("change"),
        ];
        Ok(Table::new(columns)
            .row([
                METRIC.to_owned(),
                format!("{:.3}", self.base.frechet),
                format!("{:.3}", self.patched.frechet),
                format!("{relative:+.1} %"),
            ])
            .row([
                "classifier accuracy".to_owned(),
                format!("{:.1} %", 100.0 * self.base.accuracy),
                format!("{:.1} %", 100.0 * self.patched.accuracy),
                format!(
                    "{:+.1} points",
                    100.0 * (self.patched.accuracy - self.base.accuracy)
                ),
            ])
            .row([
                "parameters added".to_owned(),
                String::new(),
                self.added_parameters.to_string(),
                format!("+{:.2} %, {:.2} MB", self.added_percent, bytes as f64 / 1e6),
            ])
            .row([
                "training".to_owned(),
                String::new(),
                String::new(),
                format!("{:.0} s", self.seconds.train),
            ])
            .row([
                format!("sampling 2 x {}", self.base.count),
                String::new(),
                String::new(),
                format!("{:.0} s", self.seconds.sample),
            ]))
    }
}
