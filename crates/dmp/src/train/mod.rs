//! The two things that train: a whole backbone, and a patch on a frozen one.

use std::path::Path;

use anyhow::{Context, Result};

mod backbone;
mod patch;
mod rate;
mod record;

pub use backbone::{BackboneSettings, BackboneTrainee};
pub use patch::{Cadence, PatchSettings, PatchTrainee, train_patch};
pub use rate::{Decay, RateSchedule};

/// A file of a checkpoint.
fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| {
        format!(
            "{}: cannot be read; delete this checkpoint to go on from the one before",
            path.display()
        )
    })
}
