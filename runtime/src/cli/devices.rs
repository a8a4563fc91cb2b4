//! `reflexarc devices`: what is attached, and what of it can be used.

use std::path::Path;

use anyhow::Result;
use clap::Args;
use reflexarc_drivers::camera::devices as cameras;
use reflexarc_drivers::serial::{self, Access};

use super::EXIT_OK;
use crate::health::SYSFS;

pub(super) const EXAMPLES: &str = "\
Shows serial ports (servo adapters, tactile pads) and cameras with the names that stay the same after a restart, \
says which of them this user may open, and what to do about those that not. Opens nothing.

Example:
  reflexarc devices";

#[derive(Debug, Args)]
pub(super) struct DevicesArgs {}

#[expect(clippy::print_stdout, reason = "telling is the purpose of this command")]
pub(super) fn devices(_: &DevicesArgs) -> Result<u8> {
    let (sysfs, dev) = (Path::new(SYSFS), Path::new("/dev"));
    let ports = serial::ports(sysfs, dev);
    println!("serial ports: {}", count(ports.len()));
    for port in ports {
        let what = port.usb.as_ref().map_or_else(
            || "not on USB".to_owned(),
            |usb| {
                let name = usb.known().map(str::to_owned).or_else(|| usb.name.clone());
                format!("{:04x}:{:04x} {}", usb.vendor, usb.product, name.unwrap_or_default())
            },
        );
        let usable = if matches!(port.access, Access::Granted) { "usable" } else { "NOT usable" };
        println!("  {}  {what}  {usable}", port.stable_path().display());
        for advice in port.advice() {
            println!("      {advice}");
        }
    }
    let found = cameras(sysfs, dev);
    println!("cameras: {}", count(found.len()));
    for camera in found {
        let path = camera.stable_path.as_ref().unwrap_or(&camera.path);
        match camera.usable {
            Ok(()) => println!("  {}  {}  usable", path.display(), camera.name),
            Err(why) => println!("  {}  {}  NOT usable: {why}", path.display(), camera.name),
        }
    }
    Ok(EXIT_OK)
}

fn count(count: usize) -> String {
    if count == 0 { "none".to_owned() } else { count.to_string() }
}
