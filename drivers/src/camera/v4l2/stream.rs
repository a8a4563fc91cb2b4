//! One open camera that streams into mapped buffers.
#![allow(unsafe_code, reason = "frames are read where the driver wrote them")]

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::Opcode;
use rustix::time::{ClockId, clock_gettime};

use super::super::config::PixelFormat;
use super::super::device::{Device, DeviceError, Format, Frame, Stamp};
use super::Request;
use super::abi::{
    self, Buffer, Capability, FormatDescription, FormatRequest, RequestBuffers, StreamParameters,
};
use super::mapping::Mapping;

/// Buffers asked for: one to decode, the others to be filled meanwhile.
const BUFFERS: u32 = 4;
/// More buffers than any driver gives.
const MAX_BUFFERS: u32 = 32;
/// More pixel formats than any camera has.
const MAX_FORMATS: u32 = 256;

pub(super) struct Stream {
    fd: OwnedFd,
    format: Format,
    buffers: Vec<Mapping>,
    /// Which buffers are ours to read; the others the driver may write.
    held: Vec<bool>,
    describe: String,
}

/// Opens a node that captures video; returns the name of its hardware too.
pub(super) fn open_node(path: &Path) -> Result<(OwnedFd, String), DeviceError> {
    let owned = || path.to_owned();
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT | Errno::NODEV | Errno::NXIO => DeviceError::Missing { path: owned() },
        Errno::ACCESS | Errno::PERM => DeviceError::Permission { path: owned() },
        errno => fault("open", errno),
    })?;
    let not_capture = |found: &str| DeviceError::NotCapture { path: owned(), found: found.to_owned() };
    let mut capability = Capability::default();
    abi::call::<{ abi::QUERYCAP }, _>(fd.as_fd(), &mut capability).map_err(|errno| match errno {
        Errno::NOTTY | Errno::INVAL => not_capture("no video device"),
        errno => fault("VIDIOC_QUERYCAP", errno),
    })?;
    let whole = capability.capabilities;
    let has = if whole & abi::CAP_DEVICE_CAPS != 0 { capability.device_caps } else { whole };
    if has & abi::CAP_VIDEO_CAPTURE == 0 {
        return Err(not_capture(kind(has)));
    }
    if has & abi::CAP_STREAMING == 0 {
        return Err(not_capture("video that can only be read"));
    }
    let card = capability.card.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok((fd, String::from_utf8_lossy(card).into_owned()))
}

/// What a device does that does not capture video.
fn kind(capabilities: u32) -> &'static str {
    let has = |flags| capabilities & flags != 0;
    if has(abi::CAP_VIDEO_M2M | abi::CAP_VIDEO_M2M_MPLANE) {
        "a codec"
    } else if has(abi::CAP_VIDEO_CAPTURE_MPLANE) {
        "video in several planes"
    } else if has(abi::CAP_VIDEO_OUTPUT | abi::CAP_VIDEO_OUTPUT_MPLANE) {
        "video output"
    } else if has(abi::CAP_META_CAPTURE) {
        "metadata"
    } else {
        "none of the known kinds"
    }
}

impl Stream {
    pub(super) fn open(request: &Request) -> Result<Self, DeviceError> {
        let (fd, card) = open_node(&request.device)?;
        let (format, name) = choose_format(&fd, request)?;
        let rate_hz = ask_rate(&fd, request.rate_hz);
        let buffers = map_buffers(&fd)?;
        let (width_px, height_px) = match format {
            Format::Mjpeg { width_px, height_px }
            | Format::Yuyv { width_px, height_px, .. }
            | Format::Rgb8 { width_px, height_px } => (width_px, height_px),
            Format::File => (0, 0),
        };
        let rate = rate_hz.map_or("its own rate".to_owned(), |rate_hz| format!("{rate_hz:.1} Hz"));
        let describe = format!("{card}, {width_px} x {height_px} {name} at {rate}");
        let held = vec![true; buffers.len()];
        let mut stream = Self { fd, format, buffers, held, describe };
        for slot in 0..stream.buffers.len() {
            stream.queue(slot)?;
        }
        let mut kind = abi::BUF_TYPE_VIDEO_CAPTURE;
        stream.call::<{ abi::STREAMON }, _>("VIDIOC_STREAMON", &mut kind)?;
        Ok(stream)
    }

    fn call<const OPCODE: Opcode, T: Copy>(
        &self,
        name: &'static str,
        value: &mut T,
    ) -> Result<(), DeviceError> {
        abi::call::<OPCODE, T>(self.fd.as_fd(), value).map_err(|errno| fault(name, errno))
    }

    /// Gives a held buffer to the driver.
    fn queue(&mut self, slot: usize) -> Result<(), DeviceError> {
        match self.held.get_mut(slot) {
            Some(held @ true) => *held = false,
            _ => return Ok(()),
        }
        // There are at most MAX_BUFFERS.
        self.call::<{ abi::QBUF }, _>("VIDIOC_QBUF", &mut buffer(slot as u32))
    }
}

/// The argument about the buffer `index`.
fn buffer(index: u32) -> Buffer {
    Buffer { index, kind: abi::BUF_TYPE_VIDEO_CAPTURE, memory: abi::MEMORY_MMAP, ..Buffer::default() }
}

fn fault(call: &'static str, errno: Errno) -> DeviceError {
    match errno {
        Errno::NODEV | Errno::NXIO => DeviceError::Gone,
        errno => DeviceError::Call { call, reason: errno.to_string() },
    }
}

/// Sets the format that the camera has and that fits best.
fn choose_format(fd: &OwnedFd, request: &Request) -> Result<(Format, &'static str), DeviceError> {
    let mut offered = Vec::new();
    for index in 0..MAX_FORMATS {
        let mut entry =
            FormatDescription { index, kind: abi::BUF_TYPE_VIDEO_CAPTURE, ..FormatDescription::default() };
        match abi::call::<{ abi::ENUM_FMT }, _>(fd.as_fd(), &mut entry) {
            Ok(()) => offered.push(entry.pixel_format),
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(fault("VIDIOC_ENUM_FMT", errno)),
        }
    }
    let (wanted, expected): (&[u32], _) = match request.format {
        PixelFormat::Mjpeg => (&[abi::PIX_FMT_MJPEG, abi::PIX_FMT_JPEG], "mjpeg"),
        PixelFormat::Yuyv => (&[abi::PIX_FMT_YUYV], "yuyv"),
        PixelFormat::Auto => (&[abi::PIX_FMT_MJPEG, abi::PIX_FMT_JPEG, abi::PIX_FMT_YUYV], "mjpeg or yuyv"),
    };
    let missing = |found: String| DeviceError::NoFormat { path: request.device.clone(), expected, found };
    let Some(chosen) = wanted.iter().copied().find(|format| offered.contains(format)) else {
        let names: Vec<String> = offered.iter().copied().map(four_letters).collect();
        return Err(missing(names.join(", ")));
    };
    let mut set = FormatRequest { kind: abi::BUF_TYPE_VIDEO_CAPTURE, ..FormatRequest::default() };
    set.pixels.width = request.width_px;
    set.pixels.height = request.height_px;
    set.pixels.pixel_format = chosen;
    set.pixels.field = abi::FIELD_NONE;
    abi::call::<{ abi::S_FMT }, _>(fd.as_fd(), &mut set).map_err(|errno| fault("VIDIOC_S_FMT", errno))?;
    // The driver has filled in what it will do.
    let got = set.pixels;
    if got.pixel_format != chosen {
        return Err(missing(four_letters(got.pixel_format)));
    }
    let (width_px, height_px) = (got.width as usize, got.height as usize);
    if chosen == abi::PIX_FMT_YUYV {
        let stride_bytes = (got.bytes_per_line as usize).max(2 * width_px);
        return Ok((Format::Yuyv { width_px, height_px, stride_bytes }, "yuyv"));
    }
    Ok((Format::Mjpeg { width_px, height_px }, "mjpeg"))
}

/// A format's code as it is written.
fn four_letters(format: u32) -> String {
    String::from_utf8_lossy(&format.to_le_bytes()).into_owned()
}

/// Asks for a rate; returns the one that the camera will have, if it says. A camera that has but one rate
/// refuses, which is no fault.
fn ask_rate(fd: &OwnedFd, rate_hz: f64) -> Option<f64> {
    let mut set = StreamParameters {
        kind: abi::BUF_TYPE_VIDEO_CAPTURE,
        period_numerator: 1000,
        // At most 10⁶ by validation.
        period_denominator: (rate_hz * 1000.0).round() as u32,
        ..StreamParameters::default()
    };
    abi::call::<{ abi::S_PARM }, _>(fd.as_fd(), &mut set).ok()?;
    let period = (set.period_numerator, set.period_denominator);
    (period.0 > 0 && period.1 > 0).then(|| f64::from(period.1) / f64::from(period.0))
}

fn map_buffers(fd: &OwnedFd) -> Result<Vec<Mapping>, DeviceError> {
    let mut request = RequestBuffers {
        count: BUFFERS,
        kind: abi::BUF_TYPE_VIDEO_CAPTURE,
        memory: abi::MEMORY_MMAP,
        ..RequestBuffers::default()
    };
    abi::call::<{ abi::REQBUFS }, _>(fd.as_fd(), &mut request)
        .map_err(|errno| fault("VIDIOC_REQBUFS", errno))?;
    if !(2..=MAX_BUFFERS).contains(&request.count) {
        let reason = format!("expected 2 to {MAX_BUFFERS} buffers, found {}", request.count);
        return Err(DeviceError::Call { call: "VIDIOC_REQBUFS", reason });
    }
    (0..request.count)
        .map(|index| {
            let mut buffer = buffer(index);
            abi::call::<{ abi::QUERYBUF }, _>(fd.as_fd(), &mut buffer)
                .map_err(|errno| fault("VIDIOC_QUERYBUF", errno))?;
            Mapping::new(fd.as_fd(), buffer.offset[0], buffer.length as usize)
                .map_err(|errno| fault("mmap", errno))
        })
        .collect()
}

/// What the driver says about the time of a buffer. Only monotonic stamps mean a capture.
fn stamp(buffer: &Buffer) -> Stamp {
    let monotonic = buffer.flags & abi::BUF_FLAG_TIMESTAMP_MASK == abi::BUF_FLAG_TIMESTAMP_MONOTONIC;
    let ns = u64::try_from(buffer.stamp_s).ok().zip(u64::try_from(buffer.stamp_us).ok()).and_then(
        |(seconds, micros)| seconds.checked_mul(1_000_000_000)?.checked_add(micros.checked_mul(1000)?),
    );
    match ns {
        Some(ns) if monotonic && ns > 0 => {
            match buffer.flags & abi::BUF_FLAG_TSTAMP_SRC_MASK == abi::BUF_FLAG_TSTAMP_SRC_SOE {
                true => Stamp::ExposureStart(ns),
                false => Stamp::FrameEnd(ns),
            }
        }
        _ => Stamp::Unknown,
    }
}

impl Device for Stream {
    fn wait(&mut self, timeout: Duration) -> Result<bool, DeviceError> {
        let timeout = Timespec {
            // Callers wait for less than a second.
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => Ok(false),
            Ok(_) if fds[0].revents().contains(PollFlags::IN) => Ok(true),
            // An error without a frame: the driver has ended the stream.
            Ok(_) => Err(DeviceError::Gone),
            Err(errno) => Err(fault("poll", errno)),
        }
    }

    fn dequeue(&mut self) -> Result<Option<Frame>, DeviceError> {
        let mut filled = buffer(0);
        match abi::call::<{ abi::DQBUF }, _>(self.fd.as_fd(), &mut filled) {
            Ok(()) => {}
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(errno) => return Err(fault("VIDIOC_DQBUF", errno)),
        }
        let slot = filled.index as usize;
        let Some(held) = self.held.get_mut(slot) else {
            let reason = format!("expected one of {} buffers, found {slot}", self.buffers.len());
            return Err(DeviceError::Call { call: "VIDIOC_DQBUF", reason });
        };
        *held = true;
        Ok(Some(Frame {
            slot,
            used_bytes: (filled.bytes_used as usize).min(self.buffers[slot].length_bytes()),
            format: self.format,
            sequence: filled.sequence,
            stamp: stamp(&filled),
            broken: filled.flags & abi::BUF_FLAG_ERROR != 0,
        }))
    }

    fn bytes(&self, frame: &Frame) -> &[u8] {
        match (self.held.get(frame.slot), self.buffers.get(frame.slot)) {
            // SAFETY: the buffer was dequeued, and queueing it takes `&mut self`, which ends the slice.
            (Some(true), Some(mapping)) => unsafe { mapping.bytes(frame.used_bytes) },
            _ => &[],
        }
    }

    fn release(&mut self, frame: Frame) -> Result<(), DeviceError> {
        self.queue(frame.slot)
    }

    fn now_ns(&self) -> u64 {
        let now = clock_gettime(ClockId::Monotonic);
        // Since the machine started: neither part is negative.
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    }

    fn describe(&self) -> String {
        self.describe.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(flags: u32, stamp_s: i64, stamp_us: i64) -> Stamp {
        stamp(&Buffer { flags, stamp_s, stamp_us, ..Buffer::default() })
    }

    #[test]
    fn only_monotonic_stamps_count() {
        let monotonic = abi::BUF_FLAG_TIMESTAMP_MONOTONIC;
        assert_eq!(stamped(monotonic, 7, 123_456), Stamp::FrameEnd(7_123_456_000));
        let exposure = monotonic | abi::BUF_FLAG_TSTAMP_SRC_SOE;
        assert_eq!(stamped(exposure, 7, 123_456), Stamp::ExposureStart(7_123_456_000));
        // Unknown, and copied from somewhere.
        assert_eq!(stamped(0, 7, 123_456), Stamp::Unknown);
        assert_eq!(stamped(0x4000, 7, 123_456), Stamp::Unknown);
        for (stamp_s, stamp_us) in [(0, 0), (-1, 5), (5, -1), (i64::MAX, 0), (0, i64::MAX)] {
            assert_eq!(stamped(monotonic, stamp_s, stamp_us), Stamp::Unknown, "{stamp_s} {stamp_us}");
        }
    }

    #[test]
    fn what_is_no_camera_says_so() {
        let missing = open_node(Path::new("/dev/no-such-camera")).map(|_| ());
        assert_eq!(missing, Err(DeviceError::Missing { path: "/dev/no-such-camera".into() }));
        let null = open_node(Path::new("/dev/null")).map(|_| ());
        let found = "no video device".to_owned();
        assert_eq!(null, Err(DeviceError::NotCapture { path: "/dev/null".into(), found }));
        assert_eq!(kind(abi::CAP_VIDEO_OUTPUT), "video output");
        assert_eq!(kind(abi::CAP_META_CAPTURE | abi::CAP_STREAMING), "metadata");
        assert_eq!(kind(abi::CAP_VIDEO_M2M), "a codec");
    }
}
