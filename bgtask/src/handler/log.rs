//! `log = "off" | "trace" | … | "error"`: the level of a task's ordinary events.
//! Maps the option to a level; must never know about subscribers.

/// The level of the events about a task's start and end: `log = "…"`.
///
/// Panics and unread errors are logged at `error` whatever the level is, except with [`Log::Off`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Log {
    /// `"off"`: logs nothing, not even a panic or an error. Hooks and totals still include them.
    Off,
    /// `"trace"`.
    Trace,
    /// `"debug"`. The default.
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
