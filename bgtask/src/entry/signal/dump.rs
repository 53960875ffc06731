//! `dump = "…"`: the signal that prints a snapshot. Only Unix has such signals.

/// The signal that prints a snapshot to stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpSignal {
    Sigusr1,
    Sigusr2,
}

/// The stream of dump signals where there are none.
#[cfg(not(unix))]
pub(super) type NoDump = std::convert::Infallible;

/// Reports that `dump` has no effect here.
#[cfg(not(unix))]
pub(super) fn no_dump(dump: Option<DumpSignal>) -> Option<NoDump> {
    if dump.is_some() {
        crate::util::log::to_stderr(format_args!(
            "`dump = \"…\"` has no effect on this platform; use `bgtask::snapshot()`"
        ));
    }
    None
}
