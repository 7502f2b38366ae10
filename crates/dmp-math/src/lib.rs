//! Diffusion arithmetic without tensors and without I/O, in f64.
//!
//! | module | what it holds |
//! |---|---|
//! | [`schedule`] | noise schedules: the betas of `linear` and `squaredcos_cap_v2` |
//! | [`respacing`] | which training timesteps a shorter sampler visits: `"250"`, `"ddim50"`, `"10,15,20"` |
//! | [`diffusion`] | per-step tables of the Gaussian process, learned-range variance, DDIM coefficients, SNR |
//! | [`weight`] | loss weights over timesteps: constant, min-SNR-γ, P2 |
//! | [`timesteps`] | how often training draws each timestep |
//! | [`seed`] | one random stream per (seed, purpose, index) |
//! | [`moments`] | streaming, mergeable mean and covariance of feature rows |
//! | [`frechet`] | Fréchet distance between two Gaussians |
//! | [`features`] | rows of features, checked |
//! | [`kernel_distance`](mod@kernel_distance) | kernel distance (KID) between two sets of rows |
//! | [`manifold`](mod@manifold) | precision, recall, density and coverage of one set of rows in another |
//! | [`inception_score`](mod@inception_score) | Inception score of a classifier's logits |
//! | [`student`] | quantiles of Student's t, for intervals around a mean of few values |
//! | [`resample`] | resizing as PIL does it |
//! | [`grid`] | from values on one grid of points to another |
//! | [`reference_random`] | numpy's random choices, so that subsets are those of the reference evaluators |
//!
//! Nothing here knows an image, a network or a file; sampler and loss code in `dmp-model` takes its
//! scalars from these tables, so a schedule is computed once, in double precision, in one place.

pub mod diffusion;
pub mod entropy;
pub mod features;
pub mod frechet;
pub mod grid;
pub mod inception_score;
pub mod kernel_distance;
mod linear;
pub mod manifold;
pub mod moments;
mod normal;
pub mod reference_random;
pub mod resample;
pub mod respacing;
pub mod schedule;
pub mod seed;
pub mod student;
pub mod timesteps;
pub mod weight;

pub use diffusion::{DdimStep, Diffusion};
pub use features::{Features, FeaturesError};
pub use frechet::{FrechetError, frechet_distance, frechet_distance_of_means};
pub use inception_score::inception_score;
pub use kernel_distance::{Estimate, KernelSettings, kernel_distance};
pub use manifold::{Manifold, manifold};
pub use moments::{Gaussian, Moments, MomentsError};
pub use respacing::RespacingError;
pub use schedule::{BetaSchedule, UnknownSchedule};
pub use seed::{Purpose, Stream, stream};
pub use timesteps::{TimestepDraw, Timesteps, UnknownTimesteps};
pub use weight::{LossWeight, LossWeightError};
