//! The values that options take as text.

pub(crate) mod cron;
pub(crate) mod duration;
pub(crate) mod rate;
