//! The loop that every training shares: steps, statistics, checkpoints, interruption.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use super::{HostBatch, Interrupt, Interrupted, RunDir, StepRecord, Window, progress_bar};

/// Something that learns from batches and can be put down and taken up again.
pub trait Trainee {
    /// Takes one step; `step` counts from 0.
    fn step(&mut self, step: u64, batch: &HostBatch) -> Result<StepRecord>;

    /// Writes everything needed to go on exactly into an empty folder.
    fn save(&self, folder: &Path) -> Result<()>;
}

/// A squared error of the predicted noise, above which nothing has been learnt: noise has variance 1.
const NO_PREDICTION: f64 = 1.1;

/// How long and how often.
#[derive(Debug, Clone)]
pub struct RunPlan {
    /// Steps already done.
    pub done: u64,
    /// Steps in all.
    pub steps: u64,
    /// Images a step.
    pub batch: usize,
    /// Steps between lines of statistics.
    pub log_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Checkpoints at multiples of this are never removed.
    pub keep_every: Option<u64>,
}

/// Runs `trainee` over `batches` to the end of the plan; on `interrupt` it writes a checkpoint and gives
/// [`Interrupted`].
pub fn run(
    plan: &RunPlan,
    directory: &RunDir,
    trainee: &mut impl Trainee,
    mut batches: impl Iterator<Item = HostBatch>,
    interrupt: &Interrupt,
) -> Result<()> {
    let bar = progress_bar(plan.steps, plan.done, "steps").with_prefix("training");
    let mut window = Window::default();
    let mut since = Instant::now();
    // Weights of the loss may make it large from the beginning.
    let mut began = (directory.stats()?.first()).and_then(|line| line.began_at_mse);
    for step in plan.done..plan.steps {
        let Some(batch) = batches.next() else {
            anyhow::bail!(
                "the data ended at step {step}; this is a fault of the program, please report it"
            );
        };
        let record = trainee.step(step, &batch)?;
        anyhow::ensure!(
            step > 0 || record.loss.is_finite(),
            "the loss is {} before anything is learnt; check the backbone and the data, and give less of --importance and --load",
            record.loss
        );
        anyhow::ensure!(
            record.loss.is_finite(),
            "the loss is {} at step {step}; train again into another --out, with a lower learning rate or --clip-norm",
            record.loss
        );
        // The loss is of the weights before the step; what the step made of them must not be saved.
        anyhow::ensure!(
            record.grad_norm.is_finite(),
            "the gradient's norm is {} at step {step}; train again into another --out, with a lower learning rate or --clip-norm",
            record.grad_norm
        );
        if step == 0 {
            began = Some(record.mse);
            window.began_at_mse = began;
        }
        window.push(record);
        let done = step + 1;
        bar.inc(1);
        let stop = interrupt.asked() && done < plan.steps;
        let kept = plan
            .keep_every
            .is_some_and(|every| done.is_multiple_of(every));
        let checkpoint =
            done.is_multiple_of(plan.checkpoint_every) || kept || done == plan.steps || stop;
        // With a checkpoint too: a run that goes on from it has a whole line before it, and means over as many steps after it.
        if (done.is_multiple_of(plan.log_every) || checkpoint)
            && let Some(line) = window.take(done, plan.batch, since.elapsed().as_secs_f64())
        {
            bar.set_message(format!("loss {:.4}", line.mean.loss));
            directory.append_stats(&line)?;
            if done == plan.steps
                && let Some(began) = began
                && line.mean.mse > NO_PREDICTION.max(2.0 * began)
            {
                bar.suspend(|| {
                    crate::tell!(
                        "note: the squared error of the predicted noise ends at {:.3} where it began at {began:.3}: this training diverged; train \
                         again into another --out, with a lower learning rate",
                        line.mean.mse
                    );
                });
            }
            since = Instant::now();
        }
        if checkpoint {
            directory.save_checkpoint(done, plan.keep_every, |folder| trainee.save(folder))?;
        }
        if stop {
            bar.abandon();
            return Err(Interrupted(format!(
                "stopped after step {done}; run the same command to go on"
            ))
            .into());
        }
    }
    bar.finish_and_clear();
    Ok(())
}
