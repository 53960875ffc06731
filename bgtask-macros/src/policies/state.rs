//! `State<_>` parameters: the list of them in a function's static, and the statements that bind them.

use crate::arguments::crate_path::CratePath;
use crate::function::Parameter;
use crate::function::types::mentions_generics;
use crate::tokens::first_span;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Signature;

/// Returns whether one of the parameters is a state.
pub(crate) fn takes_state(parameters: &[Parameter]) -> bool {
    parameters.iter().any(|parameter| parameter.is_state)
}

/// Returns the field of the policies' static that lists the states, as `name: value`, without those that it cannot name.
pub(crate) fn field(
    signature: &Signature,
    parameters: &[Parameter],
    krate: &CratePath,
) -> Option<TokenStream> {
    let states = parameters.iter().filter(|parameter| parameter.is_state);
    let states = states.filter(|state| !mentions_generics(signature, &state.ty));
    let specs: Vec<_> = states
        .map(|state| {
            let (ty, cfgs) = (&state.ty, state.cfgs());
            let at_type = first_span(&ty.to_token_stream());
            let private = krate.private(at_type);
            quote_spanned!(at_type=> #(#cfgs)* #private::StateSpec::of::<#ty>())
        })
        .collect();
    (!specs.is_empty()).then(|| quote!(states: &[#(#specs),*]))
}

// Output:
//     let site = resolve(&__BGTASK_HANDLER);
//     let pool = match injected::<State<Pool>, T>(&site) { Ok(state) => state, Err(refused) => return refused };
//
/// Returns the statements that find the call's manager and bind the states, or return the handle of the rejected call; `None` if
/// the function takes no state.
pub(crate) fn bindings(
    parameters: &[Parameter],
    krate: &CratePath,
    output: &TokenStream,
    site: &Ident,
    at_name: Span,
) -> Option<TokenStream> {
    let (bound, refused) = (
        Ident::new("state", Span::mixed_site()),
        Ident::new("refused", Span::mixed_site()),
    );
    let states = parameters.iter().filter(|parameter| parameter.is_state);
    let bindings = states.map(|state| {
        let (name, ty, cfgs) = (&state.name, &state.ty, state.cfgs());
        let at_type = first_span(&ty.to_token_stream());
        let private = krate.private(at_type);
        let injected = quote_spanned!(at_type=> #private::injected::<#ty, #output>);
        quote_spanned! {at_name=>
            #(#cfgs)*
            let #name = match #injected(&#site) {
                ::core::result::Result::Ok(#bound) => #bound,
                ::core::result::Result::Err(#refused) => return #refused,
            };
        }
    });
    let private = krate.private(Span::call_site());
    takes_state(parameters).then(|| {
        quote_spanned! {at_name=>
            let #site = #private::resolve(&__BGTASK_HANDLER);
            #(#bindings)*
        }
    })
}
