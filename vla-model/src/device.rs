//! Which device runs the model, chosen in the open.
//!
//! Order: a real GPU through wgpu where this build has it; otherwise the CPU. wgpu also offers
//! software adapters, which are slower than the CPU backend: they count as no GPU unless the GPU
//! was asked for by name. The choice never falls through silently: it comes with a sentence.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceChoice {
    /// A real GPU if there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU, a software adapter if there is no other; an error if there is none.
    Gpu,
}

/// A text that names no device choice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown device `{found}`, expected auto, cpu or gpu")]
pub struct UnknownDevice {
    /// The text.
    pub found: String,
}

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu),
            _ => Err(UnknownDevice { found: text.to_owned() }),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
        })
    }
}

/// What runs the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// The processor.
    Cpu,
    /// A graphics card.
    Gpu,
    /// A graphics interface that the processor emulates.
    SoftwareGpu,
}

/// A device that is ready, and why it was chosen.
#[derive(Clone, Debug)]
pub struct ChosenDevice {
    /// Where tensors go.
    pub device: Device,
    /// What it is.
    pub kind: DeviceKind,
    /// What it is, in words: `CPU, 2 threads`, `NVIDIA H200 (Vulkan)`.
    pub description: String,
    /// Why, in a sentence.
    pub reason: String,
}

/// Why there is no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// A GPU was asked for, and there is none.
    #[error("a GPU was asked for, but there is none: {reason}")]
    NoGpu {
        /// What the search found.
        reason: String,
    },
}

/// Chooses a device. The first call that looks for a GPU opens it, which may take a second; later
/// calls find it open.
///
/// # Errors
/// [`DeviceError::NoGpu`] when a GPU was asked for by name and none can be used.
pub fn choose(choice: DeviceChoice) -> Result<ChosenDevice, DeviceError> {
    match choice {
        DeviceChoice::Cpu => Ok(cpu("the CPU was asked for".to_owned())),
        DeviceChoice::Auto => Ok(match gpu() {
            Ok(found) if found.kind == DeviceKind::Gpu => found,
            Ok(found) => cpu(format!("the only GPU adapter, {}, is software", found.description)),
            Err(reason) => cpu(reason),
        }),
        DeviceChoice::Gpu => gpu()
            .map(|found| ChosenDevice { reason: "a GPU was asked for".to_owned(), ..found })
            .map_err(|reason| DeviceError::NoGpu { reason }),
    }
}

fn cpu(reason: String) -> ChosenDevice {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    ChosenDevice {
        device: Device::flex(),
        kind: DeviceKind::Cpu,
        description: format!("CPU, {threads} threads"),
        reason,
    }
}

#[cfg(not(feature = "gpu"))]
fn gpu() -> Result<ChosenDevice, String> {
    Err("this build has no GPU support (cargo feature `gpu`)".to_owned())
}

#[cfg(feature = "gpu")]
fn gpu() -> Result<ChosenDevice, String> {
    use std::sync::OnceLock;

    use burn::tensor::wgpu::wgpu::DeviceType;

    // The runtime can be opened once in a process.
    static FOUND: OnceLock<Result<ChosenDevice, String>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            let (device, setup) = Device::wgpu_options()
                .init_with_setup()
                .map_err(|error| format!("no graphics adapter could be opened ({error})"))?;
            let adapter = setup.adapter.get_info();
            let kind = if adapter.device_type == DeviceType::Cpu {
                DeviceKind::SoftwareGpu
            } else {
                DeviceKind::Gpu
            };
            Ok(ChosenDevice {
                device,
                kind,
                description: format!("{} ({:?})", adapter.name, setup.backend),
                reason: "it is the graphics card that wgpu prefers".to_owned(),
            })
        })
        .clone()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn the_cpu_is_always_there_and_says_why() {
        let chosen = choose(DeviceChoice::Cpu).unwrap();
        assert_eq!(chosen.kind, DeviceKind::Cpu);
        assert_eq!(chosen.reason, "the CPU was asked for");
    }

    #[cfg(not(feature = "gpu"))]
    #[test]
    fn a_build_without_gpu_falls_back_when_free_to_and_refuses_when_not() {
        let chosen = choose(DeviceChoice::Auto).unwrap();
        assert_eq!(chosen.kind, DeviceKind::Cpu);
        assert!(chosen.reason.contains("cargo feature `gpu`"));
        assert!(choose(DeviceChoice::Gpu).unwrap_err().to_string().contains("cargo feature `gpu`"));
    }

    #[test]
    fn names_round_trip() {
        for choice in [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Gpu] {
            assert_eq!(choice.to_string().parse::<DeviceChoice>().unwrap(), choice);
        }
        assert!("tpu".parse::<DeviceChoice>().is_err());
    }
}
