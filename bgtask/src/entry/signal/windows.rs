//! The console events of Windows as signals.

use crate::entry::signal::dump::{DumpSignal, NoDump, no_dump};
use crate::report::Signal;
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlLogoff, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close,
    ctrl_logoff, ctrl_shutdown,
};

/// The listeners, with a runtime of their own that polls them: the user's runtime may be stuck.
pub(super) struct Listeners {
    runtime: Runtime,
    c: CtrlC,
    r#break: CtrlBreak,
    close: CtrlClose,
    logoff: CtrlLogoff,
    shutdown: CtrlShutdown,
}

pub(super) type Stop = Listeners;
pub(super) type Dump = NoDump;

pub(super) fn listen(
    stop: bool,
    dump: Option<DumpSignal>,
) -> io::Result<(Option<Stop>, Option<Dump>)> {
    let stop = if stop { Some(listeners()?) } else { None };
    Ok((stop, no_dump(dump)))
}

/// Makes the next signal a first one again. Nothing here counts them.
pub(super) fn forget() {}

fn listeners() -> io::Result<Stop> {
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
        let signal = listeners.runtime.block_on(poll_fn(|cx| {
            if listeners.c.poll_recv(cx).is_ready() {
                return Poll::Ready(Signal::Interrupt);
            }
            let terminate = listeners.r#break.poll_recv(cx).is_ready()
                || listeners.close.poll_recv(cx).is_ready()
                || listeners.logoff.poll_recv(cx).is_ready()
                || listeners.shutdown.poll_recv(cx).is_ready();
            if terminate {
                return Poll::Ready(Signal::Terminate);
            }
            Poll::Pending
        }));
        handle(signal);
    }
}

pub(super) fn for_each_dump(none: Dump, _handle: impl FnMut()) {
    match none {}
}

pub(super) fn exit(code: i32) -> ! {
    std::process::exit(code)
}
