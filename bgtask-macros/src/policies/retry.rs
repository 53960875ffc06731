//! `retry`: how many attempts a call has, and which failures get another.

use super::backoff::{self, Backoff, Defaults};
use super::{Policies, Policy, Spec};
use crate::arguments::values::Value;
use crate::arguments::{Entry, Keyword};
use crate::errors::Errors;
use crate::function::Declaration;
use crate::function::types::is_unit;
use crate::tokens::first_span;
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use std::time::Duration;
use syn::Expr;

#[derive(Clone)]
pub(crate) struct Retry {
    max: Option<Value<u32>>,
    max_span: Span,
    backoff: Backoff,
    pub(crate) when: Option<Expr>,
    pub(crate) after: Option<Expr>,
    panics: Option<bool>,
    last_attempt: bool,
    last_attempt_span: Option<Span>,
    /// Whether everything in the parentheses could be read.
    is_complete: bool,
}

/// The attempts in all, where `max` is not set.
const MAX: u32 = 3;

/// The same for a function whose calls are stored, and the pauses between its attempts.
const MAX_OF_JOBS: u32 = 10;
/// The column of River's tables is a `smallint`.
const LIMIT_OF_JOBS: u32 = 32_767;
const PAUSES_OF_JOBS: Defaults = Defaults {
    base: Duration::from_secs(1),
    cap: Duration::from_secs(60 * 60),
};

const NEVER_AGAIN: &str =
    "`max` counts all attempts, so 1 never tries again; write at least 2, or drop `retry`";
const TOO_MANY: &str =
    "a job has at most 32767 attempts, as databases store their number: write a smaller `max`";

pub(super) const SPEC: Spec = Spec {
    options: &[Keyword::new(
        "retry",
        r#"retry(max = 5, backoff = "exponential")"#,
        |policies, entry| {
            // Kept with what is right in it, so that its values are checked too.
            Retry::read(entry, policies.retry.insert(Retry::default()))
        },
    )],
    inside: &[
        ("after", "retry(…)"),
        ("backoff", "retry(…)"),
        ("base", "retry(…)"),
        ("cap", "retry(…)"),
        ("last_attempt", "retry(…)"),
        ("max", "retry(…)"),
        ("panics", "retry(…)"),
        ("when", "retry(…)"),
    ],
    ..Spec::EMPTY
};

const OPTIONS: &[Keyword<Retry>] = &[
    Keyword::new("max", "max = 5", |retry, entry| {
        retry.max = Some(entry.small_count()?);
        retry.max_span = first_span(&entry.tokens());
        Ok(())
    }),
    Keyword::new("when", "when = |error| …", |retry, entry| {
        retry.when = Some(entry.expression()?);
        Ok(())
    }),
    Keyword::new("after", "after = |error| …", |retry, entry| {
        retry.after = Some(entry.expression()?);
        Ok(())
    }),
    Keyword::new("panics", "panics = false", |retry, entry| {
        retry.panics = Some(entry.switch()?);
        Ok(())
    }),
    Keyword::new("last_attempt", "last_attempt = false", |retry, entry| {
        retry.last_attempt = entry.boolean()?.value;
        retry.last_attempt_span = Some(entry.key.span());
        Ok(())
    }),
];

impl Default for Retry {
    fn default() -> Self {
        Self {
            max: None,
            max_span: Span::call_site(),
            backoff: Backoff::default(),
            when: None,
            after: None,
            panics: None,
            last_attempt: true,
            last_attempt_span: None,
            is_complete: true,
        }
    }
}

impl Retry {
    fn read(entry: &Entry, retry: &mut Self) -> syn::Result<()> {
        let read = entry.nested(|arguments| {
            arguments.fill(OPTIONS, retry);
            arguments.fill(backoff::OPTIONS, &mut retry.backoff);
        });
        retry.is_complete = read.is_ok();
        read
    }

    /// Returns `max`, if it was written as a literal.
    fn max(&self) -> Option<u32> {
        self.max.as_ref()?.literal()
    }

    fn check_values(&self, is_durable: bool) -> syn::Result<()> {
        if is_durable {
            if let Some(span) = self.last_attempt_span {
                let message = "a shutdown returns a job to its queue, so there is no last attempt in it: drop `last_attempt`";
                return Err(syn::Error::new(span, message));
            }
            if self.max().is_some_and(|max| max > LIMIT_OF_JOBS) {
                return Err(syn::Error::new(self.max_span, TOO_MANY));
            }
            return self.of_jobs().backoff.check_with_default("1h");
        }
        if self.max() == Some(1) {
            return Err(syn::Error::new(self.max_span, NEVER_AGAIN));
        }
        self.backoff.check()
    }

    /// Returns these options with the defaults of stored calls.
    fn of_jobs(&self) -> Self {
        let mut retry = self.clone();
        let max = retry.max.unwrap_or(Value::Literal(MAX_OF_JOBS));
        retry.max = Some(max.checked_by("attempts_of_jobs", TOO_MANY));
        retry.backoff.set_defaults(PAUSES_OF_JOBS);
        // A panic is a failed attempt like any other.
        retry.panics.get_or_insert(true);
        retry
    }
}

// Output:  max: 10u32, backoff: Backoff { … }, panics: true,
//
/// Returns the fields about attempts of a function whose calls are stored.
pub(super) fn of_jobs(policies: &Policies, private: &TokenStream) -> TokenStream {
    let retry = match &policies.retry {
        Some(retry) => retry.of_jobs(),
        None => Retry::default().of_jobs(),
    };
    let max = retry.max.map(|max| max.tokens(private));
    let panics = retry.panics.unwrap_or(true);
    let backoff = retry.backoff.tokens(private);
    quote!(max: #max, backoff: #backoff, panics: #panics,)
}

/// Returns whether an `Err` is the only failure that can be retried. A job that panics is tried again by default.
pub(crate) fn needs_result(policies: &Policies) -> bool {
    let retry = policies.retry.as_ref();
    retry.is_some_and(|retry| retry.panics != Some(true))
        && policies.timeout.is_none()
        && !policies.is_durable()
}

impl Policy for Retry {
    fn check(
        &self,
        policies: &Policies,
        declaration: Option<&Declaration<'_>>,
        errors: &mut Errors,
    ) {
        if let Err(error) = self.check_values(policies.is_durable()) {
            errors.push(error);
        }
        if let Some(declaration) = declaration
            && self.is_complete
            && is_unit(&declaration.signature.output)
            && needs_result(policies)
        {
            let key = policies.find("retry");
            errors.at(
                key.map_or_else(Span::call_site, Ident::span),
                "a function that returns nothing cannot fail, so there is nothing to retry: return a `Result`, or add `panics` \
                 or a `timeout`",
            );
        }
    }

    /// Of a function whose calls are stored, the field of `durable` contains it.
    fn field(&self, policies: &Policies, private: &TokenStream, _: Span) -> Option<TokenStream> {
        if policies.is_durable() {
            return None;
        }
        let max = self.max.clone().unwrap_or(Value::Literal(MAX));
        let max = max.checked_by("attempts", NEVER_AGAIN).tokens(private);
        let panics = self.panics.unwrap_or(false);
        let last_attempt = self.last_attempt;
        let backoff = self.backoff.tokens(private);
        Some(quote!(retry: ::core::option::Option::Some(#private::Retry {
            max: #max,
            backoff: #backoff,
            panics: #panics,
            last_attempt: #last_attempt,
        })))
    }
}
