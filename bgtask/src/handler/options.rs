//! The options of a function as text, each as its attribute spells it: `retry(max = 5, jitter)`, `every = 5m`.
//! Must never know what an option does.

use crate::handler::log::Log;
use crate::handler::on_shutdown::OnShutdown;
use crate::handler::warn_after::WarnAfter;
use crate::policy::{Backoff, Coalesce, Concurrency, Missed, Overflow, Policies};
use crate::policy::{Rate, Restart, Retry, Schedule, Shape, Trigger};
use crate::util::fmt::Exact;
use std::fmt::{self, Display};
use std::time::Duration;

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
        let mut options = policies.map(policy_options).unwrap_or_default();
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

/// Returns the policies, what starts the function first.
fn policy_options(policies: &Policies) -> Vec<String> {
    let Policies {
        coalesce,
        rate,
        concurrency,
        retry,
        timeout,
        essential,
        schedule,
        // The signature shows it.
        states: _,
    } = policies;
    let mut options = Vec::new();
    options.extend(schedule.as_ref().map(Schedule::to_string));
    if *essential {
        options.push("essential".to_owned());
    }
    options.extend(timeout.map(|timeout| format!("timeout = {}", Exact(timeout))));
    options.extend(retry.as_ref().map(Retry::to_string));
    options.extend(concurrency.as_ref().map(Concurrency::to_string));
    options.extend(coalesce.as_ref().map(Coalesce::to_string));
    options.extend(rate.as_ref().map(Rate::to_string));
    options
}

impl Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "retry(max = {}", self.max)?;
        self.backoff.fmt(f)?;
        if self.panics {
            f.write_str(", panics")?;
        }
        if !self.last_attempt {
            f.write_str(", last_attempt = false")?;
        }
        f.write_str(")")
    }
}

/// Displays what differs from the defaults, each with a comma before it.
impl Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shape {
            Shape::Exponential => {}
            Shape::Constant => f.write_str(", backoff = constant")?,
            Shape::Linear => f.write_str(", backoff = linear")?,
        }
        if self.base != Duration::from_millis(200) {
            write!(f, ", base = {}", Exact(self.base))?;
        }
        if self.cap != Duration::from_secs(30) {
            write!(f, ", cap = {}", Exact(self.cap))?;
        }
        if self.jitter {
            f.write_str(", jitter")?;
        }
        Ok(())
    }
}

impl Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(queue) = self.queue else {
            return write!(f, "concurrency = {}", self.max);
        };
        let overflow = match self.overflow {
            Overflow::Refuse => "refuse",
            Overflow::DropOldest => "drop_oldest",
            Overflow::Wait => "wait",
        };
        write!(
            f,
            "concurrency(max = {}, queue = {queue}, overflow = {overflow})",
            self.max
        )
    }
}

impl Display for Coalesce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Coalesce::Join => "coalesce(policy = join)",
            Coalesce::Skip => "coalesce(policy = skip)",
            Coalesce::Replace => "coalesce(policy = replace)",
            Coalesce::Trailing => "coalesce(policy = trailing)",
        })
    }
}

impl Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = Exact(self.per).to_string();
        // "100/s" rather than "100/1s".
        let per = match per.strip_prefix('1') {
            Some(unit @ ("h" | "m" | "s" | "ms")) => unit,
            _ => &per,
        };
        if self.refuses {
            write!(f, "rate(limit = {}/{per}, overflow = refuse)", self.limit)
        } else {
            write!(f, "rate = {}/{per}", self.limit)
        }
    }
}

impl Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.trigger.fmt(f)?;
        if self.immediately {
            f.write_str(", immediately")?;
        }
        if self.overlap {
            f.write_str(", overlap")?;
        }
        match self.missed {
            Missed::Once => {}
            Missed::Skip => f.write_str(", missed = skip")?,
            Missed::All => f.write_str(", missed = all")?,
        }
        if !self.jitter.is_zero() {
            write!(f, ", jitter = {}", Exact(self.jitter))?;
        }
        match &self.restart {
            None => Ok(()),
            Some(restart) => write!(f, ", {restart}"),
        }
    }
}

impl Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trigger::Every(period) => write!(f, "every = {}", Exact(*period)),
            #[cfg(feature = "cron")]
            Trigger::Cron {
                expression,
                timezone,
            } => write!(f, "cron = {expression}, timezone = {}", timezone.name()),
            #[cfg(not(feature = "cron"))]
            Trigger::Cron { timezone, .. } => match *timezone {},
            Trigger::OnStart => f.write_str("on_start"),
        }
    }
}

impl Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            max,
            window,
            backoff,
            always,
        } = self;
        write!(
            f,
            "restart(max = {max}, window = {}{backoff}",
            Exact(*window)
        )?;
        f.write_str(if *always { ", when = always)" } else { ")" })
    }
}
