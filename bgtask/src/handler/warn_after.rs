//! `warn_after = "30s" | "never"`: from when on a task that has not ended is spoken of.
//! Plain data; knows nothing of who looks, or of clocks.

use std::time::Duration;

/// How long a task of a function may take before that is reported, once: `warn_after = "…"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WarnAfter {
    /// Not said: as long as `#[bgtask::main(warn_after = "…")]` or
    /// [`ManagerBuilder::warn_after`](crate::ManagerBuilder::warn_after) says, if one of them does.
    #[default]
    Default,
    /// `"30s"`.
    After(Duration),
    /// `"never"`: it may take as long as it likes.
    Never,
}
