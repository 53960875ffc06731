//! Signals become shutdown requests, a second one ends the process at once; and one may be there to have a look printed.
//! Owns the handlers and the threads that wait, which are not the runtime's; knows nothing of what a request leads to.

use crate::inspect::snapshot;
use crate::shutdown;
use crate::tracker::Tracker;
use crate::util::log::to_stderr;
use std::io;
use std::sync::Arc;
use std::thread;

/// `dump = "…"`: the signal that has a snapshot printed to stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpSignal {
    Sigusr1,
    Sigusr2,
}

/// The handlers, installed. What comes before anybody watches is kept.
pub(crate) struct Listening {
    stop: platform::Stop,
    dump: Option<platform::Dump>,
}

/// Installs the handlers. To be called before the process has a second thread: only then none comes too early for its own.
///
/// # Errors
/// If one cannot be installed.
pub(crate) fn listen(dump: Option<DumpSignal>) -> io::Result<Listening> {
    let (stop, dump) = platform::listen(dump)?;
    Ok(Listening { stop, dump })
}

impl Listening {
    /// Watches on threads of their own until the process ends.
    ///
    /// # Errors
    /// If one of the threads cannot be started.
    pub(crate) fn watch(self, tracker: &Arc<Tracker>) -> io::Result<()> {
        let Self { stop, dump } = self;
        let stopped = Arc::clone(tracker);
        thread::Builder::new()
            .name("bgtask-signals".to_owned())
            .spawn(move || {
                let mut asked = false;
                platform::for_each(stop, |signal| {
                    if asked {
                        leave(signal.exit_code());
                    }
                    asked = true;
                    // First asked, then said: nobody may read what is said.
                    shutdown::request(&stopped, signal.into());
                    to_stderr(format_args!(
                        "{signal}: shutting down; a second signal exits immediately"
                    ));
                });
            })?;
        let Some(dump) = dump else {
            return Ok(());
        };
        let looked_at = Arc::clone(tracker);
        // On one of its own: nobody may read what it prints, and the other signals must not wait for that.
        thread::Builder::new()
            .name("bgtask-dump".to_owned())
            .spawn(move || {
                // However many have come while one was printed, one more follows.
                platform::for_each_of(dump, || {
                    to_stderr(format_args!("{}", snapshot::take(&looked_at)));
                });
            })
            .map(drop)
    }
}

/// Ends the process here and now, whatever its threads are doing.
pub(crate) fn leave(code: i32) -> ! {
    platform::leave(code)
}

#[cfg(unix)]
mod platform {
    use super::DumpSignal;
    use crate::Signal;
    use nix::sys::signal::{SigSet, SigmaskHow};
    use signal_hook::consts::{SIGHUP, SIGINT, SIGUSR1, SIGUSR2};
    use signal_hook::flag;
    use signal_hook::iterator::Signals;
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    pub(super) type Stop = Signals;
    pub(super) type Dump = Signals;

    /// Between a handler's being installed and signal-hook's knowing what it is there for, a signal does nothing: it is lost. So
    /// it is kept from coming meanwhile, and comes when all is in place.
    pub(super) fn listen(dump: Option<DumpSignal>) -> io::Result<(Stop, Option<Dump>)> {
        let all = SigSet::all();
        let blocked_before = all.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let installed = install(dump);
        blocked_before.thread_set_mask()?;
        installed
    }

    /// The second signal ends the process in the signal handler itself: no thread has to be free for it, ours included.
    /// Each handler first looks whether there was one before, and then notes that there is one now.
    fn install(dump: Option<DumpSignal>) -> io::Result<(Stop, Option<Dump>)> {
        let mut all = vec![Signal::Interrupt, Signal::Terminate];
        if !is_hangup_ignored() {
            all.push(Signal::Hangup);
        }
        let stop = Signals::new(all.iter().map(|signal| signal.number()))?;
        let one_has_come = Arc::new(AtomicBool::new(false));
        for signal in all {
            let (number, code) = (signal.number(), signal.exit_code());
            flag::register_conditional_shutdown(number, code, one_has_come.clone())?;
            flag::register(number, one_has_come.clone())?;
        }
        let dump = dump.map(|signal| match signal {
            DumpSignal::Sigusr1 => SIGUSR1,
            DumpSignal::Sigusr2 => SIGUSR2,
        });
        Ok((stop, dump.map(|number| Signals::new([number])).transpose()?))
    }

    /// Returns whether the process was started with SIGHUP ignored, as `nohup` does. SIGHUP then has to stay ignored, and our
    /// handler would replace that. Only Linux reports this without unsafe code.
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

    pub(super) fn for_each_of(mut signals: Dump, mut handle: impl FnMut()) {
        signals.forever().for_each(|_| handle());
    }

    /// Without exit handlers: one of them may wait for a lock that a stuck thread holds.
    pub(super) fn leave(code: i32) -> ! {
        signal_hook::low_level::exit(code)
    }
}

/// Elsewhere no signal has a snapshot printed.
#[cfg(not(unix))]
mod no_dump {
    use crate::{DumpSignal, to_stderr};
    use std::convert::Infallible;

    pub(super) type Dump = Infallible;

    pub(super) fn no_dump(dump: Option<DumpSignal>) -> Option<Dump> {
        if dump.is_some() {
            to_stderr(format_args!(
                "`dump = \"…\"` has no effect on this platform; use `bgtask::snapshot()`"
            ));
        }
        None
    }

    pub(super) fn for_each_of(none: Dump, _handle: impl FnMut()) {
        match none {}
    }
}

#[cfg(windows)]
mod platform {
    use crate::no_dump::no_dump;
    pub(super) use crate::no_dump::{Dump, for_each_of};
    use crate::{DumpSignal, Signal};
    use std::io;
    use tokio::runtime::{Builder, Runtime};
    use tokio::signal::windows::{
        CtrlBreak, CtrlC, CtrlClose, CtrlLogoff, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close,
        ctrl_logoff, ctrl_shutdown,
    };

    /// The listeners need a runtime to be polled on: one of their own, so that the user's may be stuck.
    pub(super) struct Listeners {
        runtime: Runtime,
        c: CtrlC,
        r#break: CtrlBreak,
        close: CtrlClose,
        logoff: CtrlLogoff,
        shutdown: CtrlShutdown,
    }

    pub(super) type Stop = Listeners;

    pub(super) fn listen(dump: Option<DumpSignal>) -> io::Result<(Stop, Option<Dump>)> {
        let runtime = Builder::new_current_thread().build()?;
        let entered = runtime.enter();
        let (c, r#break) = (ctrl_c()?, ctrl_break()?);
        let (close, logoff, shutdown) = (ctrl_close()?, ctrl_logoff()?, ctrl_shutdown()?);
        drop(entered);
        let stop = Listeners {
            runtime,
            c,
            r#break,
            close,
            logoff,
            shutdown,
        };
        Ok((stop, no_dump(dump)))
    }

    pub(super) fn for_each(mut listeners: Listeners, mut handle: impl FnMut(Signal)) {
        loop {
            let signal = listeners.runtime.block_on(std::future::poll_fn(|cx| {
                if listeners.c.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(Signal::Interrupt);
                }
                let terminate = listeners.r#break.poll_recv(cx).is_ready()
                    || listeners.close.poll_recv(cx).is_ready()
                    || listeners.logoff.poll_recv(cx).is_ready()
                    || listeners.shutdown.poll_recv(cx).is_ready();
                if terminate {
                    return std::task::Poll::Ready(Signal::Terminate);
                }
                std::task::Poll::Pending
            }));
            handle(signal);
        }
    }

    pub(super) fn leave(code: i32) -> ! {
        std::process::exit(code)
    }
}

#[cfg(not(any(unix, windows)))]
mod platform {
    use crate::no_dump::no_dump;
    pub(super) use crate::no_dump::{Dump, for_each_of};
    use crate::{DumpSignal, Signal};
    use std::io;

    pub(super) type Stop = ();

    pub(super) fn listen(dump: Option<DumpSignal>) -> io::Result<(Stop, Option<Dump>)> {
        Ok(((), no_dump(dump)))
    }

    pub(super) fn for_each((): (), _handle: impl FnMut(Signal)) {}

    pub(super) fn leave(code: i32) -> ! {
        std::process::exit(code)
    }
}
