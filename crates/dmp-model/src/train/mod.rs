//! One step of training, for the patch alone or for a whole backbone.

mod ema;
mod objective;
mod optimizer;

pub use ema::Ema;
pub use objective::{Balance, Objective, StepLoss};
pub use optimizer::{GradNorm, OptimizerStateError, PatchOptimizer, PatchRates, WholeOptimizer};
