//! The options of `#[bgtask::main]`.
//! Knows nothing of runtimes or signals.

use super::{FLAVOR, owner_of};
use crate::arguments::crate_path::{CRATE, CratePath};
use crate::arguments::values::Value;
use crate::arguments::{Arguments, Choice, Keyword};
use crate::errors::Errors;
use proc_macro2::{Ident, Span, TokenStream};
use std::time::Duration;

#[derive(Default)]
pub(crate) struct MainOptions {
    pub(crate) flavor: Option<Choice>,
    pub(crate) worker_threads: Option<Value<usize>>,
    pub(crate) grace: Option<Value<Duration>>,
    pub(crate) pre_stop: Option<Value<Duration>>,
    pub(crate) strict: bool,
    pub(crate) warn_after: Option<Value<Duration>>,
    pub(crate) dump: Option<Choice>,
    pub(crate) krate: CratePath,
}

pub(super) const OPTIONS: &[Keyword<MainOptions>] = &[
    Keyword::new(
        "flavor",
        r#"flavor = "current_thread""#,
        |options, entry| {
            options.flavor = Some(entry.choice(FLAVOR)?);
            Ok(())
        },
    ),
    Keyword::new("worker_threads", "worker_threads = 4", |options, entry| {
        options.worker_threads = Some(entry.count()?);
        Ok(())
    }),
    Keyword::new("grace", r#"grace = "25s""#, |options, entry| {
        options.grace = Some(entry.duration()?);
        Ok(())
    }),
    Keyword::new("pre_stop", r#"pre_stop = "5s""#, |options, entry| {
        options.pre_stop = Some(entry.positive()?);
        Ok(())
    }),
    Keyword::new("strict", "strict", |options, entry| {
        entry.flag(&mut options.strict)
    }),
    Keyword::new("warn_after", r#"warn_after = "30s""#, |options, entry| {
        if entry.constant().is_none() && entry.string_or_constant()?.value() == "never" {
            return Err(entry.wrong("`\"never\"` is the default of `warn_after`: leave it out"));
        }
        options.warn_after = Some(entry.positive()?);
        Ok(())
    }),
    Keyword::new("dump", r#"dump = "SIGUSR1""#, |options, entry| {
        options.dump = Some(entry.choice(DUMP)?);
        Ok(())
    }),
];

/// The default of `grace`, which `bgtask` has too.
const DEFAULT_GRACE: Duration = Duration::from_secs(25);

// Signals that nothing else uses, and that do only what the program makes of them.
const DUMP: &[(&str, &str)] = &[("SIGUSR1", "Sigusr1"), ("SIGUSR2", "Sigusr2")];

impl MainOptions {
    pub(crate) fn read(arguments: TokenStream, errors: &mut Errors) -> Self {
        let mut options = Self::default();
        let mut arguments = Arguments::split(arguments, owner_of);
        arguments.fill(OPTIONS, &mut options);
        arguments.fill(CRATE, &mut options.krate);
        let keys = arguments.finish(errors);
        let flavor = options.flavor.as_ref();
        let single = flavor.is_some_and(|flavor| flavor.variant == "CurrentThread");
        if single && options.worker_threads.is_some() {
            let mut keys = keys.iter().rev();
            let later = keys.find(|key| *key == "flavor" || *key == "worker_threads");
            errors.at(
                later.map_or_else(Span::call_site, Ident::span),
                "`worker_threads` and `flavor = \"current_thread\"` exclude each other: that runtime has one thread; \
                 drop `worker_threads`",
            );
        }
        let grace = options.grace.clone();
        let grace = grace.unwrap_or(Value::Literal(DEFAULT_GRACE)).literal();
        let pre_stop = options.pre_stop.as_ref().and_then(Value::literal);
        // The start of `main` compares the others.
        if let (Some(pre_stop), Some(grace)) = (pre_stop, grace)
            && pre_stop >= grace
        {
            let mut keys = keys.iter().rev();
            let later = keys.find(|key| *key == "pre_stop" || *key == "grace");
            errors.at(
                later.map_or_else(Span::call_site, Ident::span),
                format!(
                    "`pre_stop` counts within `grace`, so {pre_stop:?} of {grace:?} leave no time to stop in: shorten `pre_stop`, \
                     or lengthen `grace`"
                ),
            );
        }
        options
    }
}
