//! Devices behind a graphics API.

use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::{Device, DeviceKind, DeviceType};

use super::{Adapters, DeviceError, DeviceName, guarded};

/// What a graphics API is called, where its devices are found, and what to say where there is none.
struct Api {
    name: DeviceName,
    devices: DeviceType,
    backend: WgpuBackend,
    lacking: &'static str,
}

/// An Apple GPU, started.
#[cfg(feature = "metal")]
pub fn metal(adapters: Adapters) -> Result<Device, DeviceError> {
    let api = Api {
        name: DeviceName::Metal,
        devices: DeviceType::Metal,
        backend: WgpuBackend::Metal,
        lacking: "this machine has no Metal; it is Apple's, so give another device",
    };
    api.open(adapters, Device::metal(DeviceKind::Cpu))
}

/// A device with a Vulkan driver, started.
#[cfg(feature = "vulkan")]
pub fn vulkan(adapters: Adapters) -> Result<Device, DeviceError> {
    let api = Api {
        name: DeviceName::Vulkan,
        devices: DeviceType::Vulkan,
        backend: WgpuBackend::Vulkan,
        lacking: "this machine has no Vulkan driver; install your card's, or Mesa's software device to try it out \
                  (Debian: mesa-vulkan-drivers)",
    };
    api.open(adapters, Device::vulkan(DeviceKind::Cpu))
}

impl Api {
    /// The adapter that the API thinks best; `software` is the one that is no hardware.
    fn open(self, adapters: Adapters, software: Device) -> Result<Device, DeviceError> {
        let name = self.name;
        let fails = |reason| DeviceError::Fails { name, reason };
        let found = guarded(|| Device::enumerate(self.devices)).map_err(|fault| fails(fault.0))?;
        let counts = |device: &Device| adapters == Adapters::All || *device != software;
        if !found.iter().any(counts) {
            let lacking = self.lacking.to_owned();
            return Err(DeviceError::Missing { name, lacking });
        }
        // It prefers hardware to software.
        guarded(|| Device::wgpu_options().graphics_api(self.backend).init())
            .map_err(|fault| fails(fault.0))?
            .map_err(|error| fails(error.to_string()))
    }
}
