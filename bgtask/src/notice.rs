//! Where reports go: to `tracing`, or, where the program has no subscriber, to stderr if they must not be missed.
//! Knows nothing of tasks beyond their name and id.

use std::fmt;
use std::io::Write;

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

/// An event at the named level if there is a subscriber, one line on stderr if there is none.
///
/// `report!(error, "task panicked"; name = …, id = …)`; the fields are displayed.
macro_rules! report {
    ($level:ident, $message:literal $(; $($field:ident = $value:expr),+ $(,)?)?) => {
        if $crate::notice::has_subscriber() {
            ::tracing::$level!(target: "bgtask", $($($field = %$value,)+)? $message);
        } else {
            $crate::notice::to_stderr(::std::format_args!(
                ::std::concat!($message $($(, " ", ::std::stringify!($field), "={}")+)?)
                $($(, $value)+)?
            ));
        }
    };
}
pub(crate) use report;
