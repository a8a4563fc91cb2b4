//! Serial ports that are there, what hangs on them, and whether this user may open them; read from sysfs.
//!
//! Nothing is opened: opening a port resets many boards. Both roots are parameters, so that tests read trees
//! of their own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access as Mode, access};
use rustix::io::Errno;

/// Nothing that sysfs says in one value is longer, bytes.
const LONGEST: u64 = 256;
/// A USB device lies at most so many folders above its port.
const MOST_LEVELS: usize = 6;
/// What an FTDI adapter's latency timer should be, ms.
const LATENCY_TIMER_MS: u32 = 1;

/// What a USB device says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsbDevice {
    /// Its maker's number.
    pub vendor: u16,
    /// Its maker's number for it.
    pub product: u16,
    /// Its serial number, if it has one.
    pub serial: Option<String>,
    /// Its maker, in the maker's words.
    pub manufacturer: Option<String>,
    /// Its name, in the maker's words.
    pub name: Option<String>,
}

impl UsbDevice {
    /// What it is, by its numbers, where they are known.
    #[must_use]
    pub const fn known(&self) -> Option<&'static str> {
        match (self.vendor, self.product) {
            (0x239A, _) => Some("Adafruit board (QT Py, Trinket, Feather, ...)"),
            (0x1A86, 0x7523 | 0x5523) => Some("CH340 or CH341 adapter"),
            (0x1A86, 0x55D2..=0x55D4) => Some("CH343 or CH9102 adapter"),
            (0x1A86, _) => Some("WCH adapter"),
            (0x0403, _) => Some("FTDI adapter"),
            (0x10C4, _) => Some("CP210x adapter"),
            (0x2341 | 0x2A03, _) => Some("Arduino board"),
            (0x2E8A, _) => Some("Raspberry Pi Pico"),
            (0x16C0, 0x0483) => Some("Teensy board"),
            (0x303A, _) => Some("Espressif board"),
            (0x0483, 0x5740) => Some("STM32 board"),
            _ => None,
        }
    }
}

/// Whether this user may open a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may be read and written. Another program may have it open all the same.
    Granted,
    /// It may not.
    Denied {
        /// What to do about it.
        fix: String,
    },
    /// There is no such file.
    Missing,
}

impl Access {
    /// Whether this user may open `path`, by the rights of the file.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        match access(path, Mode::READ_OK | Mode::WRITE_OK) {
            Ok(()) => Self::Granted,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Self::Missing,
            Err(_) => Self::Denied { fix: fix(path) },
        }
    }
}

/// What lets this user open `path`: its group, which is `dialout` on Debian and Ubuntu, `uucp` on Arch.
fn fix(path: &Path) -> String {
    let group_id = path.metadata().map(|file| file.gid()).ok();
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let named = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse().ok() == group_id).then_some(name)
    });
    match named {
        Some("root") | None => format!(
            "only root may open it: a udev rule should give it to the group dialout \
             (SUBSYSTEM==\"tty\", GROUP=\"dialout\", MODE=\"0660\"), path {}",
            path.display()
        ),
        Some(group) => format!("run `sudo usermod -aG {group} $USER`, then log out and in again"),
    }
}

/// One serial port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerialPortInfo {
    /// The kernel's name, such as `ttyACM0`; another one after the next plugging perhaps.
    pub name: String,
    /// Where it is opened.
    pub path: PathBuf,
    /// Where it is opened after any plugging: the name below `/dev/serial/by-id`, if udev gave it one.
    pub by_id: Option<PathBuf>,
    /// The USB device, if it is one.
    pub usb: Option<UsbDevice>,
    /// Whether this user may open it.
    pub access: Access,
    /// How long an FTDI adapter keeps bytes back, ms; other ports have no such timer.
    pub latency_timer_ms: Option<u32>,
}

impl SerialPortInfo {
    /// The path that belongs into a configuration: by id where there is one.
    #[must_use]
    pub fn stable_path(&self) -> &Path {
        self.by_id.as_deref().unwrap_or(&self.path)
    }

    /// What should be put right before a driver uses it, a sentence each; nothing, if all is well.
    #[must_use]
    pub fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        match &self.access {
            Access::Granted => {}
            Access::Denied { fix } => advice.push(format!("This user may not open it: {fix}.")),
            Access::Missing => advice.push(format!("There is no {}.", self.path.display())),
        }
        if let Some(found) = self.latency_timer_ms.filter(|found| *found != LATENCY_TIMER_MS) {
            advice.push(format!(
                "It keeps bytes back for up to {found} ms, expected {LATENCY_TIMER_MS}: run `echo \
                 {LATENCY_TIMER_MS} | sudo tee /sys/class/tty/{}/device/latency_timer`, and make it last with \
                 the udev rule ACTION==\"add\", SUBSYSTEM==\"usb-serial\", DRIVER==\"ftdi_sio\", \
                 ATTR{{latency_timer}}=\"{LATENCY_TIMER_MS}\".",
                self.name
            ));
        }
        advice
    }
}

/// All serial ports with a device behind them, in the order of their names: USB ports, and the board's own
/// UARTs. `sysfs_root` is `/sys` and `dev_root` is `/dev` but in tests. A port that goes while it is read is
/// left out, and so is all that cannot be read.
#[must_use]
pub fn ports(sysfs_root: &Path, dev_root: &Path) -> Vec<SerialPortInfo> {
    let by_id = names_by_id(dev_root);
    let Ok(entries) = std::fs::read_dir(sysfs_root.join("class/tty")) else { return Vec::new() };
    let mut ports: Vec<SerialPortInfo> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            // Consoles and pseudo terminals have no device.
            let device = entry.path().join("device").canonicalize().ok()?;
            // The kernel keeps names for UARTs that are not there; they have the type 0.
            if text(&entry.path().join("type")).as_deref() == Some("0") {
                return None;
            }
            let path = dev_root.join(&name);
            Some(SerialPortInfo {
                by_id: path.canonicalize().ok().and_then(|path| by_id.get(&path).cloned()),
                usb: usb_device(&device),
                access: Access::of(&path),
                latency_timer_ms: text(&device.join("latency_timer")).and_then(|text| text.parse().ok()),
                name,
                path,
            })
        })
        .collect();
    // ttyUSB10 comes after ttyUSB9.
    ports.sort_by_cached_key(|port| {
        (
            port.name.trim_end_matches(|letter: char| letter.is_ascii_digit()).to_owned(),
            port.name.len(),
            port.name.clone(),
        )
    });
    ports
}

/// Real paths → names below `serial/by-id`, the first one by the alphabet where there are several.
fn names_by_id(dev_root: &Path) -> BTreeMap<PathBuf, PathBuf> {
    let Ok(entries) = std::fs::read_dir(dev_root.join("serial/by-id")) else { return BTreeMap::new() };
    let mut names: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    names.sort_by(|a, b| b.cmp(a));
    names.into_iter().filter_map(|name| Some((name.canonicalize().ok()?, name))).collect()
}

/// The USB device that `device` is a part of.
fn usb_device(device: &Path) -> Option<UsbDevice> {
    let hexadecimal = |path: PathBuf| u16::from_str_radix(&text(&path)?, 16).ok();
    device.ancestors().take(MOST_LEVELS).find_map(|folder| {
        Some(UsbDevice {
            vendor: hexadecimal(folder.join("idVendor"))?,
            product: hexadecimal(folder.join("idProduct"))?,
            serial: text(&folder.join("serial")),
            manufacturer: text(&folder.join("manufacturer")),
            name: text(&folder.join("product")),
        })
    })
}

/// The trimmed text of a small file, unless it is empty; bytes that are not UTF-8 are replaced.
fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes)).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned()).filter(|text| !text.is_empty())
}
