//! `rate`: how many runs may begin within a window of time.

use super::{Policies, Policy, Spec};
use crate::arguments::values::{self, Literal, Value};
use crate::arguments::{Choice, Entry, Keyword};
use crate::literal::rate;
use proc_macro2::{Span, TokenStream};
use quote::quote;
use std::time::Duration;
use syn::Expr;

#[derive(Default)]
pub(crate) struct Rate {
    limit: Option<Value<Limit>>,
    overflow: Option<Choice>,
    key: Option<Expr>,
}

/// So many starts in a window of this length.
type Limit = (u32, Duration);

impl Literal for Limit {
    fn tokens(self, private: &TokenStream) -> TokenStream {
        let (limit, per) = (self.0, values::duration(self.1));
        quote!(#private::Rate::new(#limit, #per))
    }
}

pub(super) const SPEC: Spec = Spec {
    options: &[Keyword::new(
        "rate",
        r#"rate = "100/s""#,
        |policies, entry| {
            policies.rate = Some(Rate::read(entry)?);
            Ok(())
        },
    )],
    inside: &[("key", "rate(…)"), ("limit", r#"rate(limit = "100/s", …)"#)],
    ..Spec::EMPTY
};

const OPTIONS: &[Keyword<Rate>] = &[
    Keyword::new("limit", r#"limit = "100/s""#, Rate::set_limit),
    Keyword::new("overflow", r#"overflow = "refuse""#, |rate, entry| {
        rate.overflow = Some(entry.choice(OVERFLOW)?);
        Ok(())
    }),
    Keyword::new("key", "key = user", |rate, entry| {
        rate.key = Some(entry.expression()?);
        Ok(())
    }),
];

const OVERFLOW: &[(&str, &str)] = &[("wait", "Wait"), ("refuse", "Refuse")];

impl Rate {
    fn read(entry: &Entry) -> syn::Result<Self> {
        let mut rate = Self::default();
        if !entry.is_nested() {
            rate.set_limit(entry)?;
            return Ok(rate);
        }
        entry.nested(|arguments| arguments.fill(OPTIONS, &mut rate))?;
        if rate.limit.is_none() {
            return Err(entry.missing(r#"limit = "100/s""#));
        }
        Ok(rate)
    }

    fn set_limit(&mut self, entry: &Entry) -> syn::Result<()> {
        self.limit = Some(entry.value("rate", "", || {
            rate::parse(&entry.string_or_constant()?.value()).ok_or_else(|| {
                let found = entry.tokens();
                entry.wrong(format!(
                    "expected a rate such as \"100/s\" or \"10/m\", found {found}"
                ))
            })
        })?);
        Ok(())
    }
}

/// Returns where `overflow` stands.
pub(super) fn overflow_of(policies: &Policies) -> Option<Span> {
    let overflow = policies.rate.as_ref()?.overflow.as_ref()?;
    Some(overflow.span)
}

impl Policy for Rate {
    fn key(&self) -> Option<&Expr> {
        self.key.as_ref()
    }

    fn field(&self, _: &Policies, private: &TokenStream, _: Span) -> Option<TokenStream> {
        let limit = self.limit.as_ref()?.tokens(private);
        let overflow = self.overflow.as_ref();
        let refuses = overflow.is_some_and(|overflow| overflow.variant == "Refuse");
        Some(
            quote!(rate: ::core::option::Option::Some(#private::RateLimit { rate: #limit, refuses: #refuses })),
        )
    }
}
