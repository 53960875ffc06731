//! `State<_>` parameters. A function that has one goes through the policies.

use crate::arguments::crate_path::CratePath;
use crate::function::Parameter;
use crate::function::types::mentions_generics;
use crate::tokens::first_span;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Signature;

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

// Output:  let pool = match injected::<State<Pool>, T>(&__BGTASK_HANDLER) { Ok(state) => state, Err(refused) => return refused };
//
/// Returns the statements that bind the states, or return the handle of the rejected call.
pub(crate) fn bindings(
    parameters: &[Parameter],
    krate: &CratePath,
    output: &TokenStream,
    at_name: Span,
) -> TokenStream {
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
            let #name = match #injected(&__BGTASK_HANDLER) {
                ::core::result::Result::Ok(#bound) => #bound,
                ::core::result::Result::Err(#refused) => return #refused,
            };
        }
    });
    bindings.collect()
}
