//! The pieces of a call that a launch, its attempts and a durable call have in common.
//! Knows nothing of how a call is put together.

use super::plan::Plan;
use crate::tokens::first_span;
use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote, quote_spanned};

/// The parts of a call that are made before it is put together.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    /// `::bgtask::__private`.
    pub(super) private: &'a TokenStream,
    /// The type of the output.
    pub(super) output: &'a TokenStream,
    /// The name that the token is bound to.
    pub(super) token: &'a Ident,
    /// The future, or the closure, that runs.
    pub(super) work: &'a TokenStream,
    /// The lints that the names in it would trigger.
    pub(super) allow: &'a TokenStream,
}

/// Returns which failures are tried again: the predicate of `retry(when = …)`, or all.
pub(super) fn retry_when(plan: &Plan, private: &TokenStream, output: &TokenStream) -> TokenStream {
    let retry = plan.options.policies.retry.as_ref();
    let Some(when) = retry.and_then(|retry| retry.when.as_ref()) else {
        return quote!(#private::RetryWhen::ALWAYS);
    };
    let at_when = first_span(&when.to_token_stream());
    let private = plan.options.krate.private(at_when);
    quote_spanned!(at_when=> #private::retry_when::<#output, _>(#when))
}
