//! What trainings beside a frozen backbone share.

use anyhow::Result;
use dmp_math::schedule::BetaSchedule;
use dmp_model::checkpoint::{BackboneFile, PatchMetadata};
use dmp_model::dit::Dit;

/// What the file of an addition to `backbone` will say of itself; a user calls the addition `kind` and the backbone `name`.
pub(super) fn metadata(
    kind: &str,
    name: &str,
    backbone: &BackboneFile,
    schedule: BetaSchedule,
) -> PatchMetadata {
    let size = backbone.model.config().input_size;
    PatchMetadata {
        base_sha256: backbone.fingerprint.clone(),
        schedule,
        architecture: "dit".to_owned(),
        title: format!("{kind} of {name}"),
        resolution: format!("{size}x{size}"),
        date: crate::today(),
    }
}

/// Verifies that not a byte of the backbone has changed since its [`Dit::frozen_hash`] was `before`.
pub(super) fn verify(backbone: &Dit, before: &str) -> Result<()> {
    anyhow::ensure!(
        backbone.frozen_hash() == before,
        "the frozen backbone changed during training; this is a fault of the program, please report it"
    );
    Ok(())
}
