//! How the options of a function are shown: `retry(max = 5, jitter)`, `every = 5m`. Defaults are left out.
//! Must never know what an option does.

use super::{Log, OnShutdown, WarnAfter};
use crate::policy::{Policies, Short};

/// Returns the text of each option of one function that differs from its default.
pub(crate) fn options(
    on_shutdown: OnShutdown,
    log: Log,
    warn_after: WarnAfter,
    policies: Option<&Policies>,
) -> Vec<String> {
    let mut options = policies.map(Policies::display).unwrap_or_default();
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
