//! What happens to jobs, as metrics of the `metrics` facade; docs/durable.md documents them for users. Without the feature, nothing
//! is counted and nothing is read. Must never know a database, or where metrics go.

#[cfg(feature = "metrics")]
mod figures;
#[cfg(not(feature = "metrics"))]
mod off;
#[cfg(feature = "metrics")]
mod recorder;

#[cfg(feature = "metrics")]
pub(crate) use figures::Figures;
#[cfg(not(feature = "metrics"))]
pub(crate) use off::Figures;

/// What is counted of jobs, each by the name of their function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "metrics"),
    allow(dead_code, reason = "some are counted by the feature itself")
)]
pub(crate) enum Count {
    Stored,
    Claimed,
    Done,
    Dead,
    Cancelled,
    Retried,
    Rescued,
    Crashed,
    Fenced,
    Parked,
}
