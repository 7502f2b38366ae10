//! The two things that train: a whole backbone, and a patch on a frozen one.

mod backbone;
mod patch;
mod rate;
mod record;

pub use backbone::{BackboneSettings, BackboneTrainee};
pub use patch::{Cadence, PatchSettings, PatchTrainee, train_patch};
pub use rate::{Decay, RateSchedule};
