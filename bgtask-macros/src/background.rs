//! `#[background]`: parse, validate, expand; or, where something is wrong, every error and a stub.
//! Knows the order of these steps and nothing of what they do.

use crate::errors::Errors;
use crate::parse::{Function, not_a_function};
use crate::{expand, options, stub, validate};
use proc_macro2::TokenStream;

pub(crate) fn attribute(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let options = options::background(arguments, &mut errors);
    let mut function: Function = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            // What is no function stays what it is, so that nothing else breaks.
            errors.push(not_a_function("background", item.clone(), error));
            let errors = errors.into_compile_errors();
            return quote::quote!(#errors #item);
        }
    };
    if let Err(error) = function.hoist_inner_attributes() {
        errors.push(error);
    }
    let stub = stub::of_task(&function, &options.krate);
    match validate::task(function, options, &mut errors) {
        Some(plan) => expand::task(plan),
        None => {
            let errors = errors.into_compile_errors();
            quote::quote!(#errors #stub)
        }
    }
}
