//! A platform without signals.

use crate::entry::signal::dump::{DumpSignal, NoDump, no_dump};
use crate::report::Signal;
use std::io;

pub(super) type Stop = ();
pub(super) type Dump = NoDump;

pub(super) fn listen(
    stop: bool,
    dump: Option<DumpSignal>,
) -> io::Result<(Option<Stop>, Option<Dump>)> {
    Ok((stop.then_some(()), no_dump(dump)))
}

pub(super) fn forget() {}

pub(super) fn for_each((): (), _handle: impl FnMut(Signal)) {}

pub(super) fn for_each_dump(none: Dump, _handle: impl FnMut()) {
    match none {}
}

pub(super) fn exit(code: i32) -> ! {
    std::process::exit(code)
}
