//! Arbitrary bytes in the place of the servos' replies: no panic, and no reading that is not in a whole packet.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use reflexarc_drivers::arm::ServoKind;
use reflexarc_drivers::arm::bus::ServoBus;
use reflexarc_drivers::arm::simulator::Garbage;

fuzz_target!(|bytes: &[u8]| {
    for kind in [ServoKind::Sts3215, ServoKind::Xl330] {
        let port = Box::new(Garbage::new(bytes));
        let mut bus = ServoBus::new(port, kind, vec![1, 2, 3], Duration::from_millis(1)).unwrap();
        let mut readings = [None; 3];
        for _ in 0..3 {
            bus.read(&mut readings);
        }
        let found = bus.stats().replies * (6 + 8);
        assert!(found <= bytes.len() as u64, "more replies than there are bytes");
    }
});
