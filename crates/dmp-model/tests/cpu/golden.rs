//! Agreement with the method's public PyTorch implementation, on tiny random models.
//!
//! Reads the folder named by `DMP_GOLDEN`, else the repository's copy: every case folder found, whatever
//! its sizes. Prints one line a case with its largest relative error.

mod case;
mod forward;
mod public;
mod sampling;
mod training;

/// What computes here.
fn device() -> burn::tensor::Device {
    burn::tensor::Device::flex()
}
