//! `restart`: how often a function that runs `on_start` may start again.

use super::backoff::{self, Backoff};
use super::{Policies, Policy, Spec};
use crate::arguments::values::Value;
use crate::arguments::{Choice, Entry, Keyword};
use proc_macro2::{Span, TokenStream};
use quote::quote;
use std::time::Duration;

pub(crate) struct Restart {
    max: Value<u32>,
    window: Value<Duration>,
    backoff: Backoff,
    when: Option<Choice>,
}

pub(super) const SPEC: Spec = Spec {
    options: &[Keyword::new(
        "restart",
        r#"restart(max = 5, window = "1m")"#,
        |policies, entry| {
            policies.restart = Some(Restart::read(entry)?);
            Ok(())
        },
    )],
    inside: &[
        ("max", "restart(…)"),
        ("when", "restart(…)"),
        ("window", "restart(…)"),
    ],
    needs: &[(
        "restart",
        &["on_start"],
        "it restarts a function that runs at the start; `retry` repeats a function that is called",
    )],
    refused_by_spawn: &[(
        "restart",
        "`restart` restarts a function that runs `on_start`, and a block runs where it is called: write `retry(…)`, or give \
         the body to a function with `#[background(on_start, restart)]`",
    )],
    ..Spec::EMPTY
};

const OPTIONS: &[Keyword<Restart>] = &[
    Keyword::new("max", "max = 5", |restart, entry| {
        restart.max = entry.small_count()?;
        Ok(())
    }),
    Keyword::new("window", r#"window = "1m""#, |restart, entry| {
        restart.window = entry.positive()?;
        Ok(())
    }),
    Keyword::new("when", r#"when = "failure""#, |restart, entry| {
        restart.when = Some(entry.choice(WHEN)?);
        Ok(())
    }),
];

const WHEN: &[(&str, &str)] = &[("failure", "Failure"), ("always", "Always")];

impl Restart {
    fn read(entry: &Entry) -> syn::Result<Self> {
        let mut restart = Self {
            max: Value::Literal(5),
            window: Value::Literal(Duration::from_secs(60)),
            backoff: Backoff::default(),
            when: None,
        };
        entry.nested(|arguments| {
            arguments.fill(OPTIONS, &mut restart);
            arguments.fill(backoff::OPTIONS, &mut restart.backoff);
        })?;
        restart.backoff.check()?;
        Ok(restart)
    }

    pub(super) fn tokens(&self, private: &TokenStream) -> TokenStream {
        let (max, window) = (self.max.tokens(private), self.window.tokens(private));
        let backoff = self.backoff.tokens(private);
        let always = self
            .when
            .as_ref()
            .is_some_and(|when| when.variant == "Always");
        quote!(#private::Restart { max: #max, window: #window, backoff: #backoff, always: #always })
    }
}

impl Policy for Restart {
    /// The schedule's field contains it.
    fn field(&self, _: &Policies, _: &TokenStream, _: Span) -> Option<TokenStream> {
        None
    }
}
