//! What trains: a whole backbone (from scratch, or fine-tuned), and a patch or a LoRA on a frozen one.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use dmp_model::checkpoint::TensorFile;

mod accumulate;
mod args;
mod backbone;
mod estimate;
mod frozen;
mod learner;
mod lora;
mod patch;
mod rate;
mod record;
mod session;
#[cfg(test)]
mod tests;

pub use args::{LoopArgs, note_warmup};
pub use backbone::{BackboneSettings, BackboneTrainee, train_backbone};
pub use estimate::{Estimate, Work};
pub use lora::{LoraSettings, LoraTrainee, train_lora};
pub use patch::{PatchSettings, PatchTrainee, train_patch};
pub use rate::{Decay, RateSchedule};
pub use session::{Cadence, Session};

/// Whether a setting is what it is where nothing is said: such are not written, so that runs begun before there was one go
/// on.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A file of a checkpoint.
fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| unusable(path))
}

/// The tensors in a file of a checkpoint.
fn read_tensors(path: &Path) -> Result<TensorFile> {
    // What the reader says of damaged files is to copy them again, and there is no other copy.
    TensorFile::from_bytes(&read(path)?).map_err(|_| anyhow::anyhow!(unusable(path)))
}

/// Refuses what is in a checkpoint where it is not of the form that the settings say.
fn same_form(same: bool) -> Result<()> {
    ensure!(
        same,
        "is of a run with other settings; delete this checkpoint, or give another --out"
    );
    Ok(())
}

fn unusable(path: &Path) -> String {
    format!(
        "{}: cannot be read; delete this checkpoint to go on from the one before",
        path.display()
    )
}
