//! `retry`: how many attempts a call has, and which failures get another.

use super::backoff::{self, Backoff};
use super::{Policies, Policy, Spec};
use crate::arguments::{Entry, Keyword};
use crate::errors::Errors;
use crate::function::Declaration;
use crate::function::types::is_unit;
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::Expr;

pub(crate) struct Retry {
    max: u32,
    backoff: Backoff,
    pub(crate) when: Option<Expr>,
    panics: bool,
    last_attempt: bool,
}

pub(super) const SPEC: Spec = Spec {
    options: &[Keyword::new(
        "retry",
        r#"retry(max = 5, backoff = "exponential")"#,
        |policies, entry| {
            policies.retry = Some(Retry::read(entry)?);
            Ok(())
        },
    )],
    inside: &[
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
        retry.max = entry.small_count()?;
        if retry.max == 1 {
            return Err(entry.wrong(
                "`max` counts all attempts, so 1 never tries again; write at least 2, or drop `retry`",
            ));
        }
        Ok(())
    }),
    Keyword::new("when", "when = |error| …", |retry, entry| {
        retry.when = Some(entry.expression()?);
        Ok(())
    }),
    Keyword::new("panics", "panics", |retry, entry| {
        entry.flag(&mut retry.panics)
    }),
    Keyword::new("last_attempt", "last_attempt = false", |retry, entry| {
        retry.last_attempt = entry.boolean()?.value;
        Ok(())
    }),
];

impl Retry {
    fn read(entry: &Entry) -> syn::Result<Self> {
        let mut retry = Self {
            max: 3,
            backoff: Backoff::default(),
            when: None,
            panics: false,
            last_attempt: true,
        };
        entry.nested(|arguments| {
            arguments.fill(OPTIONS, &mut retry);
            arguments.fill(backoff::OPTIONS, &mut retry.backoff);
        })?;
        retry.backoff.check()?;
        Ok(retry)
    }
}

/// Returns whether an `Err` is the only failure that can be retried.
pub(crate) fn needs_result(policies: &Policies) -> bool {
    let retry = policies.retry.as_ref();
    retry.is_some_and(|retry| !retry.panics) && policies.timeout.is_none()
}

impl Policy for Retry {
    fn check(
        &self,
        policies: &Policies,
        declaration: Option<&Declaration<'_>>,
        errors: &mut Errors,
    ) {
        if let Some(declaration) = declaration
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

    fn field(&self, _: &Policies, private: &TokenStream, _: Span) -> Option<TokenStream> {
        let (max, panics, last_attempt) = (self.max, self.panics, self.last_attempt);
        let backoff = self.backoff.tokens(private);
        Some(quote!(retry: ::core::option::Option::Some(#private::Retry {
            max: #max,
            backoff: #backoff,
            panics: #panics,
            last_attempt: #last_attempt,
        })))
    }
}
