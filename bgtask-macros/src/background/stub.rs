//! What stands in for a function that is in error: its caller's signature without a body, so that its callers compile.
//! Knows nothing of what the errors were.

use crate::background::validate;
use crate::function::attrs;
use crate::function::{Function, is_state, is_token, is_token_wrapped};
use crate::options::CratePath;
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{FnArg, ReturnType, Signature};

// Input:   #[background] pub unsafe fn name(key: &str, token: ShutdownToken) -> T { … }
// Output:  #[allow(…)] pub fn name(_: &str) -> TaskHandle<T> { panic!() }
pub(crate) fn of_task(function: &Function, krate: &CratePath) -> TokenStream {
    let private = krate.private(Span::call_site());
    let attributes = attrs::route(function.attributes.clone()).call;
    let visibility = &function.visibility;
    let signature = &function.signature;
    let name = &signature.ident;
    let (generics, _, clause) = signature.generics.split_for_impl();
    let inputs = signature.inputs.iter().filter_map(input);
    let types = mention_types(signature);
    // A program's `main` returns nothing of the sort.
    let output = (name != "main").then(|| {
        let output = match &signature.output {
            ReturnType::Type(_, ty) if validate::output_is_sound(&signature.output) => {
                ty.to_token_stream()
            }
            _ => quote!(()),
        };
        quote!(-> #private::TaskHandle<#output>)
    });
    quote! {
        #(#attributes)*
        #[allow(warnings, clippy::all, clippy::pedantic)]
        #visibility fn #name #generics (#(#inputs),*) #output #clause {
            #(#types)*
            ::core::panic!()
        }
    }
}

/// A function of that name that takes and does nothing.
pub(crate) fn without_parameters(signature: &Signature) -> TokenStream {
    let name = &signature.ident;
    // The stub has no generics, so it can only mention types that need none.
    let types = signature.generics.params.is_empty().then(|| {
        let types = mention_types(signature);
        quote!(#(#types)*)
    });
    quote! {
        #[allow(warnings)]
        fn #name() {
            #types
        }
    }
}

/// Mentions the types of the parameters that a stub may not have got, so that no import of theirs seems unused.
fn mention_types(signature: &Signature) -> impl Iterator<Item = TokenStream> {
    signature.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(typed) if validate::is_plain(&typed.ty) => {
            let cfgs = attrs::cfgs(&typed.attrs);
            let ty = &typed.ty;
            Some(quote!(#(#cfgs)* let _ = |_: #ty| {};))
        }
        _ => None,
    })
}

fn input(input: &FnArg) -> Option<TokenStream> {
    match input {
        FnArg::Receiver(receiver) => Some(receiver.to_token_stream()),
        FnArg::Typed(typed)
            if is_token(&typed.ty) || is_token_wrapped(&typed.ty) || is_state(&typed.ty) =>
        {
            None
        }
        FnArg::Typed(typed) => {
            let cfgs = attrs::cfgs(&typed.attrs);
            let ty = if validate::may_stand_in_a_signature(&typed.ty) {
                typed.ty.to_token_stream()
            } else {
                // Whatever the caller passes.
                quote!(impl ::core::marker::Sized)
            };
            Some(quote!(#(#cfgs)* _: #ty))
        }
    }
}
