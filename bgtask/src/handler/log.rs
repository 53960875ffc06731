//! `log = "off" | "trace" … "error"`: how loudly a task's ordinary life is told.
//! Knows nothing of subscribers; it only maps the option to a level.

/// The level of a task's started and finished events: `log = "…"`.
///
/// Panics and errors nobody looked at are reported whatever the level, unless it is [`Log::Off`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Log {
    /// `"off"`: nothing is logged, not even a panic or an error. Hooks and totals still see them.
    Off,
    /// `"trace"`.
    Trace,
    /// `"debug"`: the default.
    #[default]
    Debug,
    /// `"info"`.
    Info,
    /// `"warn"`.
    Warn,
    /// `"error"`.
    Error,
}

impl Log {
    pub(crate) fn level(self) -> Option<tracing::Level> {
        match self {
            Log::Off => None,
            Log::Trace => Some(tracing::Level::TRACE),
            Log::Debug => Some(tracing::Level::DEBUG),
            Log::Info => Some(tracing::Level::INFO),
            Log::Warn => Some(tracing::Level::WARN),
            Log::Error => Some(tracing::Level::ERROR),
        }
    }
}
