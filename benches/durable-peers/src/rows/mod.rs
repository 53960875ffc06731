//! The parts of the page, each with its measurements. Must never know an engine.

pub(crate) mod churn;
pub(crate) mod emptied;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod million;
pub(crate) mod rates;
pub(crate) mod takeover;
