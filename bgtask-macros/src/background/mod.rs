//! `#[background]`: parse, validate, expand; or, where something is wrong, every error and a stub.
//! Knows the order of these steps and nothing of what they do.

pub(crate) mod expand;
pub(crate) mod expand_policies;
pub(crate) mod stub;
pub(crate) mod validate;

use crate::errors::Errors;
use crate::function::Function;
use crate::options;
use proc_macro2::TokenStream;

pub(crate) fn attribute(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let options = options::background(arguments, &mut errors);
    let Some(function) = Function::read("background", &item, &mut errors) else {
        // What is no function stays what it is, so that nothing else breaks.
        let errors = errors.into_compile_errors();
        return quote::quote!(#errors #item);
    };
    let stub = stub::of_task(&function, &options.krate);
    match validate::task(function, options, &mut errors) {
        Some(plan) => expand::task(plan),
        None => {
            let errors = errors.into_compile_errors();
            quote::quote!(#errors #stub)
        }
    }
}
