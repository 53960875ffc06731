//! The pieces of a call that a launch, its attempts and a durable call have in common.
//! Knows nothing of how a call is put together.

use super::plan::Plan;
use crate::function::Parameter;
use crate::tokens::first_span;
use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::Pat;

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

// Output:  RetryWhen::<T>::after(retry_when::<T, _>(predicate), pause)
//
/// Returns which failures are tried again, and when: as `when` and `after` of `retry` say, or all after the back-off.
pub(super) fn retry_when(plan: &Plan, private: &TokenStream, output: &TokenStream) -> TokenStream {
    let retry = plan.options.policies.retry.as_ref();
    let mut decided = quote!(#private::RetryWhen::ALWAYS);
    if let Some(when) = retry.and_then(|retry| retry.when.as_ref()) {
        let at_when = first_span(&when.to_token_stream());
        let private = plan.options.krate.private(at_when);
        decided = quote_spanned!(at_when=> #private::retry_when::<#output, _>(#when));
    }
    if let Some(after) = retry.and_then(|retry| retry.after.as_ref()) {
        let at_after = first_span(&after.to_token_stream());
        let private = plan.options.krate.private(at_after);
        decided =
            quote_spanned!(at_after=> #private::RetryWhen::<#output>::after(#decided, #after));
    }
    decided
}

/// Returns the statements after which the expression of a key sees the parameters by reference.
pub(super) fn borrows_of(plan: &Plan) -> TokenStream {
    let parameters = plan.parameters.iter();
    let parameters = parameters.filter(|parameter| !parameter.is_injected());
    let borrows = parameters.map(|parameter| {
        let Parameter { name, pattern, .. } = parameter;
        let cfgs = parameter.cfgs();
        let pattern = match pattern {
            Pat::Ident(ident) if ident.subpat.is_none() => name.to_token_stream(),
            pattern => without_modifiers(pattern.to_token_stream()),
        };
        quote! {
            #(#cfgs)*
            #[allow(
                unused_variables,
                clippy::no_effect_underscore_binding,
                clippy::pattern_type_mismatch,
                clippy::shadow_reuse,
                clippy::shadow_same,
                clippy::used_underscore_binding
            )]
            let #pattern = &#name;
        }
    });
    quote!(#(#borrows)*)
}

/// Returns the pattern for a match against a reference, which binds by reference by default and must not have `mut` or `ref`.
fn without_modifiers(pattern: TokenStream) -> TokenStream {
    let tokens = pattern.into_iter().filter_map(|token| match token {
        TokenTree::Ident(ident) if ident == "mut" || ident == "ref" => None,
        TokenTree::Group(group) => {
            let mut inner = Group::new(group.delimiter(), without_modifiers(group.stream()));
            inner.set_span(group.span());
            Some(TokenTree::Group(inner))
        }
        token => Some(token),
    });
    tokens.collect()
}
