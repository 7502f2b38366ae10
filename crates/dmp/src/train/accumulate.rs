//! A worker's images a few at a time: gradients add up, and memory is what the few need.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};

use crate::run::{HostBatch, StepRecord};

/// Parts of one after the other that a worker's images are computed in, if nothing else is said.
pub(super) fn one() -> usize {
    1
}

/// Whether it is that; such is not written.
pub(super) fn is_one(parts: &usize) -> bool {
    *parts == 1
}

/// Gradients and figures of `part`, computed in at most `parts` pieces: `of` gives those of a piece, and the share of the whole
/// batch that its figures count for is its images' in `batch`.
pub(super) fn over_pieces<M: Module>(
    module: &M,
    part: &HostBatch,
    parts: usize,
    batch: usize,
    of: impl Fn(&HostBatch, f64) -> (GradientsParams, StepRecord),
) -> (GradientsParams, StepRecord) {
    let mut record = StepRecord::default();
    let mut sum = GradientsAccumulator::new();
    for piece in part.split(parts) {
        let share = piece.len() as f64 / batch as f64;
        let (gradients, figures) = of(&piece, share);
        record.add_share(&figures, share);
        sum.accumulate(module, gradients);
    }
    (sum.grads(), record)
}
