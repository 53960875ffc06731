//! The options of `#[background]`, and those of them that `spawn!` takes.
//! Knows the policies as a whole, and none of them by name.

use super::fields::{FIELDS, Field};
use super::owner_of;
use crate::arguments::crate_path::{CRATE, CratePath};
use crate::arguments::values::Value;
use crate::arguments::{Arguments, Choice, Keyword, has};
use crate::errors::Errors;
use crate::policies::{self, Policies};
use proc_macro2::{Span, TokenStream};
use std::time::Duration;
use syn::LitStr;

#[derive(Default)]
pub(crate) struct TaskOptions {
    pub(crate) name: Option<Value<LitStr>>,
    pub(crate) log: Option<Choice>,
    pub(crate) on_shutdown: Option<Choice>,
    pub(crate) warn_after: Option<WarnAfter>,
    pub(crate) fields: Vec<Field>,
    pub(crate) krate: CratePath,
    pub(crate) policies: Policies,
}

pub(crate) struct WarnAfter {
    /// `None` for `"never"`.
    pub(crate) limit: Option<Value<Duration>>,
    /// The span of the option's name.
    span: Span,
}

const NAME: &[Keyword<TaskOptions>] =
    &[Keyword::new("name", r#"name = "…""#, |options, entry| {
        let name = entry.value("name", "must not be empty", || entry.string_or_constant())?;
        if name
            .literal()
            .is_some_and(|name| name.value().trim().is_empty())
        {
            return Err(entry.wrong("`name` must not be empty"));
        }
        options.name = Some(name);
        Ok(())
    })];

/// The options of functions and blocks alike, except the policies.
const CALL: &[Keyword<TaskOptions>] = &[
    Keyword::new("log", r#"log = "info""#, |options, entry| {
        options.log = Some(entry.choice(LOG)?);
        Ok(())
    }),
    Keyword::new(
        "on_shutdown",
        r#"on_shutdown = "cancel""#,
        |options, entry| {
            options.on_shutdown = Some(entry.choice(ON_SHUTDOWN)?);
            Ok(())
        },
    ),
    Keyword::new("warn_after", r#"warn_after = "30s""#, |options, entry| {
        options.warn_after = Some(WarnAfter {
            limit: entry.positive_or("never")?,
            span: entry.key.span(),
        });
        Ok(())
    }),
];

// The user's value, and the variant that it names.
const LOG: &[(&str, &str)] = &[
    ("off", "Off"),
    ("trace", "Trace"),
    ("debug", "Debug"),
    ("info", "Info"),
    ("warn", "Warn"),
    ("error", "Error"),
];
const ON_SHUTDOWN: &[(&str, &str)] = &[
    ("drain", "Drain"),
    ("cancel", "Cancel"),
    ("finish", "Finish"),
];

const REFUSED_BY_SPAWN: &[(&str, &str)] = &[
    (
        "name",
        "the name of a block is the first argument: `spawn!(\"sync\", …)`",
    ),
    (
        "crate",
        "`spawn!` knows the crate that it comes from: drop `crate`",
    ),
    (
        "fields",
        "a block captures its values and has no parameters to record: move it into a function with `#[background(fields(…))]`",
    ),
];

/// Returns whether `#[background]` has the option. `spawn!` takes or refuses the same ones.
pub(crate) fn has_option(name: &str) -> bool {
    has(NAME, name)
        || has(CALL, name)
        || has(FIELDS, name)
        || has(CRATE, name)
        || policies::has(name)
}

impl TaskOptions {
    /// Reads the arguments of `#[background]`.
    pub(crate) fn read(arguments: TokenStream, errors: &mut Errors) -> Self {
        let mut options = Self::default();
        let mut arguments = Arguments::split(arguments, owner_of);
        arguments.fill(NAME, &mut options);
        arguments.fill(CALL, &mut options);
        arguments.fill(FIELDS, &mut options.fields);
        arguments.fill(CRATE, &mut options.krate);
        options.policies.fill(&mut arguments);
        options.policies.keys = arguments.finish(errors);
        options
    }

    /// Reads the options of one call of `spawn!`.
    pub(crate) fn read_for_spawn(arguments: TokenStream, errors: &mut Errors) -> Self {
        let mut options = Self::default();
        let mut arguments = Arguments::split(arguments, owner_of);
        arguments.refuse(REFUSED_BY_SPAWN);
        arguments.fill(CALL, &mut options);
        options.policies.fill_for_spawn(&mut arguments);
        options.policies.keys = arguments.finish(errors);
        options
    }

    /// Checks the options that have the same rules for functions and blocks. `blocking` names work that cannot be dropped
    /// half-way.
    pub(crate) fn check(&self, blocking: Option<&str>, errors: &mut Errors) {
        if let (Some(on_shutdown), Some(blocking)) = (&self.on_shutdown, blocking)
            && on_shutdown.variant == "Cancel"
        {
            errors.at(
                on_shutdown.span,
                format!(
                    "{blocking} cannot be dropped half-way; take a `ShutdownToken`, or write `on_shutdown = \"drain\"`"
                ),
            );
        }
        if let (Some(log), Some(warn_after)) = (&self.log, &self.warn_after)
            && log.variant == "Off"
            && warn_after.limit.is_some()
        {
            errors.at(
                warn_after.span,
                "`log = \"off\"` and `warn_after` exclude each other: nothing is logged for such a function; drop one of them",
            );
        }
    }
}
