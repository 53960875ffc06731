//! What each option looks like where it is written: `retry(max = 5, jitter)`, `every = 5m`. What is as if not said is left out.
//! Knows nothing of what an option does.

use super::{Log, OnShutdown, WarnAfter};
#[cfg(feature = "durable")]
use crate::policy::Durable;
use crate::policy::{Backoff, Coalesce, Concurrency, Missed, Overflow, Policies};
use crate::policy::{Rate, Restart, Retry, Schedule, Shape, Trigger};
use std::fmt::{self, Display};
use std::time::Duration;

/// All options of one function that are not as if not said, separated by commas.
pub(crate) fn options(
    on_shutdown: OnShutdown,
    log: Log,
    warn_after: WarnAfter,
    policies: Option<&Policies>,
) -> Vec<String> {
    let mut options = policies.map(written).unwrap_or_default();
    match warn_after {
        WarnAfter::Unsaid => {}
        WarnAfter::After(limit) => options.push(format!("warn_after = {}", Short(limit))),
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
    options
}

fn written(policies: &Policies) -> Vec<String> {
    let Policies {
        coalesce,
        rate,
        concurrency,
        retry,
        timeout,
        essential,
        schedule,
        #[cfg(feature = "durable")]
        durable,
        // It is seen in the signature.
        states: _,
    } = policies;
    let mut options = Vec::new();
    // What starts it comes first, as it would be told.
    options.extend(schedule.as_ref().map(Schedule::to_string));
    #[cfg(feature = "durable")]
    if let Some(durable) = durable {
        options.push(durable.to_string());
        options.push(attempts(durable));
    }
    if *essential {
        options.push("essential".to_owned());
    }
    options.extend(timeout.map(|timeout| format!("timeout = {}", Short(timeout))));
    options.extend(retry.as_ref().map(Retry::to_string));
    options.extend(concurrency.as_ref().map(Concurrency::to_string));
    options.extend(coalesce.as_ref().map(Coalesce::to_string));
    options.extend(rate.as_ref().map(Rate::to_string));
    options
}

/// A duration as options write it: `1m30s`.
struct Short(Duration);

impl Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.as_millis();
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, milliseconds) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            let count = left / milliseconds;
            left %= milliseconds;
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

#[cfg(feature = "durable")]
impl Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut inside = Vec::new();
        if self.queue != "default" {
            inside.push(format!("queue = {}", self.queue));
        }
        if self.priority != 1 {
            inside.push(format!("priority = {}", self.priority));
        }
        inside.extend(self.keep.map(|keep| format!("keep = {}", Short(keep))));
        inside.extend(self.was.map(|was| format!("was = {was}")));
        if inside.is_empty() {
            f.write_str("durable")
        } else {
            write!(f, "durable({})", inside.join(", "))
        }
    }
}

/// Returns the `retry(…)` of a durable function. Its defaults are not those of other functions, so it always shows.
#[cfg(feature = "durable")]
fn attempts(durable: &Durable) -> String {
    let Durable {
        max,
        backoff,
        panics,
        ..
    } = durable;
    let panics = if *panics { ", panics" } else { "" };
    format!("retry(max = {max}{backoff}{panics})")
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

/// What follows `max = …`, with a comma before each.
impl Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shape {
            Shape::Exponential => {}
            Shape::Constant => f.write_str(", backoff = constant")?,
            Shape::Linear => f.write_str(", backoff = linear")?,
        }
        if self.base != Duration::from_millis(200) {
            write!(f, ", base = {}", Short(self.base))?;
        }
        if self.cap != Duration::from_secs(30) {
            write!(f, ", cap = {}", Short(self.cap))?;
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
        let per = Short(self.per).to_string();
        // "100/s" rather than "100/1s".
        let per = match per.strip_prefix('1') {
            Some(unit @ ("h" | "m" | "s" | "ms")) => unit,
            _ => &per,
        };
        match self.refuses {
            false => write!(f, "rate = {}/{per}", self.limit),
            true => write!(f, "rate(limit = {}/{per}, overflow = refuse)", self.limit),
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
            write!(f, ", jitter = {}", Short(self.jitter))?;
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
            Trigger::Every(period) => write!(f, "every = {}", Short(*period)),
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
            Short(*window)
        )?;
        f.write_str(if *always { ", when = always)" } else { ")" })
    }
}
