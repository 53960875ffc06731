//! `coalesce`: what happens to a call while another with its key is in flight.

use super::{Policies, Policy, Spec};
use crate::arguments::{Choice, Entry, Keyword};
use crate::errors::Errors;
use crate::function::Declaration;
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::Expr;

#[derive(Default)]
pub(crate) struct Coalesce {
    key: Option<Expr>,
    policy: Option<Choice>,
}

pub(super) const SPEC: Spec = Spec {
    options: &[Keyword::new(
        "coalesce",
        r#"coalesce(key = key, policy = "join")"#,
        |policies, entry| {
            policies.coalesce = Some(Coalesce::read(entry)?);
            Ok(())
        },
    )],
    inside: &[("key", "coalesce(…)"), ("policy", "coalesce(…)")],
    ..Spec::EMPTY
};

const OPTIONS: &[Keyword<Coalesce>] = &[
    Keyword::new("key", "key = key", |coalesce, entry| {
        coalesce.key = Some(entry.expression()?);
        Ok(())
    }),
    Keyword::new("policy", r#"policy = "join""#, |coalesce, entry| {
        coalesce.policy = Some(entry.choice(POLICY)?);
        Ok(())
    }),
];

const POLICY: &[(&str, &str)] = &[
    ("join", "Join"),
    ("skip", "Skip"),
    ("replace", "Replace"),
    ("trailing", "Trailing"),
];

impl Coalesce {
    fn read(entry: &Entry) -> syn::Result<Self> {
        let mut coalesce = Self::default();
        entry.nested(|arguments| arguments.fill(OPTIONS, &mut coalesce))?;
        Ok(coalesce)
    }

    fn variant(&self) -> &'static str {
        self.policy.as_ref().map_or("Join", |policy| policy.variant)
    }
}

/// Returns whether callers share an outcome.
pub(crate) fn shares_outcome(policies: &Policies) -> bool {
    let coalesce = policies.coalesce.as_ref();
    coalesce.is_some_and(|coalesce| matches!(coalesce.variant(), "Join" | "Trailing"))
}

impl Policy for Coalesce {
    fn check(&self, policies: &Policies, _: Option<&Declaration<'_>>, errors: &mut Errors) {
        if let (None, Some(concurrency)) = (&self.key, policies.find("concurrency")) {
            errors.at(
                concurrency.span(),
                "with `coalesce` over all calls one runs at a time, so `concurrency` limits nothing: drop it, or give \
                 `coalesce` a `key`",
            );
        }
    }

    fn key(&self) -> Option<&Expr> {
        self.key.as_ref()
    }

    fn field(&self, _: &Policies, private: &TokenStream, _: Span) -> Option<TokenStream> {
        let variant = format_ident!("{}", self.variant());
        Some(quote!(coalesce: ::core::option::Option::Some(#private::Coalesce::#variant)))
    }
}
