//! NVIDIA cards.

use burn::tensor::{Device, DeviceType};

use super::{DeviceError, DeviceName, guarded};

/// Card number `number`, started.
pub fn open(number: u16) -> Result<Device, DeviceError> {
    let name = DeviceName::Cuda(number);
    let fails = |reason| DeviceError::Fails { name, reason };
    let cards =
        guarded(|| Device::enumerate(DeviceType::Cuda).len()).map_err(|fault| fails(fault.0))?;
    if usize::from(number) >= cards {
        let lacking = match cards {
            0 => "this machine has no NVIDIA card with a driver; install the driver".to_owned(),
            1 => "this machine has one card; give --device cuda".to_owned(),
            _ => format!(
                "this machine has {cards} cards; give cuda:0 to cuda:{}",
                cards - 1
            ),
        };
        return Err(DeviceError::Missing { name, lacking });
    }
    let device = Device::cuda(usize::from(number));
    // Asking for its name starts it.
    guarded(|| device.identity()).map_err(|fault| fails(fault.0))?;
    Ok(device)
}
