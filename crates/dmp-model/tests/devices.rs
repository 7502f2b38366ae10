//! The method on a GPU: the golden cases, and what they leave out, against the CPU.
//!
//! In builds with `cuda`, `metal` or `vulkan`. `DMP_DEVICE` names one of them; without it the first of the build is
//! taken. Sizes are tiny, so that Mesa's software device does for Vulkan.
#![cfg(any(feature = "cuda", feature = "metal", feature = "vulkan"))]

#[path = "cpu/golden/case.rs"]
mod case;
#[path = "devices/features.rs"]
mod features;
#[path = "cpu/golden/forward.rs"]
mod forward;
#[path = "devices/models.rs"]
mod models;
#[path = "cpu/golden/sampling.rs"]
mod sampling;
#[path = "cpu/golden/training.rs"]
mod training;

use burn::tensor::Device;

/// What computes here.
fn device() -> Device {
    let held: &[(&str, fn() -> Device)] = &[
        #[cfg(feature = "cuda")]
        ("cuda", || Device::cuda(0)),
        #[cfg(feature = "metal")]
        ("metal", || Device::metal(Default::default())),
        #[cfg(feature = "vulkan")]
        ("vulkan", vulkan),
    ];
    let wanted = std::env::var("DMP_DEVICE").ok();
    let (_, open) = held
        .iter()
        .find(|(name, _)| wanted.as_deref().is_none_or(|wanted| wanted == *name))
        .unwrap_or_else(|| panic!("DMP_DEVICE={wanted:?} is not in this build"));
    open()
}

/// The API is pinned when the device starts, which it does once in a process.
#[cfg(feature = "vulkan")]
fn vulkan() -> Device {
    static STARTED: std::sync::LazyLock<Device> = std::sync::LazyLock::new(|| {
        let options = Device::wgpu_options().graphics_api(burn::tensor::wgpu::WgpuBackend::Vulkan);
        options.init().expect("a device with a Vulkan driver")
    });
    STARTED.clone()
}

/// Does `work` on the CPU and here: each of its results must agree, ‖a − b‖ / ‖b‖ ≤ `tolerance`.
#[track_caller]
fn agrees_with_the_cpu(tolerance: f64, work: impl Fn(&Device) -> Vec<(String, Vec<f32>)>) {
    let (found, expected) = (work(&device()), work(&Device::flex()));
    assert_eq!(found.len(), expected.len());
    let mut off = Vec::new();
    for ((name, found), (_, expected)) in found.iter().zip(&expected) {
        assert_eq!(found.len(), expected.len(), "{name}");
        assert!(
            expected.iter().any(|x| *x != 0.0),
            "{name} is nothing but 0"
        );
        let error = case::relative_error(found, expected);
        println!("{name:<40} relative error {error:.2e}");
        if error.is_nan() || error > tolerance {
            off.push((name, error));
        }
    }
    assert!(off.is_empty(), "off by more than {tolerance}: {off:?}");
}
