//! `timeout`: how long each attempt may take.

use super::{Policies, Policy, Spec};
use crate::arguments::Keyword;
use crate::arguments::values::Value;
use proc_macro2::{Span, TokenStream};
use quote::quote;
use std::time::Duration;

pub(crate) struct Timeout(Value<Duration>);

pub(super) const SPEC: Spec = Spec {
    options: &[Keyword::new(
        "timeout",
        r#"timeout = "30s""#,
        |policies, entry| {
            policies.timeout = Some(Timeout(entry.positive()?));
            Ok(())
        },
    )],
    ..Spec::EMPTY
};

impl Policy for Timeout {
    fn field(&self, _: &Policies, private: &TokenStream, _: Span) -> Option<TokenStream> {
        let timeout = self.0.tokens(private);
        Some(quote!(timeout: ::core::option::Option::Some(#timeout)))
    }
}
