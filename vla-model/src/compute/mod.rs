//! The arithmetic that every model here is made of: matrices, attention, convolutions, norms.
//!
//! A model is written once, on these operations, and runs wherever a [`Backend`] can: on the CPU with
//! kernels of this crate (in f32, bf16 storage, int8 or int4), or on a device of burn's, such as a GPU.
//!
//! | file | owns |
//! |---|---|
//! | [`rows`] | a matrix of activations, and how it is cut, stacked and gathered |
//! | [`dense`] | the layer: norm, matrix, bias, activation, residual in one pass |
//! | [`weight`] | a matrix of weights as a file holds it: floats, int8, int4 |
//! | [`norm`] | layer norm and root-mean-square norm |
//! | [`attention`] | scaled dot products over segments of keys |
//! | [`rope`] | rotary positions |
//! | [`conv`] | convolution and pooling on feature maps |
//! | [`roofline`] | what the processor can do at best |
//! | `cpu` | the kernels, chosen at run time by what the processor can do |
//! | `device` | the same operations on burn's tensors |
//!
//! On a device an operation only enqueues its work: it returns before the values exist, and
//! [`Rows::download`] waits for them.
//!
//! Shapes are checked where a model is loaded; an operation given others than it says panics.

pub mod attention;
pub mod conv;
pub(crate) mod cpu;
pub mod dense;
pub(crate) mod device;
pub mod norm;
pub mod roofline;
pub mod rope;
pub mod rows;
pub mod weight;

pub use attention::{Attention, Columns, KeysValues, Sight};
pub use conv::{Conv2d, ConvSpec, Maps};
pub use cpu::Isa;
pub use dense::{Activation, Dense, DenseSpec, Precision};
pub use norm::{Norm, NormKind};
pub use roofline::Roofline;
pub use rope::Rope;
pub use rows::Rows;
pub use weight::Weight;

use crate::device::{ChosenDevice, DeviceKind};

/// Where arithmetic is done. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Backend {
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Cpu(cpu::Cpu),
    Device(device::TensorDevice),
}

/// Why integers are turned to f32 on graphics cards. Measured on an NVIDIA H200 through Vulkan, where burn 0.22.1
/// panics at its first product of them (`benches/peers/README.md`). Other adapters give as little or less.
const NO_INTEGERS: &str = "burn's product of quantised matrices asks a graphics card for more workgroup memory \
     (73,728 bytes) than its driver gives (49,152), so they are turned to f32 when they are loaded";

/// A device that could not deliver a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the device failed: {reason}")]
pub struct ComputeError {
    /// What it said.
    pub reason: String,
}

impl Backend {
    /// The CPU with `threads` threads in all, the caller's included; 0 takes all that the process may use.
    #[must_use]
    pub fn cpu(threads: usize) -> Self {
        Self { kind: Kind::Cpu(cpu::Cpu::new(threads)) }
    }

    /// Tensors of burn on `device`, called `description` in reports.
    #[must_use]
    pub fn burn(device: &burn::tensor::Device, description: &str) -> Self {
        Self { kind: Kind::Device(device::TensorDevice::new(device, description)) }
    }

    /// As [`Backend::cpu`], with the kernels for `isa` and no more: for tests and comparisons. None where
    /// this processor, or the system, does not have it.
    #[must_use]
    pub fn cpu_with(threads: usize, isa: Isa) -> Option<Self> {
        Isa::available().contains(&isa).then(|| Self { kind: Kind::Cpu(cpu::Cpu::with_isa(threads, isa)) })
    }

    /// What computes, in words: `CPU, 2 threads, AVX-512 VNNI`.
    #[must_use]
    pub fn description(&self) -> String {
        match &self.kind {
            Kind::Cpu(cpu) => cpu.description(),
            Kind::Device(device) => device.description().to_owned(),
        }
    }

    /// Why layers that are asked for in `precision` are computed in f32 here; none where they are not.
    /// (On a device, matrices whose rows do not fill whole 32-bit words and convolutions are always f32.)
    #[must_use]
    pub fn fallback(&self, precision: Precision) -> Option<String> {
        match &self.kind {
            Kind::Cpu(_) => None,
            Kind::Device(device) => device.fallback(precision),
        }
    }
}

impl From<&ChosenDevice> for Backend {
    /// This crate's kernels on the CPU with all threads, burn's on every other device; on a graphics card
    /// without integers, see [`NO_INTEGERS`].
    fn from(chosen: &ChosenDevice) -> Self {
        let device = || device::TensorDevice::new(&chosen.device, &chosen.description);
        match chosen.kind {
            DeviceKind::Cpu => Self::cpu(0),
            DeviceKind::Gpu => Self { kind: Kind::Device(device().without_integers(NO_INTEGERS)) },
            DeviceKind::SoftwareGpu => Self { kind: Kind::Device(device()) },
        }
    }
}
