//! Lines for whoever watches a running robot. That nobody reads them any more (a closed pipe, a journal that has gone)
//! is no reason to end a motion, so what cannot be written is left out; `println!` would panic.

use std::fmt::Arguments;
use std::io::Write as _;

/// A line on the standard output.
pub(crate) fn out(line: Arguments<'_>) {
    let _unread = writeln!(std::io::stdout(), "{line}");
}

/// A line on the standard error.
pub(crate) fn err(line: Arguments<'_>) {
    let _unread = writeln!(std::io::stderr(), "{line}");
}
