//! The values that options have as text.
//! Knows nothing of options or tokens.

pub(crate) mod cron;
pub(crate) mod duration;
pub(crate) mod rate;
