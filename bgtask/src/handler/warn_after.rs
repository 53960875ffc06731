//! `warn_after = "30s" | "never"`: how long a task may run before it is reported.
//! Plain data; must never know who reports it, or about clocks.

#[cfg(feature = "serde")]
use crate::util::serialize::seconds;
use std::time::Duration;

/// How long a task of a function may run before it is reported once: `warn_after = "…"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum WarnAfter {
    /// No value: the value of `#[bgtask::main(warn_after = "…")]` or
    /// [`ManagerBuilder::warn_after`](crate::ManagerBuilder::warn_after) applies, if there is one.
    #[default]
    Default,
    /// `"30s"`.
    After(#[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))] Duration),
    /// `"never"`: its tasks are never reported.
    Never,
}
