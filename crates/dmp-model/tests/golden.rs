//! Agreement with the method's public PyTorch implementation, on tiny random models.
//!
//! Reads the folder named by `DMP_GOLDEN`, else the repository's copy: every case folder found, whatever
//! its sizes. Prints one line a case with its largest relative error.

#[path = "golden/case.rs"]
mod case;
#[path = "golden/forward.rs"]
mod forward;
#[path = "golden/public.rs"]
mod public;
#[path = "golden/sampling.rs"]
mod sampling;
#[path = "golden/training.rs"]
mod training;

/// What computes here.
fn device() -> burn::tensor::Device {
    burn::tensor::Device::flex()
}
