//! One training run in its directory, whatever it is that trains: where it stands, what it draws, and the loop.

use std::path::Path;

use anyhow::Result;
use dmp_model::denoiser::Denoiser;
use dmp_model::dit::Dit;
use dmp_model::fused::Checkpointing;
use serde::Serialize;

use crate::data::Dataset;
use crate::models::check_data;
use crate::run::{DrawPlan, DryRun, Interrupt, Prefetch, RunDir, RunPlan, Trainee, run};

/// How often a run writes.
#[derive(Debug, Clone, Copy)]
pub struct Cadence {
    /// Steps between lines of statistics.
    pub log_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Checkpoints at multiples of this are never removed.
    pub keep_every: Option<u64>,
}

/// A run directory, and what a run there reads and obeys.
pub struct Session<'a> {
    /// Where the run lives.
    pub directory: &'a RunDir,
    /// What it trains on.
    pub data: Dataset,
    /// What each backward pass computes anew.
    pub checkpointing: Checkpointing,
    /// How often it writes.
    pub cadence: Cadence,
    /// What stops it early.
    pub interrupt: &'a Interrupt,
    /// Whether to stop before anything is written.
    pub dry_run: bool,
}

impl Session<'_> {
    /// Trains from where the directory stands to `steps`; `open` makes the trainee, anew or from the steps
    /// done and the folder of a checkpoint.
    pub(super) fn train<T: Trainee>(
        self,
        settings: &impl Serialize,
        draws: DrawPlan,
        steps: u64,
        open: impl FnOnce(Option<(u64, &Path)>) -> Result<T>,
    ) -> Result<T> {
        let _lock = match self.dry_run {
            true => None,
            false => Some(self.directory.lock()?),
        };
        let checkpoint = self.directory.latest_checkpoint()?;
        let done = checkpoint.as_ref().map_or(0, |(step, _)| *step);
        anyhow::ensure!(
            done <= steps,
            "{} already holds {done} steps; give --steps {done} or more, or another --out",
            self.directory.path("").display()
        );
        draws.ensure_memory(&self.data)?;
        if self.dry_run {
            let said = format!("dry run: {done} of {steps} steps are done; nothing was written");
            return Err(DryRun(said).into());
        }
        self.directory.begin(settings, done)?;
        let from = checkpoint
            .as_ref()
            .map(|(step, folder)| (*step, folder.as_path()));
        let mut trainee = open(from)?;
        let plan = RunPlan {
            done,
            steps,
            batch: draws.batch,
            log_every: self.cadence.log_every,
            checkpoint_every: self.cadence.checkpoint_every,
            keep_every: self.cadence.keep_every,
        };
        let batches = Prefetch::start(draws, self.data, done..steps)?;
        run(&plan, self.directory, &mut trainee, batches, self.interrupt)?;
        Ok(trainee)
    }

    /// Refuses data that `model` was not made for; `name` is what the user calls the data.
    pub(super) fn check_data(&self, model: &Dit, name: &str) -> Result<()> {
        check_data(&self.data, name, model.layout(), model.config().num_classes)
    }
}
