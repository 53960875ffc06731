//! The policies of one function, as the attribute generates them. Must never know what they do.

use super::coalesce::Coalesce;
use super::concurrency::Concurrency;
#[cfg(feature = "durable")]
use super::durable::Durable;
use super::rate::RateLimit;
use super::retry::Retry;
use super::schedule::Schedule;
use crate::fields::FieldSpec;
use crate::state::StateSpec;
use crate::util::fmt::Exact;
use std::time::Duration;

/// The policies of one function, as the attribute generates them. A function with neither policies, states nor fields has none.
#[derive(Debug)]
pub struct Policies {
    pub coalesce: Option<Coalesce>,
    pub rate: Option<RateLimit>,
    pub concurrency: Option<Concurrency>,
    pub retry: Option<Retry>,
    pub timeout: Option<Duration>,
    /// The user's code around each attempt, as the attribute has it. The call itself passes the function.
    pub wrap: Option<&'static str>,
    /// An end of the task, even a normal one, starts the shutdown.
    pub essential: bool,
    pub schedule: Option<Schedule>,
    #[cfg(feature = "durable")]
    pub durable: Option<Durable>,
    pub states: &'static [StateSpec],
    pub fields: Option<FieldSpec>,
}

impl Policies {
    /// The base of the generated `Policies`.
    pub const NONE: Self = Self {
        coalesce: None,
        rate: None,
        concurrency: None,
        retry: None,
        timeout: None,
        wrap: None,
        essential: false,
        schedule: None,
        #[cfg(feature = "durable")]
        durable: None,
        states: &[],
        fields: None,
    };

    /// Returns whether a call takes any of the policies. States and fields are none: the call has them before it begins.
    pub(crate) const fn are_any(&self) -> bool {
        let Self {
            coalesce,
            rate,
            concurrency,
            retry,
            timeout,
            wrap,
            essential,
            schedule,
            #[cfg(feature = "durable")]
            durable,
            states: _,
            fields: _,
        } = self;
        #[cfg(feature = "durable")]
        let is_durable = durable.is_some();
        #[cfg(not(feature = "durable"))]
        let is_durable = false;
        coalesce.is_some()
            || rate.is_some()
            || concurrency.is_some()
            || retry.is_some()
            || timeout.is_some()
            || wrap.is_some()
            || *essential
            || schedule.is_some()
            || is_durable
    }

    /// Returns whether the calls of the function are stored as jobs.
    pub(crate) const fn are_durable(&self) -> bool {
        #[cfg(feature = "durable")]
        return self.durable.is_some();
        #[cfg(not(feature = "durable"))]
        return false;
    }

    /// Returns the text of each option, without its defaults.
    pub(crate) fn display(&self) -> Vec<String> {
        // Without `..`, so that a new option cannot be forgotten here.
        let Self {
            coalesce,
            rate,
            concurrency,
            retry,
            timeout,
            wrap,
            essential,
            schedule,
            #[cfg(feature = "durable")]
            durable,
            // The signature shows it.
            states: _,
            fields,
        } = self;
        let options = [
            schedule.as_ref().map(Schedule::to_string),
            essential.then(|| "essential".to_owned()),
            timeout.map(|timeout| format!("timeout = {}", Exact(timeout))),
            retry.as_ref().map(Retry::to_string),
            concurrency.as_ref().map(Concurrency::to_string),
            coalesce.as_ref().map(Coalesce::to_string),
            rate.as_ref().map(RateLimit::to_string),
            wrap.map(|wrap| format!("wrap = {wrap}")),
            fields
                .as_ref()
                .map(|fields| format!("fields({})", fields.names.join(", "))),
        ];
        let options = options.into_iter().flatten();
        #[cfg(feature = "durable")]
        let options = durable.iter().flat_map(Durable::display).chain(options);
        options.collect()
    }
}
