//! The options of `#[bgtask::test]`.
//! Knows nothing of runtimes.

use super::{FLAVOR, owner_of};
use crate::arguments::crate_path::{CRATE, CratePath};
use crate::arguments::values::Value;
use crate::arguments::{Arguments, Choice, Keyword};
use crate::errors::Errors;
use crate::policies::durable::WITHOUT_A_STORE;
use proc_macro2::{Ident, Span, TokenStream};
use std::time::Duration;

#[derive(Default)]
pub(crate) struct TestOptions {
    pub(crate) flavor: Option<Choice>,
    pub(crate) worker_threads: Option<Value<usize>>,
    /// The span of `true`.
    pub(crate) start_paused: Option<Span>,
    pub(crate) drain: Option<Value<Duration>>,
    pub(crate) wait: Option<Value<Duration>>,
    pub(crate) schedules: bool,
    /// The option `durable`, where it stands.
    pub(crate) durable: Option<Span>,
    pub(crate) krate: CratePath,
}

pub(super) const OPTIONS: &[Keyword<TestOptions>] = &[
    Keyword::new("flavor", r#"flavor = "multi_thread""#, |options, entry| {
        options.flavor = Some(entry.choice(FLAVOR)?);
        Ok(())
    }),
    Keyword::new("worker_threads", "worker_threads = 2", |options, entry| {
        options.worker_threads = Some(entry.count()?);
        Ok(())
    }),
    Keyword::new("start_paused", "start_paused = true", |options, entry| {
        let paused = entry.boolean()?;
        options.start_paused = paused.value.then_some(paused.span);
        Ok(())
    }),
    Keyword::new("drain", r#"drain = "5s""#, |options, entry| {
        options.drain = Some(entry.duration()?);
        Ok(())
    }),
    Keyword::new("wait", r#"wait = "1m""#, |options, entry| {
        options.wait = Some(entry.positive()?);
        Ok(())
    }),
    Keyword::new("schedules", "schedules", |options, entry| {
        entry.flag(&mut options.schedules)
    }),
    Keyword::new("durable", "durable", |options, entry| {
        let mut is_set = false;
        entry.flag(&mut is_set)?;
        if cfg!(not(feature = "durable")) {
            return Err(syn::Error::new(entry.key.span(), WITHOUT_A_STORE));
        }
        options.durable = is_set.then(|| entry.key.span());
        Ok(())
    }),
];

impl TestOptions {
    pub(crate) fn read(arguments: TokenStream, errors: &mut Errors) -> Self {
        let mut options = Self::default();
        let mut arguments = Arguments::split(arguments, owner_of);
        arguments.fill(OPTIONS, &mut options);
        arguments.fill(CRATE, &mut options.krate);
        let keys = arguments.finish(errors);
        let key = |name: &str| {
            let key = keys.iter().find(|key| *key == name);
            key.map_or_else(Span::call_site, Ident::span)
        };
        let flavor = options.flavor.as_ref();
        let multi = flavor.is_some_and(|flavor| flavor.variant == "MultiThread");
        if !multi && options.worker_threads.is_some() {
            errors.at(
                key("worker_threads"),
                "a test runs on one thread by default: add `flavor = \"multi_thread\"`, or drop `worker_threads`",
            );
        }
        if multi && options.start_paused.is_some() {
            errors.at(
                key("start_paused"),
                "time can only be paused on a runtime of one thread: drop `flavor`, or `start_paused`",
            );
        }
        options
    }
}
