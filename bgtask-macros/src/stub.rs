//! What stands in for a function that is in error: its caller's signature without a body, so that its callers compile.
//! Knows nothing of what the errors were.

use crate::attrs;
use crate::options::CratePath;
use crate::parse::{Function, is_state, is_token};
use crate::validate;
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
    let types = mention_tokens(signature);
    let output = match &signature.output {
        ReturnType::Type(_, ty) if validate::output_is_sound(&signature.output) => {
            ty.to_token_stream()
        }
        _ => quote!(()),
    };
    quote! {
        #(#attributes)*
        #[allow(warnings, clippy::all, clippy::pedantic)]
        #visibility fn #name #generics (#(#inputs),*) -> #private::TaskHandle<#output> #clause {
            #(#types)*
            ::core::panic!()
        }
    }
}

/// Mentions the types of the parameters that a stub has not got, so that no import of theirs seems unused.
pub(crate) fn mention_tokens(signature: &Signature) -> impl Iterator<Item = TokenStream> {
    signature.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(typed) if is_token(&typed.ty) || is_state(&typed.ty) => {
            let ty = &typed.ty;
            Some(quote!(let _ = |_: #ty| {};))
        }
        _ => None,
    })
}

fn input(input: &FnArg) -> Option<TokenStream> {
    match input {
        FnArg::Receiver(receiver) => Some(receiver.to_token_stream()),
        FnArg::Typed(typed) if is_token(&typed.ty) || is_state(&typed.ty) => None,
        FnArg::Typed(typed) => {
            let cfgs = attrs::cfgs(&typed.attrs);
            let ty = match &*typed.ty {
                // A signature may not leave a type open.
                syn::Type::Infer(_) => quote!(()),
                ty => ty.to_token_stream(),
            };
            Some(quote!(#(#cfgs)* _: #ty))
        }
    }
}
