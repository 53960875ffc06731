//! `restart(…)`: whether a start-up task runs again after its end. Must never know tasks or clocks.

use super::backoff::Backoff;
use crate::util::fmt::Exact;
use std::fmt;
use std::time::Duration;

/// `restart(…)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// How many restarts a window may contain.
    pub max: u32,
    pub window: Duration,
    pub backoff: Backoff,
    /// The task also restarts after a normal end.
    pub always: bool,
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            max,
            window,
            backoff,
            always,
        } = self;
        let window = Exact(*window);
        write!(f, "restart(max = {max}, window = {window}{backoff}")?;
        f.write_str(if *always { ", when = always)" } else { ")" })
    }
}
