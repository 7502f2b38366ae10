//! Networks whose features a Fréchet distance is measured in, and their files.
//!
//! | module | what it holds |
//! |---|---|
//! | [`fashion`] | a small CNN for 28 × 28 grey images: 128 features, 10 classes |
//! | `weights` | its safetensors file, read strictly by `checkpoint` |

pub mod fashion;
mod weights;

pub use fashion::{FashionCnn, FeatureOutput};
pub use weights::FeatureError;
