//! What a model is computed on: the names a user may give, and the devices behind them.
//!
//! The CPU is in every build; `cuda`, `metal` and `vulkan` are Cargo features, and one build can hold several. A device
//! is tried before it is handed out, so that what is missing is said in one sentence and before any work.

#[cfg(feature = "cuda")]
mod cuda;
mod fault;
#[cfg(any(feature = "metal", feature = "vulkan"))]
mod graphics;

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

pub use fault::{DeviceFault, guarded};

/// A device, as `--device` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceName {
    /// The best one that this build holds and this machine has.
    #[default]
    Auto,
    /// The CPU, with the fused kernels.
    Cpu,
    /// An NVIDIA card by its number.
    Cuda(u16),
    /// An Apple GPU.
    Metal,
    /// Whatever has a Vulkan driver, Mesa's software device included.
    Vulkan,
}

/// Why there is no such device.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The build lacks it.
    #[error(
        "this binary was built without {feature}; build it with: cargo build --release --features {feature}"
    )]
    NotBuilt {
        /// The Cargo feature that brings it.
        feature: &'static str,
    },
    /// The machine lacks it.
    #[error("--device {name}: {lacking}, or leave --device out")]
    Missing {
        /// What was asked for.
        name: DeviceName,
        /// What there is not, and what would bring it.
        lacking: String,
    },
    /// It is there and does not start.
    #[error(
        "--device {name}: the device is there but does not start ({reason}); see to its driver, or give --device cpu"
    )]
    Fails {
        /// What was asked for.
        name: DeviceName,
        /// What the driver said.
        reason: String,
    },
}

impl DeviceName {
    /// The device itself, ready to compute.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self {
            Self::Auto => Ok(best()),
            Self::Cpu => Ok(Device::flex()),
            Self::Cuda(number) => cuda(number),
            Self::Metal => metal(),
            Self::Vulkan => vulkan(Adapters::All),
        }
    }
}

/// What a device is called: `cpu`, or the name that its driver gives it.
pub fn describe(device: &Device) -> String {
    #[cfg(any(feature = "cuda", feature = "metal", feature = "vulkan"))]
    if let Some(identity) = device.identity() {
        return identity.name;
    }
    debug_assert!(dmp_model::fused::available(device));
    "cpu".to_owned()
}

/// Which of a graphics API's adapters count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(any(feature = "metal", feature = "vulkan")), allow(dead_code))]
enum Adapters {
    /// GPUs and software.
    All,
    /// GPUs alone: software that plays one is slower than our kernels for the CPU.
    Gpus,
}

/// The first accelerator that starts, else the CPU.
fn best() -> Device {
    let accelerators = [|| cuda(0), metal, || vulkan(Adapters::Gpus)];
    for open in accelerators {
        match open() {
            Ok(device) => return device,
            Err(DeviceError::NotBuilt { .. } | DeviceError::Missing { .. }) => {}
            // A card that is there and not used is worth a line; the work goes on.
            Err(error @ DeviceError::Fails { .. }) => tracing::warn!("{error}"),
        }
    }
    Device::flex()
}

#[cfg(feature = "cuda")]
fn cuda(number: u16) -> Result<Device, DeviceError> {
    cuda::open(number)
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: u16) -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt { feature: "cuda" })
}

#[cfg(feature = "metal")]
fn metal() -> Result<Device, DeviceError> {
    graphics::metal(Adapters::All)
}

#[cfg(not(feature = "metal"))]
fn metal() -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt { feature: "metal" })
}

#[cfg(feature = "vulkan")]
fn vulkan(adapters: Adapters) -> Result<Device, DeviceError> {
    graphics::vulkan(adapters)
}

#[cfg(not(feature = "vulkan"))]
fn vulkan(_: Adapters) -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt { feature: "vulkan" })
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal => f.write_str("metal"),
            Self::Vulkan => f.write_str("vulkan"),
        }
    }
}

impl FromStr for DeviceName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => return Ok(Self::Auto),
            "cpu" => return Ok(Self::Cpu),
            "cuda" => return Ok(Self::Cuda(0)),
            "metal" => return Ok(Self::Metal),
            "vulkan" => return Ok(Self::Vulkan),
            _ => {}
        }
        text.strip_prefix("cuda:")
            .and_then(|number| number.parse().ok())
            .map(Self::Cuda)
            .ok_or("give auto, cpu, cuda, cuda:N (card N, counted from 0), metal or vulkan")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_shown() {
        for name in ["auto", "cpu", "cuda", "cuda:3", "metal", "vulkan"] {
            assert_eq!(name.parse::<DeviceName>().unwrap().to_string(), name);
        }
        assert_eq!("cuda:0".parse(), Ok(DeviceName::Cuda(0)));
        for name in ["gpu", "CUDA", "cuda:", "cuda:-1", "cuda:70000", ""] {
            let error = name.parse::<DeviceName>().unwrap_err();
            for known in ["auto", "cpu", "cuda:N", "metal", "vulkan"] {
                assert!(error.contains(known), "{name}: {error}");
            }
        }
    }

    /// What a build lacks is named with the command that brings it.
    #[test]
    fn a_device_outside_the_build_is_refused_with_the_mend() {
        let outside = [
            (cfg!(feature = "cuda"), DeviceName::Cuda(1), "cuda"),
            (cfg!(feature = "metal"), DeviceName::Metal, "metal"),
            (cfg!(feature = "vulkan"), DeviceName::Vulkan, "vulkan"),
        ];
        for (_, name, feature) in outside.into_iter().filter(|(built, _, _)| !built) {
            let error = name.open().unwrap_err().to_string();
            assert!(error.contains(&format!("--features {feature}")), "{error}");
        }
        assert_eq!(DeviceName::Cpu.open().unwrap(), Device::flex());
    }
}
