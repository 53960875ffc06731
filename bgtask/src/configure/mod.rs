//! New values for the options of functions: what a program may write, and how it is applied to a manager.
//! Owns the rules of names and patterns; must never know how a policy uses its values.

mod apply;
#[cfg(feature = "serde")]
mod deserialize;
mod pattern;

pub(crate) use apply::{apply, check};

use crate::Rate;
use std::time::Duration;

/// New values for the options of some functions, by the functions' names; see
/// [`Manager::reconfigure`](crate::Manager::reconfigure).
///
/// A name is that of [`Handler::name`](crate::Handler::name), or a pattern in which `*` stands for any characters. A value replaces that
/// of the attribute: an option that the attribute does not have cannot be added. Where several names fit a function, a name without `*`
/// comes before patterns, a longer pattern before a shorter one, and of two equal ones the later.
///
/// With the feature `serde` it can be read from whatever a program is configured with. The options are named as on the attribute:
///
/// ```
/// # #[cfg(feature = "serde")] {
/// # use std::time::Duration;
/// let from_file: bgtask::Overrides = serde_json::from_str(r#"{
///     "shop::*":               { "timeout": "10s" },
///     "shop::deliver_webhook": { "concurrency": 16, "retry": { "max": 8, "base": "1s" }, "rate": "50/s" },
///     "shop::refresh_prices":  { "every": "10m" }
/// }"#).unwrap();
///
/// let in_code = bgtask::Overrides::new()
///     .set("shop::*", |options| options.timeout(Duration::from_secs(10)))
///     .set("shop::deliver_webhook", |options| {
///         let retry = options.concurrency(16).max_attempts(8).base(Duration::from_secs(1));
///         retry.rate(bgtask::Rate::per_second(50))
///     })
///     .set("shop::refresh_prices", |options| options.every(Duration::from_secs(600)));
/// assert_eq!(from_file, in_code);
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides(Vec<(String, OptionValues)>);

impl Overrides {
    /// Returns overrides that change nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds others.
    pub(crate) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// Adds new values for the functions of this name, or whose names fit this pattern.
    #[must_use]
    pub fn set(
        mut self,
        functions: impl Into<String>,
        values: impl FnOnce(OptionValues) -> OptionValues,
    ) -> Self {
        self.0
            .push((functions.into(), values(OptionValues::default())));
        self
    }
}

/// New values for the options of a function. What is not set keeps the value of the attribute.
///
/// Those that decide on code are not among them: `coalesce`, `overflow`, `on_shutdown`, `log`, keys and predicates.
#[must_use]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptionValues {
    timeout: Option<Duration>,
    max_attempts: Option<u32>,
    base: Option<Duration>,
    cap: Option<Duration>,
    concurrency: Option<usize>,
    queue: Option<usize>,
    rate: Option<Rate>,
    every: Option<Duration>,
    cron: Option<String>,
    timezone: Option<String>,
    jitter: Option<Duration>,
}

impl OptionValues {
    /// Sets `timeout`. An attempt that runs keeps the limit that it began with.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets `retry(max = …)`, the number of attempts in all; at least 2.
    pub fn max_attempts(mut self, max: u32) -> Self {
        self.max_attempts = Some(max);
        self
    }

    /// Sets `retry(base = …)`, the pause after the first failed attempt.
    pub fn base(mut self, base: Duration) -> Self {
        self.base = Some(base);
        self
    }

    /// Sets `retry(cap = …)`, the longest pause.
    pub fn cap(mut self, cap: Duration) -> Self {
        self.cap = Some(cap);
        self
    }

    /// Sets `concurrency`, or `concurrency(max = …)`; at least 1. A higher limit admits calls that wait, at once. A lower one stops no
    /// call that runs.
    pub fn concurrency(mut self, max: usize) -> Self {
        self.concurrency = Some(max);
        self
    }

    /// Sets `concurrency(queue = …)`. A shorter queue drops no call that waits.
    pub fn queue(mut self, queue: usize) -> Self {
        self.queue = Some(queue);
        self
    }

    /// Sets `rate`, or `rate(limit = …)`. Calls that wait get their starts by the new rate.
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Sets `every`. The ticks begin anew: the first comes one period after the change.
    pub fn every(mut self, period: Duration) -> Self {
        self.every = Some(period);
        self
    }

    /// Sets `cron`.
    pub fn cron(mut self, expression: impl Into<String>) -> Self {
        self.cron = Some(expression.into());
        self
    }

    /// Sets `timezone`, to a zone of the IANA database such as `"Europe/Berlin"` or `"UTC"`.
    pub fn timezone(mut self, timezone: impl Into<String>) -> Self {
        self.timezone = Some(timezone.into());
        self
    }

    /// Sets `jitter`, that of a schedule.
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = Some(jitter);
        self
    }
}
