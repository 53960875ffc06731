//! The serialized form of durations, times and locations in public data, with the feature `serde`.
//! Must never know which data it is.

use serde::{Serialize, Serializer};
use std::fmt::Display;
use std::time::{Duration, SystemTime};

/// Seconds, as a number with a fraction: `1.5`.
pub(crate) fn seconds<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    duration.as_secs_f64().serialize(to)
}

pub(crate) fn optional_seconds<S: Serializer>(
    duration: &Option<Duration>,
    to: S,
) -> Result<S::Ok, S::Error> {
    duration.as_ref().map(Duration::as_secs_f64).serialize(to)
}

/// RFC 3339 in UTC: `2026-11-25T03:06:14.250Z`.
pub(crate) fn time<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_rfc3339_millis(*time))
}

pub(crate) fn optional_time<S: Serializer>(
    time: &Option<SystemTime>,
    to: S,
) -> Result<S::Ok, S::Error> {
    let text = time.map(|time| humantime::format_rfc3339_millis(time).to_string());
    text.serialize(to)
}

/// The text that the value displays, as for a location: `src/api.rs:40:9`.
pub(crate) fn display<S: Serializer>(value: &impl Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}
