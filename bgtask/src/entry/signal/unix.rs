//! Signals on Unix.

use crate::entry::signal::dump::DumpSignal;
use crate::report::Signal;
use nix::sys::signal::{SigSet, SigmaskHow};
use signal_hook::consts::{SIGHUP, SIGINT, SIGUSR1, SIGUSR2};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

pub(super) type Stop = Signals;
pub(super) type Dump = Signals;

/// Installs the handlers with all signals blocked. A signal that arrives after signal-hook has installed its handler and before
/// it has registered the action would be lost; blocked, it arrives when everything is ready.
pub(super) fn listen(
    stop: bool,
    dump: Option<DumpSignal>,
) -> io::Result<(Option<Stop>, Option<Dump>)> {
    let all = SigSet::all();
    let blocked_before = all.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let installed = install(stop, dump);
    blocked_before.thread_set_mask()?;
    installed
}

/// Whether a signal has arrived that requested the shutdown.
fn has_arrived() -> &'static Arc<AtomicBool> {
    static HAS_ARRIVED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    HAS_ARRIVED.get_or_init(Arc::default)
}

/// Makes the next signal a first one again.
pub(super) fn forget() {
    // SeqCst, as signal-hook uses for this flag; it is rare, and needs no weaker one.
    has_arrived().store(false, Ordering::SeqCst);
}

/// Installs the handlers.
fn install(stop: bool, dump: Option<DumpSignal>) -> io::Result<(Option<Stop>, Option<Dump>)> {
    let stop = if stop { Some(install_stop()?) } else { None };
    let dump = dump.map(|signal| match signal {
        DumpSignal::Sigusr1 => SIGUSR1,
        DumpSignal::Sigusr2 => SIGUSR2,
    });
    Ok((stop, dump.map(|number| Signals::new([number])).transpose()?))
}

/// The second signal ends the process in the signal handler itself, which needs no thread to be free, not even ours. Each handler first
/// checks whether a signal has arrived before, and then records that one has.
fn install_stop() -> io::Result<Stop> {
    let mut all = vec![Signal::Interrupt, Signal::Terminate];
    if !is_hangup_ignored() {
        all.push(Signal::Hangup);
    }
    let stop = Signals::new(all.iter().map(|signal| signal.number()))?;
    for signal in all {
        let (number, code) = (signal.number(), signal.exit_code());
        flag::register_conditional_shutdown(number, code, has_arrived().clone())?;
        flag::register(number, has_arrived().clone())?;
    }
    Ok(stop)
}

/// Returns whether the process was started with SIGHUP ignored, as `nohup` does. SIGHUP then has to stay ignored, and our handler
/// would replace that. Only Linux reports this without unsafe code.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let mask = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Bit n stands for signal n + 1.
    mask.is_some_and(|mask| mask & (1 << (SIGHUP - 1)) != 0)
}

pub(super) fn for_each(mut signals: Stop, mut handle: impl FnMut(Signal)) {
    for number in signals.forever() {
        handle(match number {
            SIGINT => Signal::Interrupt,
            SIGHUP => Signal::Hangup,
            _ => Signal::Terminate,
        });
    }
}

pub(super) fn for_each_dump(mut signals: Dump, mut handle: impl FnMut()) {
    signals.forever().for_each(|_| handle());
}

/// Skips exit handlers: one of them may wait for a lock that a stuck thread holds.
pub(super) fn exit(code: i32) -> ! {
    signal_hook::low_level::exit(code)
}
