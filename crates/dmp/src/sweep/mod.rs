//! A sweep: settings × seeds, each trained and measured, and one table of what came of them.
//!
//! | module | what it does |
//! |---|---|
//! | [`recipe`] | the file a user writes: flags, settings, grid, seeds |
//! | [`plan`] | which steps there are, in which order, where each keeps what it finds |
//! | [`record`] | what a step found, and whether that still holds |
//! | [`elsewhere`] | records of the same recipe from other machines |
//! | [`stamp`] | whether a file or folder that a flag names is still the same |
//! | [`pace`] | how long the rest takes |
//! | [`statistics`] | means over seeds, their errors and intervals |
//! | [`figure`] | the figures that evaluations give, and how they are written |
//! | [`results`] | everything found so far, as a table, as JSON and as a picture |
//!
//! Nothing here runs a step: `command::sweep` does, as processes of the program itself.

pub mod elsewhere;
pub mod figure;
pub mod pace;
pub mod plan;
pub mod recipe;
pub mod record;
pub mod results;
pub mod stamp;
pub mod statistics;

pub use elsewhere::Elsewhere;
pub use pace::Pace;
pub use plan::{Plan, Step, Work};
pub use recipe::{Evaluation, Recipe, Setting};
pub use record::Record;
pub use results::Results;
