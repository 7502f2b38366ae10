//! Devices behind a graphics API.

use burn::tensor::Device;
use burn::tensor::wgpu::wgpu::DeviceType;
use burn::tensor::wgpu::{WgpuBackend, WgpuInitError};

use super::{Adapters, DeviceError, DeviceName, guarded};

/// An Apple GPU, started.
#[cfg(feature = "metal")]
pub fn metal(adapters: Adapters) -> Result<Device, DeviceError> {
    let lacking = "this machine has no Metal; it is Apple's, so give another device";
    open(DeviceName::Metal, WgpuBackend::Metal, adapters, lacking)
}

/// A device with a Vulkan driver, started.
#[cfg(feature = "vulkan")]
pub fn vulkan(adapters: Adapters) -> Result<Device, DeviceError> {
    let lacking = "this machine has no Vulkan driver; install your card's, or Mesa's software device to try it out \
                   (Debian: mesa-vulkan-drivers)";
    open(DeviceName::Vulkan, WgpuBackend::Vulkan, adapters, lacking)
}

/// The adapter that the API prefers, which is hardware where there is any; `lacking` is said where there is none.
fn open(
    name: DeviceName,
    api: WgpuBackend,
    adapters: Adapters,
    lacking: &str,
) -> Result<Device, DeviceError> {
    let missing = || DeviceError::Missing {
        name,
        lacking: lacking.to_owned(),
    };
    let fails = |reason| DeviceError::Fails { name, reason };
    let started = guarded(|| Device::wgpu_options().graphics_api(api).init_with_setup())
        .map_err(|fault| fails(fault.0))?;
    match started {
        Ok((device, setup)) => {
            let software = setup.adapter.get_info().device_type == DeviceType::Cpu;
            if software && adapters == Adapters::Gpus {
                return Err(missing());
            }
            Ok(device)
        }
        Err(
            WgpuInitError::AdapterUnavailable { .. } | WgpuInitError::UnsupportedGraphicsApi { .. },
        ) => Err(missing()),
        Err(error) => Err(fails(error.to_string())),
    }
}
