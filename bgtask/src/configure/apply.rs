//! Overrides on their way into a manager: checked as a whole, then applied as a whole.
//! Owns the messages about wrong ones; must never know how a policy uses its values.

use super::pattern::{fits, rank};
use super::{OptionValues, Overrides};
use crate::error::OverridesError;
use crate::handler::{Handler, handlers};
use crate::policy::{Plan, Policies, Trigger, Values};
use crate::tracker::shared::Shared;
use std::time::Duration;

/// The names that a message lists at most.
const LISTED: usize = 20;

/// The new values of one function.
struct Changed {
    handler: &'static Handler,
    policies: &'static Policies,
    values: Values,
    plan: Option<Plan>,
    mistakes: Vec<String>,
}

/// Applies the overrides to a manager. Functions that none of them names have the values of their attributes again.
///
/// # Errors
/// If something is wrong with one of them. Then nothing is changed.
pub(crate) fn apply(shared: &Shared, overrides: &Overrides) -> Result<(), OverridesError> {
    let changed = resolve(overrides, &handlers())?;
    let values = changed.iter().map(|changed| {
        let name = changed.handler.name();
        (name, changed.policies, changed.values)
    });
    let plans = changed.iter().filter_map(|changed| {
        let plan = changed.plan.clone()?;
        Some((changed.policies, plan))
    });
    let (values, plans): (Vec<_>, Vec<_>) = (values.collect(), plans.collect());
    shared.policies.set_values(&values, plans);
    Ok(())
}

/// Checks the overrides, and changes nothing.
///
/// # Errors
/// If something is wrong with one of them.
pub(crate) fn check(overrides: &Overrides) -> Result<(), OverridesError> {
    resolve(overrides, &handlers()).map(drop)
}

fn resolve(
    overrides: &Overrides,
    handlers: &[&'static Handler],
) -> Result<Vec<Changed>, OverridesError> {
    let mut mistakes = Vec::new();
    for (pattern, _) in &overrides.0 {
        if !handlers.iter().any(|handler| fits(pattern, handler.name())) {
            mistakes.push(unknown(pattern, handlers));
        }
    }
    // Where it is set, and whether one of the functions has it.
    let mut used: Vec<_> = overrides
        .0
        .iter()
        .map(|(_, values)| values.names())
        .collect();
    let mut all = Vec::new();
    for &handler in handlers {
        let mut entries: Vec<_> = overrides.0.iter().enumerate().collect();
        entries.retain(|(_, (pattern, _))| fits(pattern, handler.name()));
        // The last one stands. The sort keeps the order of equal ones.
        entries.sort_by_key(|(_, (pattern, _))| rank(pattern));
        if entries.is_empty() {
            continue;
        }
        let policies = handler.declared();
        let mut changed = Changed {
            handler,
            policies,
            values: Values::of(policies),
            plan: None,
            mistakes: Vec::new(),
        };
        for (index, (pattern, values)) in entries {
            let unknown = changed.set(values);
            used[index].retain(|option| unknown.contains(option));
            // A pattern names what some of its functions have.
            if !pattern.contains('*') && !unknown.is_empty() {
                mistakes.push(lacks(handler, &unknown));
                used[index].clear();
            }
        }
        changed.check();
        mistakes.append(&mut changed.mistakes);
        all.push(changed);
    }
    for ((pattern, _), unused) in overrides.0.iter().zip(used) {
        let fits_any = handlers.iter().any(|handler| fits(pattern, handler.name()));
        for option in unused.iter().filter(|_| fits_any) {
            mistakes.push(format!(
                "none of the functions that fit `{pattern}` has the option `{option}` on its attribute, and overrides add none"
            ));
        }
    }
    if mistakes.is_empty() {
        Ok(all)
    } else {
        Err(OverridesError(mistakes))
    }
}

/// Returns the message about a name that no function has.
fn unknown(pattern: &str, handlers: &[&'static Handler]) -> String {
    let mut names: Vec<_> = handlers.iter().map(|handler| handler.name()).collect();
    names.dedup();
    let others = names.len().saturating_sub(LISTED);
    let mut listed: Vec<_> = names
        .iter()
        .take(LISTED)
        .map(|name| format!("`{name}`"))
        .collect();
    if others > 0 {
        listed.push(format!("{others} others"));
    }
    let listed = if listed.is_empty() {
        "none is linked into the program".to_owned()
    } else {
        format!("there are {}", listed.join(", "))
    };
    format!("no background function fits `{pattern}`: {listed}")
}

/// Returns the message about options that a function's attribute does not have.
fn lacks(handler: &Handler, options: &[&str]) -> String {
    if handler.declared().are_durable() && options.contains(&"retry") {
        return format!(
            "`{}`: the attempts of a durable function are counted in its jobs, by all processes: change its attribute",
            handler.name()
        );
    }
    let options: Vec<_> = options.iter().map(|option| format!("`{option}`")).collect();
    let own = handler.options().to_string();
    let own = if own.is_empty() {
        "none".to_owned()
    } else {
        own
    };
    format!(
        "`{}` does not have {} on its attribute, and overrides add no options: it has {own}",
        handler.name(),
        options.join(", ")
    )
}

impl OptionValues {
    /// Returns the names of the options that are set.
    fn names(&self) -> Vec<&'static str> {
        let Self {
            timeout,
            max_attempts,
            base,
            cap,
            concurrency,
            queue,
            rate,
            every,
            cron,
            timezone,
            jitter,
        } = self;
        let retries = max_attempts.is_some() || base.is_some() || cap.is_some();
        let all = [
            (timeout.is_some(), "timeout"),
            (retries, "retry"),
            (concurrency.is_some(), "concurrency"),
            (queue.is_some(), "concurrency(queue = …)"),
            (rate.is_some(), "rate"),
            (every.is_some(), "every"),
            (cron.is_some(), "cron"),
            (timezone.is_some(), "timezone"),
            (jitter.is_some(), "jitter"),
        ];
        let set = all.into_iter().filter(|(is_set, _)| *is_set);
        set.map(|(_, name)| name).collect()
    }
}

impl Changed {
    /// Sets the values of those options that the attribute has. Returns the others.
    fn set(&mut self, new: &OptionValues) -> Vec<&'static str> {
        let mut unknown = new.names();
        let mut has = |option: &str| unknown.retain(|other| *other != option);
        if let Some(timeout) = &mut self.values.timeout {
            has("timeout");
            *timeout = new.timeout.unwrap_or(*timeout);
        }
        if let Some(retry) = &mut self.values.retry {
            has("retry");
            retry.max = new.max_attempts.unwrap_or(retry.max);
            retry.backoff.base = new.base.unwrap_or(retry.backoff.base);
            retry.backoff.cap = new.cap.unwrap_or(retry.backoff.cap);
        }
        if let Some(concurrency) = &mut self.values.concurrency {
            has("concurrency");
            concurrency.max = new.concurrency.unwrap_or(concurrency.max);
            if let Some(queue) = &mut concurrency.queue {
                has("concurrency(queue = …)");
                *queue = new.queue.unwrap_or(*queue);
            }
        }
        if let Some(limit) = &mut self.values.rate {
            has("rate");
            limit.rate = new.rate.unwrap_or(limit.rate);
        }
        let Some(schedule) = &self.policies.schedule else {
            return unknown;
        };
        let plan = || Plan::new(schedule.trigger.clone(), schedule.jitter);
        let mut plan = self.plan.take().unwrap_or_else(plan);
        if schedule.trigger != Trigger::OnStart {
            has("jitter");
            plan.jitter = new.jitter.unwrap_or(plan.jitter);
        }
        match &mut plan.trigger {
            Trigger::Every(period) => {
                has("every");
                *period = new.every.unwrap_or(*period);
            }
            #[cfg(feature = "cron")]
            Trigger::Cron {
                expression,
                timezone,
            } => {
                has("cron");
                has("timezone");
                let new_expression = new.cron.as_deref().unwrap_or(expression);
                let new_timezone = new.timezone.as_deref().unwrap_or(timezone.name());
                match crate::schedule::cron_trigger(new_expression, new_timezone) {
                    Ok(trigger) => plan.trigger = trigger,
                    Err(error) => {
                        let mistake = format!("`{}`: {error}", self.handler.name());
                        self.mistakes.push(mistake);
                    }
                }
            }
            #[cfg(not(feature = "cron"))]
            Trigger::Cron { timezone, .. } => match *timezone {},
            Trigger::OnStart => {}
        }
        self.plan = Some(plan);
        unknown
    }

    /// Checks the values as the attribute checks its own.
    fn check(&mut self) {
        let name = self.handler.name();
        let mut wrong = |is_wrong: bool, what: &str| {
            if is_wrong {
                self.mistakes.push(format!("`{name}`: {what}"));
            }
        };
        let Values {
            rate: _,
            concurrency,
            retry,
            timeout,
        } = self.values;
        wrong(
            timeout == Some(Duration::ZERO),
            "`timeout` must be longer than zero",
        );
        wrong(
            concurrency.is_some_and(|concurrency| concurrency.max == 0),
            "`concurrency` must be at least 1",
        );
        wrong(
            retry.is_some_and(|retry| retry.max < 2),
            "`max` of `retry` counts all attempts, and must be at least 2",
        );
        wrong(
            retry.is_some_and(|retry| retry.backoff.base.is_zero() || retry.backoff.cap.is_zero()),
            "`base` and `cap` of `retry` must be longer than zero",
        );
        wrong(
            retry.is_some_and(|retry| retry.backoff.base > retry.backoff.cap),
            "`base` of `retry` is longer than its `cap`, and no pause is",
        );
        let Some(plan) = &self.plan else {
            return;
        };
        wrong(
            plan.trigger == Trigger::Every(Duration::ZERO),
            "`every` must be longer than zero",
        );
        let schedule = self.policies.schedule.as_ref();
        let is_changed = schedule.is_some_and(|schedule| {
            schedule.trigger != plan.trigger || schedule.jitter != plan.jitter
        });
        wrong(
            is_changed && self.policies.are_durable(),
            "the schedule of a durable function is that of all processes: change its attribute",
        );
    }
}
