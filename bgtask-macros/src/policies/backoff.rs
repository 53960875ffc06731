//! The pauses between two attempts: the options that `retry` and `restart` have in common.

use crate::arguments::{Keyword, values};
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use std::time::Duration;

#[derive(Clone)]
pub(super) struct Backoff {
    shape: &'static str,
    base: Duration,
    cap: Duration,
    jitter: Option<bool>,
    base_span: Option<Span>,
    has_cap: bool,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            shape: "Exponential",
            base: Duration::from_millis(200),
            cap: Duration::from_secs(30),
            jitter: None,
            base_span: None,
            has_cap: false,
        }
    }
}

pub(super) const OPTIONS: &[Keyword<Backoff>] = &[
    Keyword::new("backoff", r#"backoff = "exponential""#, |backoff, entry| {
        backoff.shape = entry.choice(SHAPE)?.variant;
        Ok(())
    }),
    Keyword::new("base", r#"base = "200ms""#, |backoff, entry| {
        backoff.base = entry.positive()?;
        backoff.base_span = Some(entry.string()?.span());
        Ok(())
    }),
    Keyword::new("cap", r#"cap = "30s""#, |backoff, entry| {
        backoff.cap = entry.positive()?;
        backoff.has_cap = true;
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
    pub(super) fn set_defaults(&mut self, base: Duration, cap: Duration) {
        if self.base_span.is_none() {
            self.base = base;
        }
        if !self.has_cap {
            self.cap = cap;
        }
        self.jitter.get_or_insert(true);
    }

    pub(super) fn check(&self) -> syn::Result<()> {
        self.check_with_default("30s")
    }

    /// Checks the pauses; `cap` is the default that the message names.
    pub(super) fn check_with_default(&self, cap: &str) -> syn::Result<()> {
        match self.base_span {
            Some(span) if self.base > self.cap => Err(syn::Error::new(
                span,
                format!(
                    "`base` is longer than `cap`, and no pause is: raise `cap` (default: {cap:?}) or lower `base`"
                ),
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn tokens(&self, private: &TokenStream) -> TokenStream {
        let (shape, jitter) = (
            format_ident!("{}", self.shape),
            self.jitter.unwrap_or(false),
        );
        let (base, cap) = (values::duration(self.base), values::duration(self.cap));
        quote! {
            #private::Backoff {
                shape: #private::Shape::#shape,
                base: #base,
                cap: #cap,
                jitter: #jitter,
            }
        }
    }
}
