//! Signals become shutdown requests, a second one ends the process at once; and one may be there to have a look printed.
//! Owns the handlers and the threads that wait, which are not the runtime's; knows nothing of what a request leads to.

use crate::ledger::Ledger;
use crate::notice::to_stderr;
use crate::report::Signal;
use crate::{shutdown, snapshot};
use std::io;
use std::sync::Arc;
use std::thread;

/// Watches for signals on a thread of its own until the process ends.
///
/// # Errors
/// If the handlers or the thread cannot be set up.
pub(crate) fn watch(ledger: Arc<Ledger>) -> io::Result<()> {
    let signals = platform::listen()?;
    thread::Builder::new()
        .name("bgtask-signals".to_owned())
        .spawn(move || {
            let mut asked = false;
            platform::for_each(signals, |signal| {
                if asked {
                    leave(signal.exit_code());
                }
                asked = true;
                // First asked, then said: nobody may read what is said.
                shutdown::request(&ledger, signal.into());
                to_stderr(format_args!(
                    "{signal}: shutting down; a second signal leaves at once"
                ));
            });
        })
        .map(drop)
}

/// `dump = "…"`: the signal that has a snapshot printed to stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpSignal {
    Sigusr1,
    Sigusr2,
}

/// Prints a snapshot to stderr whenever the signal comes, on a thread of its own until the process ends: nobody may read what
/// it prints, and the other signals must not wait for that.
///
/// # Errors
/// If the handler or the thread cannot be set up.
pub(crate) fn dump_at(ledger: Arc<Ledger>, signal: DumpSignal) -> io::Result<()> {
    let Some(signals) = platform::listen_to(signal)? else {
        to_stderr(format_args!(
            "there is no such signal here as `dump = \"…\"` names; `bgtask::snapshot()` shows the same"
        ));
        return Ok(());
    };
    thread::Builder::new()
        .name("bgtask-dump".to_owned())
        .spawn(move || {
            // However many have come while one was printed, one more follows.
            platform::for_each_of(signals, || {
                to_stderr(format_args!("{}", snapshot::take(&ledger)));
            });
        })
        .map(drop)
}

/// Ends the process here and now, whatever its threads are doing.
pub(crate) fn leave(code: i32) -> ! {
    platform::leave(code)
}

#[cfg(unix)]
mod platform {
    use super::{DumpSignal, Signal};
    use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
    use signal_hook::flag;
    use signal_hook::iterator::Signals;
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    /// The second signal ends the process in the signal handler itself: no thread has to be free for it, ours included.
    /// Each handler first looks whether there was one before, and then notes that there is one now.
    pub(super) fn listen() -> io::Result<Signals> {
        // First of all: from the first handler on a signal no longer ends the process, and one that the watcher is not told of
        // would be lost.
        let signals = Signals::new([SIGINT, SIGTERM])?;
        let one_has_come = Arc::new(AtomicBool::new(false));
        for signal in [Signal::Interrupt, Signal::Terminate] {
            let (number, code) = (signal.number(), signal.exit_code());
            flag::register_conditional_shutdown(number, code, one_has_come.clone())?;
            flag::register(number, one_has_come.clone())?;
        }
        Ok(signals)
    }

    pub(super) fn for_each(mut signals: Signals, mut handle: impl FnMut(Signal)) {
        for number in signals.forever() {
            handle(match number {
                SIGINT => Signal::Interrupt,
                _ => Signal::Terminate,
            });
        }
    }

    pub(super) fn listen_to(signal: DumpSignal) -> io::Result<Option<Signals>> {
        let number = match signal {
            DumpSignal::Sigusr1 => SIGUSR1,
            DumpSignal::Sigusr2 => SIGUSR2,
        };
        Signals::new([number]).map(Some)
    }

    pub(super) fn for_each_of(mut signals: Signals, mut handle: impl FnMut()) {
        signals.forever().for_each(|_| handle());
    }

    /// Without exit handlers: one of them may wait for a lock that a stuck thread holds.
    pub(super) fn leave(code: i32) -> ! {
        signal_hook::low_level::exit(code)
    }
}

#[cfg(windows)]
mod platform {
    use super::{DumpSignal, Signal};
    use std::convert::Infallible;
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

    pub(super) fn listen() -> io::Result<Listeners> {
        let runtime = Builder::new_current_thread().build()?;
        let entered = runtime.enter();
        let (c, r#break) = (ctrl_c()?, ctrl_break()?);
        let (close, logoff, shutdown) = (ctrl_close()?, ctrl_logoff()?, ctrl_shutdown()?);
        drop(entered);
        Ok(Listeners {
            runtime,
            c,
            r#break,
            close,
            logoff,
            shutdown,
        })
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

    pub(super) fn listen_to(_: DumpSignal) -> io::Result<Option<Infallible>> {
        Ok(None)
    }

    pub(super) fn for_each_of(none: Infallible, _handle: impl FnMut()) {
        match none {}
    }

    pub(super) fn leave(code: i32) -> ! {
        std::process::exit(code)
    }
}

#[cfg(not(any(unix, windows)))]
mod platform {
    use super::{DumpSignal, Signal};
    use std::convert::Infallible;
    use std::io;

    pub(super) fn listen() -> io::Result<()> {
        Ok(())
    }

    pub(super) fn for_each((): (), _handle: impl FnMut(Signal)) {}

    pub(super) fn listen_to(_: DumpSignal) -> io::Result<Option<Infallible>> {
        Ok(None)
    }

    pub(super) fn for_each_of(none: Infallible, _handle: impl FnMut()) {
        match none {}
    }

    pub(super) fn leave(code: i32) -> ! {
        std::process::exit(code)
    }
}
