//! How good images are.
//!
//! | module | what it does |
//! |---|---|
//! | [`fashion`] | scores images of the embedded model with the embedded network |
//! | [`pictures`] | images one by one: from a folder, an array, a model |
//! | [`side`] | what is compared: images, statistics or features, from whatever a user names |
//! | [`extract`] | Inception's features of many images |
//! | [`weights`] | finds Inception's weights on this machine |
//! | [`figures`] | FID and its kin from features |
//! | [`loss`] | the denoising loss by noise level, bare and patched |
//! | [`feasible`] | whether what is asked for can be had of two sides |
//! | [`cache`] | features of a reference, kept between runs |

pub mod cache;
pub mod extract;
pub mod fashion;
pub mod feasible;
pub mod figures;
pub mod loss;
pub mod pictures;
pub mod side;
pub mod weights;

pub use fashion::{METRIC, Score, score};
