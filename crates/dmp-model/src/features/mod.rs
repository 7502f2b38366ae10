//! Networks whose features a Fréchet distance is measured in, and their files.
//!
//! | module | what it holds |
//! |---|---|
//! | [`fashion`] | a small CNN for 28 × 28 grey images: 128 features, 10 classes |
//! | [`inception`] | Inception-v3 as FID is defined with it |
//! | [`resize`] | images as Inception takes them, as each evaluator does it |
//! | `weights` | its safetensors file, read strictly by `checkpoint` |

pub mod fashion;
pub mod inception;
pub mod resize;
mod weights;

pub use fashion::{FashionCnn, FeatureOutput};
pub use inception::{Inception, InceptionError, InceptionOutput};
pub use resize::Preprocess;
pub use weights::FeatureError;
