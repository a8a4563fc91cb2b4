//! The tile registers of AMX.
#![allow(unsafe_code, reason = "the compiler knows nothing of tile registers")]

use std::arch::asm;

/// A thread's tile registers in use: sixteen rows of 64 bytes each.
pub(super) struct Tiles(());

#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Tiles {
    /// To be called only where the processor has tile registers and the system has granted them.
    pub(super) fn new() -> Self {
        let mut config =
            Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        config.row_bytes[..8].fill(64);
        config.rows[..8].fill(16);
        // SAFETY: reads 64 bytes; the tile registers are ours until dropped.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const config, options(readonly, nostack)) };
        Self(())
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: the registers are in use.
        unsafe { asm!("tilerelease", options(nomem, nostack)) };
    }
}
