//! The values of one function's policies that a program may change while it runs.
//! Plain data; must never know who changes them, or when.

use super::concurrency::Concurrency;
use super::policies::Policies;
use super::rate::RateLimit;
use super::retry::Retry;
use std::time::Duration;

/// Each is present if the attribute has the option.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Values {
    pub(crate) rate: Option<RateLimit>,
    pub(crate) concurrency: Option<Concurrency>,
    pub(crate) retry: Option<Retry>,
    pub(crate) timeout: Option<Duration>,
}

impl Values {
    /// The values that the attribute has.
    pub(crate) fn of(policies: &Policies) -> Self {
        Self {
            rate: policies.rate,
            concurrency: policies.concurrency,
            retry: policies.retry,
            timeout: policies.timeout,
        }
    }
}
