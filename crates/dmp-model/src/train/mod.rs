//! One step of training, for the patch alone or for a whole backbone.

mod ema;
mod objective;
mod optimizer;

pub use dmp_kernels::expected_noise::{Noised, expected_noise};
pub use ema::Ema;
pub use objective::{Balance, Objective, StepLoss};
pub use optimizer::{GradNorm, OptimizerStateError, PatchOptimizer, PatchRates, WholeOptimizer};
