//! Serial ports, on a tree of files such as Linux makes it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use reflexarc_drivers::serial::{Access, SerialPortInfo, ports};

/// A `/sys` and a `/dev` of our own.
struct Tree(PathBuf);

impl Tree {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("reflexarc-serial-{}-{count}", std::process::id()));
        let tree = Self(root);
        tree.folder("sys/class/tty");
        tree.folder("dev/serial/by-id");
        tree
    }

    fn folder(&self, path: &str) -> PathBuf {
        let path = self.0.join(path);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{text}\n")).unwrap();
    }

    /// The port `name` with its device in `device`, a folder below `sys/devices`.
    fn port(&self, name: &str, device: &str) {
        let device = self.folder(&format!("sys/devices/{device}"));
        let tty = device.join("tty").join(name);
        std::fs::create_dir_all(&tty).unwrap();
        symlink("../..", tty.join("device")).unwrap();
        symlink(&tty, self.0.join("sys/class/tty").join(name)).unwrap();
        self.file(&format!("dev/{name}"), "");
    }

    fn usb(&self, device: &str, files: &[(&str, &str)]) {
        for (file, text) in files {
            self.file(&format!("sys/devices/{device}/{file}"), text);
        }
    }

    fn ports(&self) -> Vec<SerialPortInfo> {
        ports(&self.0.join("sys"), &self.0.join("dev"))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn ports_are_listed_with_what_hangs_on_them() {
    let tree = Tree::new();
    tree.usb(
        "usb1/1-1",
        &[
            ("idVendor", "239a"),
            ("idProduct", "80cb"),
            ("serial", "51A0"),
            ("product", "QT Py M0"),
            ("manufacturer", "Adafruit"),
        ],
    );
    tree.port("ttyACM0", "usb1/1-1/1-1:1.0");
    symlink("../../ttyACM0", tree.0.join("dev/serial/by-id/usb-Adafruit_QT_Py_M0_51A0-if00")).unwrap();
    tree.usb("usb1/1-2", &[("idVendor", "0403"), ("idProduct", "6001")]);
    tree.port("ttyUSB10", "usb1/1-2/1-2:1.0/ttyUSB10");
    tree.file("sys/devices/usb1/1-2/1-2:1.0/ttyUSB10/latency_timer", "16");
    tree.usb("usb1/1-3", &[("idVendor", "1a86"), ("idProduct", "55d3")]);
    tree.port("ttyUSB9", "usb1/1-3/1-3:1.0/ttyUSB9");
    // A UART of the board, one that is not there, a console, and one that has just gone.
    tree.port("ttyTHS1", "platform/3100000.serial");
    tree.port("ttyS3", "platform/serial8250");
    tree.file("sys/devices/platform/serial8250/tty/ttyS3/type", "0");
    tree.folder("sys/class/tty/console");
    symlink("../../devices/gone", tree.0.join("sys/class/tty/ttyACM7")).unwrap();

    let ports = tree.ports();
    let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
    assert_eq!(names, ["ttyACM0", "ttyTHS1", "ttyUSB9", "ttyUSB10"]);
    let [board, uart, ch343, ftdi] = &ports[..] else { panic!("{ports:?}") };

    let usb = board.usb.as_ref().unwrap();
    assert_eq!((usb.vendor, usb.product, usb.serial.as_deref()), (0x239A, 0x80CB, Some("51A0")));
    assert_eq!((usb.name.as_deref(), usb.manufacturer.as_deref()), (Some("QT Py M0"), Some("Adafruit")));
    assert!(usb.known().unwrap().contains("QT Py"));
    assert!(board.stable_path().ends_with("serial/by-id/usb-Adafruit_QT_Py_M0_51A0-if00"));
    assert_eq!((board.access.clone(), board.advice()), (Access::Granted, vec![]));

    assert_eq!((&uart.usb, uart.stable_path()), (&None, uart.path.as_path()));
    assert!(ch343.usb.as_ref().unwrap().known().unwrap().contains("CH343"));
    assert_eq!(ch343.latency_timer_ms, None);
    assert_eq!(ftdi.latency_timer_ms, Some(16));
    assert!(ftdi.advice()[0].contains("up to 16 ms"), "{:?}", ftdi.advice());
    tree.file("sys/devices/usb1/1-2/1-2:1.0/ttyUSB10/latency_timer", "1");
    assert!(tree.ports()[3].advice().is_empty());
}

#[test]
fn a_port_without_a_file_says_so() {
    let tree = Tree::new();
    tree.port("ttyACM0", "usb1/1-1/1-1:1.0");
    std::fs::remove_file(tree.0.join("dev/ttyACM0")).unwrap();
    let ports = tree.ports();
    assert_eq!(ports[0].access, Access::Missing);
    assert_eq!(ports[0].advice().len(), 1);
    assert!(super_missing().is_empty());
}

/// A machine without sysfs has no ports.
fn super_missing() -> Vec<SerialPortInfo> {
    let nowhere = PathBuf::from("/nonexistent");
    ports(&nowhere, &nowhere)
}

#[test]
fn a_port_of_others_says_how_to_get_at_it() {
    use std::os::unix::fs::PermissionsExt;
    let tree = Tree::new();
    tree.port("ttyUSB0", "usb1/1-1/1-1:1.0/ttyUSB0");
    let path = tree.0.join("dev/ttyUSB0");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    // Root may open everything, so this can be seen as somebody else only.
    match &tree.ports()[0].access {
        Access::Granted => assert!(std::fs::File::open(&path).is_ok()),
        Access::Denied { fix } => assert!(fix.contains("dialout") || fix.contains("usermod"), "{fix}"),
        Access::Missing => panic!("the file is there"),
    }
}
