//! `on_shutdown = "drain" | "cancel" | "finish"`: what a task makes of the start of draining.
//! Knows nothing of how tokens fire or futures are dropped.

/// What happens to a running task when draining starts: `on_shutdown = "…"`.
///
/// Whatever is chosen, the one deadline of the shutdown holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnShutdown {
    /// `"drain"`: the task's token fires and the task ends in its own time. The default.
    #[default]
    Drain,
    /// `"cancel"`: the task's token fires and its future is dropped at its current await.
    Cancel,
    /// `"finish"`: the task's token does not fire; the task runs to its natural end.
    Finish,
}
