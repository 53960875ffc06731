//! Events: sent to `tracing`, or, without a subscriber, written to stderr if they must not be missed.
//! Owns the escaping of every field; must never know about tasks beyond their name and id.

use crate::util::panic::catch;
use std::fmt;
use std::io::Write;
use tracing::Level;
use tracing::field::{DisplayValue, display};

/// Returns whether this thread has a `tracing` subscriber.
pub(crate) fn has_subscriber() -> bool {
    tracing::dispatcher::get_default(|dispatch| !dispatch.is::<tracing::subscriber::NoSubscriber>())
}

/// Writes one line to stderr in a single write, because stderr is not buffered and the panic hook of another thread could print in
/// between. Unlike `eprintln!`, it does not panic if stderr is closed.
pub(crate) fn to_stderr(line: fmt::Arguments<'_>) {
    let line = format!("bgtask: {line}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Sends an event to the subscriber. Returns `false` if there is none, or if it panicked.
pub(crate) fn sent(event: impl FnOnce()) -> bool {
    has_subscriber() && catch(event).is_ok()
}

/// Emits an event at the given level, or, without a subscriber, writes one line to stderr.
///
/// `report!(error, "task panicked"; name = …, id: …)`: `=` displays a field, `:` keeps it a number or a `bool`, `~` marks a
/// [`SpanField`], and `+` the fields of a call, which are left out if there are none. `docs/tracing.md` lists every event, and a test compares it with the sources.
macro_rules! report {
    ($level:ident, $message:literal
        $(; $($field:ident $sign:tt $value:expr),+ $(,)?)?) => {
        if !$crate::util::log::sent(|| {
            ::tracing::$level!(target: "bgtask", $($($field = $crate::util::log::value!($sign $value),)+)? $message);
        }) {
            $crate::util::log::to_stderr(::std::format_args!(
                ::std::concat!($message $($(, $crate::util::log::label!($field $sign))+)?)
                $($(, $crate::util::log::shown!($sign $value))+)?
            ));
        }
    };
}
pub(crate) use report;

/// Emits an event at the given level. Without a subscriber, does nothing.
macro_rules! mention {
    ($level:ident, $message:literal
        $(; $($field:ident $sign:tt $value:expr),+ $(,)?)?) => {
        // Ignores the panic of a subscriber.
        let _ = $crate::util::log::sent(|| {
            ::tracing::$level!(target: "bgtask", $($($field = $crate::util::log::value!($sign $value),)+)? $message);
        });
    };
}
pub(crate) use mention;

/// Emits an event like [`mention`], at the level of a function's `log` option.
macro_rules! mention_at {
    ($log:expr, $($event:tt)+) => {
        match $log.level() {
            None => {}
            Some(::tracing::Level::TRACE) => { $crate::util::log::mention!(trace, $($event)+); }
            Some(::tracing::Level::DEBUG) => { $crate::util::log::mention!(debug, $($event)+); }
            Some(::tracing::Level::INFO) => { $crate::util::log::mention!(info, $($event)+); }
            Some(::tracing::Level::WARN) => { $crate::util::log::mention!(warn, $($event)+); }
            Some(_) => { $crate::util::log::mention!(error, $($event)+); }
        }
    };
}
pub(crate) use mention_at;

/// Converts a field's value for `tracing`.
macro_rules! value {
    (= $value:expr) => {
        ::tracing::field::display($crate::util::log::shown!(= $value))
    };
    (: $value:expr) => {
        $value
    };
    (~ $value:expr) => {
        $value.recorded()
    };
    (+ $value:expr) => {
        $value.in_event()
    };
}
pub(crate) use value;

/// Returns the name of a field for stderr, and the place of its value.
macro_rules! label {
    ($field:ident +) => {
        "{}"
    };
    ($field:ident $sign:tt) => {
        ::std::concat!(" ", ::std::stringify!($field), "={}")
    };
}
pub(crate) use label;

/// Converts a field's value for display. Escapes every displayed value, so that no field can miss it. For a text that may be long,
/// the caller adds an `Excerpt`.
macro_rules! shown {
    (= $value:expr) => {
        $crate::util::text::Escaped(&$value)
    };
    (: $value:expr) => {
        $value
    };
    (+ $value:expr) => {
        $value.behind_text()
    };
}
pub(crate) use shown;

/// A field that is also in the call's span. An event within that span need not repeat it.
#[derive(Debug)]
pub(crate) struct SpanField<T> {
    value: T,
    is_repeated: bool,
}

impl<T> SpanField<T> {
    pub(crate) fn recorded(&self) -> Option<&T> {
        self.is_repeated.then_some(&self.value)
    }
}

impl<T: fmt::Display> fmt::Display for SpanField<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// The two fields that are also in the call's span.
#[derive(Debug)]
pub(crate) struct CallFields {
    pub(crate) name: SpanField<DisplayValue<&'static str>>,
    pub(crate) id: SpanField<u64>,
}

impl CallFields {
    /// Returns the fields of an event at `level`, which is logged in the call's span if the call has one.
    ///
    /// The span has the level `info` and the same target, so a filter that shows an event at `info` or below also shows the span.
    /// A warning or an error may pass a filter that hides the span, so it repeats the name and the id.
    pub(crate) fn new(name: &'static str, id: u64, level: Option<Level>, has_span: bool) -> Self {
        let is_repeated = !has_span || level.is_none_or(|level| level < Level::INFO);
        Self {
            name: SpanField {
                value: display(name),
                is_repeated,
            },
            id: SpanField {
                value: id,
                is_repeated,
            },
        }
    }
}
