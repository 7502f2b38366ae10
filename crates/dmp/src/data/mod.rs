//! Training images: what they are, the order they are drawn in, and those embedded for the demo.
//!
//! | module | what it holds |
//! |---|---|
//! | [`classes`] | some of the classes, as a user names them |
//! | [`dataset`] | images and labels in memory, and their scaling to [-1, 1] |
//! | [`order`] | which images a training step sees, as a function of (seed, step) |
//! | [`open`](mod@open) | whatever a user names |
//! | [`source`] | images in folders, tar and parquet files, one by one |
//! | [`latents`] | a folder of what an autoencoder says of images |
//! | [`array`](mod@array) | images in an `.npz` |
//! | [`picture`] | an image from a file, and ADM's centre crop |
//! | [`statistics`] | the file of feature statistics that Fréchet distances are measured against |
//! | [`demo`] | the embedded images, feature network and reference statistics |

pub mod array;
pub mod classes;
pub mod dataset;
pub mod demo;
mod error;
pub mod latents;
pub mod open;
pub mod order;
pub mod picture;
pub mod source;
pub mod statistics;

pub use classes::Classes;
pub use dataset::{Dataset, ImageShape, Latents, to_unit};
pub use error::DataError;
pub use open::{Wanted, open};
pub use order::{Batch, BatchIndices};
pub use picture::Picture;
pub use source::Source;
pub use statistics::{Split, StatisticsError};
