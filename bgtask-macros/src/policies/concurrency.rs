//! `concurrency`: how many bodies may run at once, and what happens to further calls.

use super::{Policies, Policy, Spec};
use crate::arguments::values::{self, Value};
use crate::arguments::{Choice, Entry, Keyword};
use crate::errors::Errors;
use crate::function::Declaration;
use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::Expr;

#[derive(Default)]
pub(crate) struct Concurrency {
    max: Option<Value<usize>>,
    queue: Option<Value<usize>>,
    overflow: Option<Choice>,
    key: Option<Expr>,
}

pub(super) const SPEC: Spec = Spec {
    options: &[Keyword::new(
        "concurrency",
        "concurrency = 8",
        |policies, entry| {
            policies.concurrency = Some(Concurrency::read(entry)?);
            Ok(())
        },
    )],
    inside: &[
        ("key", "concurrency(…)"),
        ("max", "concurrency(…)"),
        ("overflow", "concurrency(max = 8, queue = 100, …)"),
        ("queue", "concurrency(max = 8, …)"),
    ],
    ..Spec::EMPTY
};

const OPTIONS: &[Keyword<Concurrency>] = &[
    Keyword::new("max", "max = 8", |concurrency, entry| {
        concurrency.max = Some(entry.count()?);
        Ok(())
    }),
    Keyword::new("queue", "queue = 100", |concurrency, entry| {
        concurrency.queue = Some(entry.number()?);
        Ok(())
    }),
    Keyword::new(
        "overflow",
        r#"overflow = "refuse""#,
        |concurrency, entry| {
            concurrency.overflow = Some(entry.choice(OVERFLOW)?);
            Ok(())
        },
    ),
    Keyword::new("key", "key = user", |concurrency, entry| {
        concurrency.key = Some(entry.expression()?);
        Ok(())
    }),
];

const OVERFLOW: &[(&str, &str)] = &[
    ("refuse", "Refuse"),
    ("drop_oldest", "DropOldest"),
    ("wait", "Wait"),
];

impl Concurrency {
    fn read(entry: &Entry) -> syn::Result<Self> {
        let mut concurrency = Self::default();
        if !entry.is_nested() {
            concurrency.max = Some(entry.count()?);
            return Ok(concurrency);
        }
        entry.nested(|arguments| arguments.fill(OPTIONS, &mut concurrency))?;
        if concurrency.max.is_none() {
            return Err(entry.missing("max = 8"));
        }
        Ok(concurrency)
    }
}

/// Returns whether there is a wait queue, and where `overflow` stands.
pub(super) fn queue_of(policies: &Policies) -> (bool, Option<Span>) {
    let concurrency = policies.concurrency.as_ref();
    let overflow = concurrency.and_then(|concurrency| concurrency.overflow.as_ref());
    (
        concurrency.is_some_and(|concurrency| concurrency.queue.is_some()),
        overflow.map(|overflow| overflow.span),
    )
}

/// Returns whether a call waits for room in the queue, which it does only while its handle is held.
pub(crate) fn waits_for_room(policies: &Policies) -> bool {
    let concurrency = policies.concurrency.as_ref();
    let overflow = concurrency.and_then(|concurrency| concurrency.overflow.as_ref());
    overflow.is_some_and(|overflow| overflow.variant == "Wait")
}

impl Policy for Concurrency {
    fn check(&self, policies: &Policies, _: Option<&Declaration<'_>>, errors: &mut Errors) {
        // `durable` refuses both, and says so itself.
        if let (Some(overflow), None, false) = (&self.overflow, &self.queue, policies.is_durable())
        {
            errors.at(
                overflow.span,
                "`overflow` decides what happens when the queue is full, and without `queue` it never is: add `queue = 100`",
            );
        }
    }

    fn key(&self) -> Option<&Expr> {
        self.key.as_ref()
    }

    fn field(&self, _: &Policies, private: &TokenStream, _: Span) -> Option<TokenStream> {
        let max = self.max.as_ref()?.tokens(private);
        let queue = values::optional(self.queue.as_ref().map(|queue| queue.tokens(private)));
        let overflow = values::variant(self.overflow.as_ref(), "Refuse");
        Some(
            quote!(concurrency: ::core::option::Option::Some(#private::Concurrency {
                max: #max,
                queue: #queue,
                overflow: #private::Overflow::#overflow,
            })),
        )
    }
}
