//! Where reports go: to `tracing`, or, where the program has no subscriber, to stderr if they must not be missed.
//! Knows nothing of tasks beyond their name and id.

use crate::panic_site::catch;
use std::fmt;
use std::io::Write;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Whether anybody listens to `tracing` here.
pub(crate) fn has_subscriber() -> bool {
    tracing::dispatcher::get_default(|dispatch| !dispatch.is::<tracing::subscriber::NoSubscriber>())
}

/// One line on stderr, in one write: stderr is not buffered, and what the panic hook prints on another thread would come
/// between its pieces. Unlike `eprintln!` it does not panic where stderr is closed: a report must not become a failure.
pub(crate) fn to_stderr(line: fmt::Arguments<'_>) {
    let line = format!("bgtask: {line}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Sends an event to the subscriber; `false` if it has to be told otherwise, since there is none, or it panicked.
pub(crate) fn sent(event: impl FnOnce()) -> bool {
    has_subscriber() && catch(event).is_ok()
}

/// Calls `tell` on a thread of its own: nobody may ever read what it writes, and that must not hold up a shutdown. Without a
/// thread to spare it stays untold, and gives `false`.
pub(crate) fn tell_aside(tell: impl FnOnce() + Send + 'static) -> bool {
    let spawned = thread::Builder::new()
        .name("bgtask-notice".to_owned())
        .spawn(tell);
    spawned.is_ok()
}

/// The same, and waits for it, at most for a second.
pub(crate) fn tell_within_a_second(tell: impl FnOnce() + Send + 'static) {
    let (told, has_told) = mpsc::channel();
    let spawned = tell_aside(move || {
        tell();
        // Nobody may wait any more.
        let _ = told.send(());
    });
    // Its end in a panic ends the waiting too.
    if spawned {
        let _ = has_told.recv_timeout(Duration::from_secs(1));
    }
}

/// An event at the named level if there is a subscriber, one line on stderr if there is none.
///
/// `report!(error, "task panicked"; name = …, id = …)`; the fields are displayed.
macro_rules! report {
    ($level:ident, $message:literal $(; $($field:ident = $value:expr),+ $(,)?)?) => {
        if !$crate::notice::sent(|| {
            ::tracing::$level!(target: "bgtask", $($($field = %$value,)+)? $message);
        }) {
            $crate::notice::to_stderr(::std::format_args!(
                ::std::concat!($message $($(, " ", ::std::stringify!($field), "={}")+)?)
                $($(, $value)+)?
            ));
        }
    };
}
pub(crate) use report;
