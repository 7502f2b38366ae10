//! Long runs: the run directory, the loop with checkpoints and statistics, progress and interruption.

mod batch;
mod difference;
mod directory;
mod interrupt;
mod looping;
mod progress;
mod stats;
mod workers;

pub use batch::{DrawPlan, HostBatch, Prefetch, TargetPlan};
pub use difference::first_difference;
pub use directory::{RunDir, RunDirError, RunLock};
pub use interrupt::{DryRun, Interrupt, Interrupted};
pub use looping::{RunPlan, Trainee, run};
pub use progress::progress_bar;
pub use stats::{Line, StepRecord, Window};
pub use workers::Workers;
