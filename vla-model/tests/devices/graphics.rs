//! The GPU of this machine, where a test may use it.

use reflexarc_vla_model::device::{ChosenDevice, DeviceChoice, DeviceKind, choose};

/// Environment variable that lets a software adapter count as a GPU.
const SOFTWARE_TOO: &str = "REFLEXARC_TEST_SOFTWARE_GPU";

/// The GPU; a software adapter only where the environment asks for it. Says why there is none.
pub(crate) fn gpu() -> Option<ChosenDevice> {
    match choose(DeviceChoice::Gpu) {
        Ok(gpu) if gpu.kind == DeviceKind::SoftwareGpu && std::env::var_os(SOFTWARE_TOO).is_none() => {
            println!("no GPU is tested: {} is software; set {SOFTWARE_TOO} to test it", gpu.description);
            None
        }
        Ok(gpu) => Some(gpu),
        Err(error) => {
            println!("no GPU is tested: {error}");
            None
        }
    }
}
