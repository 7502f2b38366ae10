//! The noise schedule that a file says its model was trained with.

use dmp_math::schedule::{BetaSchedule, UnknownSchedule};

use super::{CheckpointError, TensorFile};

/// Metadata key of its name.
pub(super) const SCHEDULE_KEY: &str = "dmp.schedule";

/// What the file says; `None` when it does not.
pub(super) fn schedule_in(file: &TensorFile) -> Result<Option<BetaSchedule>, CheckpointError> {
    file.metadata
        .get(SCHEDULE_KEY)
        .map(|name| name.parse())
        .transpose()
        .map_err(|error: UnknownSchedule| CheckpointError::Metadata {
            key: SCHEDULE_KEY,
            reason: error.to_string(),
        })
}

/// Its number in tensors of settings.
pub(super) fn schedule_number(schedule: BetaSchedule) -> f32 {
    match schedule {
        BetaSchedule::Linear => 0.0,
        BetaSchedule::SquaredCosine => 1.0,
    }
}
