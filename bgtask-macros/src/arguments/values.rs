//! The values of options as expressions in generated code.
//! Knows nothing of which options there are.

use super::Choice;
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use std::time::Duration;

pub(crate) fn duration(duration: Duration) -> TokenStream {
    let (seconds, nanoseconds) = (duration.as_secs(), duration.subsec_nanos());
    quote!(::core::time::Duration::new(#seconds, #nanoseconds))
}

pub(crate) fn variant(choice: Option<&Choice>, default: &str) -> Ident {
    let variant = choice.map_or(default, |choice| choice.variant);
    format_ident!("{variant}")
}

pub(crate) fn optional(value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}
