//! `on_shutdown = "drain" | "cancel" | "finish"`: what happens to a task when draining starts.
//! Must never know how tokens fire or how futures are dropped.

/// The treatment of a running task when draining starts: `on_shutdown = "…"`.
///
/// The deadline of the shutdown applies to all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum OnShutdown {
    /// `"drain"`: its token fires, and the task ends by itself. The default.
    #[default]
    Drain,
    /// `"cancel"`: its token fires, and its future is dropped at its current await.
    Cancel,
    /// `"finish"`: its token does not fire, and the task runs to its end.
    Finish,
}
