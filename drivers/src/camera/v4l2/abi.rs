//! The kernel's interface, from `linux/videodev2.h`: what is used of it, on 64-bit processors.
//!
//! Sizes, places and request numbers are checked against those that `tests/camera/videodev2.c` prints.
#![allow(unsafe_code, reason = "requests to a driver pass a pointer")]

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

pub(super) const CAP_VIDEO_CAPTURE: u32 = 0x0000_0001;
pub(super) const CAP_VIDEO_OUTPUT: u32 = 0x0000_0002;
pub(super) const CAP_VIDEO_CAPTURE_MPLANE: u32 = 0x0000_1000;
pub(super) const CAP_VIDEO_OUTPUT_MPLANE: u32 = 0x0000_2000;
pub(super) const CAP_VIDEO_M2M_MPLANE: u32 = 0x0000_4000;
pub(super) const CAP_VIDEO_M2M: u32 = 0x0000_8000;
pub(super) const CAP_META_CAPTURE: u32 = 0x0080_0000;
pub(super) const CAP_STREAMING: u32 = 0x0400_0000;
pub(super) const CAP_DEVICE_CAPS: u32 = 0x8000_0000;

pub(super) const BUF_TYPE_VIDEO_CAPTURE: u32 = 1;
pub(super) const MEMORY_MMAP: u32 = 1;
pub(super) const FIELD_NONE: u32 = 1;

pub(super) const BUF_FLAG_ERROR: u32 = 0x0000_0040;
pub(super) const BUF_FLAG_TIMESTAMP_MASK: u32 = 0x0000_e000;
pub(super) const BUF_FLAG_TIMESTAMP_MONOTONIC: u32 = 0x0000_2000;
pub(super) const BUF_FLAG_TSTAMP_SRC_MASK: u32 = 0x0007_0000;
pub(super) const BUF_FLAG_TSTAMP_SRC_SOE: u32 = 0x0001_0000;

pub(super) const PIX_FMT_MJPEG: u32 = u32::from_le_bytes(*b"MJPG");
pub(super) const PIX_FMT_JPEG: u32 = u32::from_le_bytes(*b"JPEG");
pub(super) const PIX_FMT_YUYV: u32 = u32::from_le_bytes(*b"YUYV");

pub(super) const QUERYCAP: Opcode = opcode::read::<Capability>(b'V', 0);
pub(super) const ENUM_FMT: Opcode = opcode::read_write::<FormatDescription>(b'V', 2);
pub(super) const S_FMT: Opcode = opcode::read_write::<FormatRequest>(b'V', 5);
pub(super) const REQBUFS: Opcode = opcode::read_write::<RequestBuffers>(b'V', 8);
pub(super) const QUERYBUF: Opcode = opcode::read_write::<Buffer>(b'V', 9);
pub(super) const QBUF: Opcode = opcode::read_write::<Buffer>(b'V', 15);
pub(super) const DQBUF: Opcode = opcode::read_write::<Buffer>(b'V', 17);
pub(super) const STREAMON: Opcode = opcode::write::<u32>(b'V', 18);
pub(super) const S_PARM: Opcode = opcode::read_write::<StreamParameters>(b'V', 22);

/// `v4l2_capability`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Capability {
    pub(super) driver: [u8; 16],
    pub(super) card: [u8; 32],
    pub(super) bus_info: [u8; 32],
    pub(super) version: u32,
    pub(super) capabilities: u32,
    pub(super) device_caps: u32,
    pub(super) reserved: [u32; 3],
}

/// `v4l2_fmtdesc`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct FormatDescription {
    pub(super) index: u32,
    pub(super) kind: u32,
    pub(super) flags: u32,
    pub(super) description: [u8; 32],
    pub(super) pixel_format: u32,
    pub(super) mbus_code: u32,
    pub(super) reserved: [u32; 3],
}

/// `v4l2_pix_format`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct PixelLayout {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) pixel_format: u32,
    pub(super) field: u32,
    pub(super) bytes_per_line: u32,
    pub(super) size_image: u32,
    pub(super) rest: [u32; 6],
}

/// `v4l2_format`, whose union holds pointers in other uses and is aligned for them.
#[repr(C, align(8))]
#[derive(Clone, Copy, Default)]
pub(super) struct FormatRequest {
    pub(super) kind: u32,
    pub(super) padding: u32,
    pub(super) pixels: PixelLayout,
    pub(super) rest: [[u8; 8]; 19],
}

/// `v4l2_streamparm` for capture.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct StreamParameters {
    pub(super) kind: u32,
    pub(super) capability: u32,
    pub(super) mode: u32,
    pub(super) period_numerator: u32,
    pub(super) period_denominator: u32,
    pub(super) rest: [[u8; 8]; 23],
}

/// `v4l2_requestbuffers`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct RequestBuffers {
    pub(super) count: u32,
    pub(super) kind: u32,
    pub(super) memory: u32,
    pub(super) capabilities: u32,
    pub(super) flags: [u8; 4],
}

/// `v4l2_buffer`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Buffer {
    pub(super) index: u32,
    pub(super) kind: u32,
    pub(super) bytes_used: u32,
    pub(super) flags: u32,
    pub(super) field: u32,
    pub(super) stamp_s: i64,
    pub(super) stamp_us: i64,
    pub(super) timecode: [u32; 4],
    pub(super) sequence: u32,
    pub(super) memory: u32,
    /// A union of pointers; the place in the device's memory is its first half.
    pub(super) offset: [u32; 2],
    pub(super) length: u32,
    pub(super) reserved: u32,
    pub(super) request_fd: i32,
}

/// Asks the driver, with `value` as argument and answer.
pub(super) fn call<const OPCODE: Opcode, T: Copy>(fd: BorrowedFd<'_>, value: &mut T) -> Result<(), Errno> {
    // The request carries the size of its argument (asm-generic/ioctl.h: 14 bits from bit 16).
    const { assert!(((OPCODE >> 16) & 0x3fff) as usize == size_of::<T>()) };
    // SAFETY: the kernel reads and writes as many bytes as the request says, which are those of `value`; the
    // types above are plain numbers, for which all bytes are valid, and none of the requests used here makes
    // the kernel follow a pointer in them.
    unsafe { ioctl(fd, Updater::<OPCODE, T>::new(value)) }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    /// As `tests/camera/videodev2.c` prints it, for x86-64 and AArch64.
    #[test]
    fn layouts_are_those_of_the_kernel() {
        assert_eq!(size_of::<Capability>(), 104);
        assert_eq!(size_of::<FormatDescription>(), 64);
        assert_eq!(size_of::<FormatRequest>(), 208);
        assert_eq!(size_of::<PixelLayout>(), 48);
        assert_eq!(size_of::<StreamParameters>(), 204);
        assert_eq!(size_of::<RequestBuffers>(), 20);
        assert_eq!(size_of::<Buffer>(), 88);
        assert_eq!(offset_of!(Capability, capabilities), 84);
        assert_eq!(offset_of!(Capability, device_caps), 88);
        assert_eq!(offset_of!(FormatDescription, pixel_format), 44);
        assert_eq!(offset_of!(FormatRequest, pixels), 8);
        assert_eq!(offset_of!(PixelLayout, bytes_per_line), 16);
        assert_eq!(offset_of!(PixelLayout, size_image), 20);
        assert_eq!(offset_of!(StreamParameters, period_numerator), 12);
        assert_eq!(offset_of!(RequestBuffers, memory), 8);
        assert_eq!(offset_of!(Buffer, stamp_s), 24);
        assert_eq!(offset_of!(Buffer, timecode), 40);
        assert_eq!(offset_of!(Buffer, sequence), 56);
        assert_eq!(offset_of!(Buffer, memory), 60);
        assert_eq!(offset_of!(Buffer, offset), 64);
        assert_eq!(offset_of!(Buffer, length), 72);
        assert_eq!(offset_of!(Buffer, request_fd), 80);
    }

    #[test]
    fn requests_are_those_of_the_kernel() {
        assert_eq!(
            [QUERYCAP, ENUM_FMT, S_FMT, S_PARM, REQBUFS],
            [0x8068_5600, 0xc040_5602, 0xc0d0_5605, 0xc0cc_5616, 0xc014_5608]
        );
        assert_eq!([QUERYBUF, QBUF, DQBUF, STREAMON], [0xc058_5609, 0xc058_560f, 0xc058_5611, 0x4004_5612]);
        assert_eq!([PIX_FMT_MJPEG, PIX_FMT_YUYV, PIX_FMT_JPEG], [0x4750_4a4d, 0x5659_5559, 0x4745_504a]);
    }
}
