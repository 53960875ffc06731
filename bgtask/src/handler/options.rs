//! The options of a function as text, each as its attribute spells it: `retry(max = 5, jitter)`, `every = 5m`.
//! Must never know what an option does.

use crate::handler::log::Log;
use crate::handler::on_shutdown::OnShutdown;
use crate::handler::warn_after::WarnAfter;
use crate::policy::Policies;
use crate::util::fmt::Exact;
use std::fmt::{self, Display};

/// The options of one function; see [`Handler::options`](crate::Handler::options).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Options(Vec<String>);

impl Options {
    pub(super) fn new(
        on_shutdown: OnShutdown,
        log: Log,
        warn_after: WarnAfter,
        policies: Option<&Policies>,
    ) -> Self {
        let mut options = policies.map(Policies::display).unwrap_or_default();
        match warn_after {
            WarnAfter::Default => {}
            WarnAfter::After(limit) => options.push(format!("warn_after = {}", Exact(limit))),
            WarnAfter::Never => options.push("warn_after = never".to_owned()),
        }
        match on_shutdown {
            OnShutdown::Drain => {}
            OnShutdown::Cancel => options.push("on_shutdown = cancel".to_owned()),
            OnShutdown::Finish => options.push("on_shutdown = finish".to_owned()),
        }
        match log {
            Log::Debug => {}
            Log::Off => options.push("log = off".to_owned()),
            Log::Trace => options.push("log = trace".to_owned()),
            Log::Info => options.push("log = info".to_owned()),
            Log::Warn => options.push("log = warn".to_owned()),
            Log::Error => options.push("log = error".to_owned()),
        }
        Self(options)
    }

    /// Returns whether the attribute sets no option except `name`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the options one by one, each as the attribute spells it. A schedule is one option with all that belongs to it.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.join(", "))
    }
}
