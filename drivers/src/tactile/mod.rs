//! Tactile pads over serial ports, as nodes that publish on [`Topics::tactile`](crate::Topics::tactile).
//!
//! | module | does |
//! |---|---|
//! | [`TactileConfig`] | which port, format, shape, zero and scale |
//! | [`decode`] | bytes → frames, for each format; pure, bounded, finds its way back after noise |
//! | [`taxels`] | the frame that a microcontroller of your own sends, with the code for it |
//! | [`baseline`] | what the pad says untouched, which is taken off |
//! | [`TactileNode`] | the thread that reads, stamps and publishes |
//! | [`simulator`] | a pad on a pseudo terminal, and seeded faults in its bytes |
//!
//! # What is published
//! `std_msgs/Float32MultiArray` with the axes `rows`, `columns`, `channels`, the last fastest. A value is
//! `(raw - baseline) · scale[channel]`. With the scale set, that is newtons: the channels are shear across,
//! shear along and normal force (the last is the normal force, whatever the number of channels). With the
//! default scale of 1 it is what the device speaks: µT for AnySkin, which is *not* a force until calibrated.
//!
//! # Stamps
//! A frame's stamp is the link's time at which the read that brought its first byte came back, and travels
//! as the source time of the attachment (the message has no header). Nothing is guessed: the time that the
//! sensor took to sample, the wire (7 ms for 82 bytes at 115,200 baud on a real UART), the USB adapter (an
//! FTDI one waits up to 16 ms unless its latency timer is 1) and the kernel's buffer lie before it.
//!
//! When several frames wait, only the newest is published; the older ones are counted.
//!
//! # What each format can find out about its bytes
//! | format | lost, added bytes | changed bytes |
//! |---|---|---|
//! | `taxels` | all, but for 1 in 2³² (CRC-32) | the same |
//! | `anyskin` | unless they are whole frames in number | no more than non-finite, huge and tiny values |
//! | `anyskin_ascii` | unless the line keeps its number of readable values | the same |
//!
//! AnySkin's own frames carry no checksum and no number: a wrong mantissa is a plausible wrong value, and no
//! driver can tell. Where that matters, program the board to send `taxels`.
//!
//! Wrong frames believed, of 60,000 of 5 taxels (10 min at 100 Hz, simulated, November 2026; `ten_minutes_...`
//! in `tests/tactile_decode.rs` prints them):
//!
//! | format | faults | damaged | wrong and believed |
//! |---|---|---|---|
//! | `taxels` | 5e-4 of the bytes lost, 5e-4 changed | 4,159 | 0 |
//! | `anyskin` | 1e-3 lost | 4,710 | 0 |
//! | `anyskin` | 1e-3 lost, 1e-4 changed | 5,024 | 235 |
//! | `anyskin_ascii` | 1e-3 lost | 6,867 | 4,176 |
//!
//! So text is for a first look only: a lost digit is a wrong value.

pub mod baseline;
mod config;
pub mod decode;
mod node;
mod reader;
pub mod simulator;
mod stats;
pub mod taxels;

pub use config::{TactileConfig, TactileConfigError, TactileFormat};
pub use decode::{DecodeCounts, Decoder, Frame};
pub use node::{TactileError, TactileNode};
pub use stats::TactileStats;
