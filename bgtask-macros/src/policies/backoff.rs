//! The pauses between two attempts: the options that `retry` and `restart` have in common.

use crate::arguments::Keyword;
use crate::arguments::values::Value;
use crate::tokens::first_span;
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use std::time::Duration;

#[derive(Clone)]
pub(super) struct Backoff {
    shape: &'static str,
    base: Option<(Value<Duration>, Span)>,
    cap: Option<Value<Duration>>,
    defaults: Defaults,
    jitter: Option<bool>,
}

/// The pauses that apply where none are written.
#[derive(Clone, Copy)]
pub(super) struct Defaults {
    pub(super) base: Duration,
    pub(super) cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            shape: "Exponential",
            base: None,
            cap: None,
            defaults: Defaults {
                base: Duration::from_millis(200),
                cap: Duration::from_secs(30),
            },
            jitter: None,
        }
    }
}

pub(super) const OPTIONS: &[Keyword<Backoff>] = &[
    Keyword::new("backoff", r#"backoff = "exponential""#, |backoff, entry| {
        backoff.shape = entry.choice(SHAPE)?.variant;
        Ok(())
    }),
    Keyword::new("base", r#"base = "200ms""#, |backoff, entry| {
        backoff.base = Some((entry.positive()?, first_span(&entry.tokens())));
        Ok(())
    }),
    Keyword::new("cap", r#"cap = "30s""#, |backoff, entry| {
        backoff.cap = Some(entry.positive()?);
        Ok(())
    }),
    Keyword::new("jitter", "jitter = false", |backoff, entry| {
        backoff.jitter = Some(entry.switch()?);
        Ok(())
    }),
];

const SHAPE: &[(&str, &str)] = &[
    ("constant", "Constant"),
    ("linear", "Linear"),
    ("exponential", "Exponential"),
];

impl Backoff {
    /// Sets the pauses that were not written to these, with jitter.
    pub(super) fn set_defaults(&mut self, defaults: Defaults) {
        self.defaults = defaults;
        self.jitter.get_or_insert(true);
    }

    pub(super) fn check(&self) -> syn::Result<()> {
        self.check_with_default("30s")
    }

    /// Checks the pauses; `cap` is the default that the message names.
    pub(super) fn check_with_default(&self, cap: &str) -> syn::Result<()> {
        let (base, limit) = (self.base(), self.cap());
        let is_too_long = match (base.literal(), limit.literal()) {
            (Some(base), Some(limit)) => base > limit,
            // The constant `checked` of the runtime's `Backoff` compares them.
            _ => false,
        };
        match &self.base {
            Some((_, span)) if is_too_long => Err(syn::Error::new(
                *span,
                format!(
                    "`base` is longer than `cap`, and no pause is: raise `cap` (default: {cap:?}) or lower `base`"
                ),
            )),
            _ => Ok(()),
        }
    }

    fn base(&self) -> Value<Duration> {
        match &self.base {
            Some((base, _)) => base.clone(),
            None => Value::Literal(self.defaults.base),
        }
    }

    fn cap(&self) -> Value<Duration> {
        let default = Value::Literal(self.defaults.cap);
        self.cap.clone().unwrap_or(default)
    }

    // Output:  Backoff { … }  or  Backoff { … }.checked()
    pub(super) fn tokens(&self, private: &TokenStream) -> TokenStream {
        let (shape, jitter) = (
            format_ident!("{}", self.shape),
            self.jitter.unwrap_or(false),
        );
        let (base, cap) = (self.base(), self.cap());
        // Nothing is wrong with a `cap` that is shorter than the `base` which nobody has written.
        let is_checked = self.base.is_some() && (base.is_constant() || cap.is_constant());
        let checked = is_checked.then(|| quote!(.checked()));
        let (base, cap) = (base.tokens(private), cap.tokens(private));
        quote! {
            #private::Backoff {
                shape: #private::Shape::#shape,
                base: #base,
                cap: #cap,
                jitter: #jitter,
            }#checked
        }
    }
}
