//! The replacement for a function that is in error: its signature without a body, so that its callers compile.
//! Knows nothing of what the errors were.

use crate::function::types::{
    is_bare_job, is_our_job, is_state, is_token, is_token_wrapped, output_is_sound,
    parameter_is_sound,
};
use crate::function::{Function, attrs, mention_types};
use crate::options::task::TaskOptions;
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{FnArg, ReturnType};

// Input:   #[background] pub unsafe fn name(key: &str, token: ShutdownToken) -> T { … }
// Output:  #[allow(…)] pub fn name(_: &str) -> TaskHandle<T> { panic!() }
pub(super) fn stub(function: &Function, options: &TaskOptions) -> TokenStream {
    let private = options.krate.private(Span::call_site());
    let attributes = attrs::route(function.attributes.clone()).call;
    let visibility = &function.visibility;
    let signature = &function.signature;
    let name = &signature.ident;
    let (generics, _, clause) = signature.generics.split_for_impl();
    let inputs = signature.inputs.iter();
    let has_durable = options.policies.has_durable();
    let inputs = inputs.filter_map(|argument| input(argument, has_durable));
    let types = mention_types(signature);
    // A program's `main` cannot return a handle.
    let output = (name != "main").then(|| {
        let output = match &signature.output {
            ReturnType::Type(_, ty) if output_is_sound(&signature.output) => ty.to_token_stream(),
            _ => quote!(()),
        };
        quote!(-> #private::TaskHandle<#output>)
    });
    quote! {
        #(#attributes)*
        #[allow(warnings, clippy::all, clippy::pedantic)]
        #visibility fn #name #generics (#(#inputs),*) #output #clause {
            #types
            ::core::panic!()
        }
    }
}

fn input(input: &FnArg, has_durable: bool) -> Option<TokenStream> {
    match input {
        FnArg::Receiver(receiver) => Some(receiver.to_token_stream()),
        FnArg::Typed(typed)
            if is_token(&typed.ty)
                || is_token_wrapped(&typed.ty)
                || is_state(&typed.ty)
                || is_our_job(&typed.ty)
                || has_durable && is_bare_job(&typed.ty) =>
        {
            None
        }
        FnArg::Typed(typed) => {
            let cfgs = attrs::cfgs(&typed.attrs);
            let ty = if parameter_is_sound(&typed.ty) {
                typed.ty.to_token_stream()
            } else {
                // Accepts any argument of the caller's.
                quote!(impl ::core::marker::Sized)
            };
            Some(quote!(#(#cfgs)* _: #ty))
        }
    }
}
