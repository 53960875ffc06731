//! `#[background]`: parse, validate, expand; or, where something is wrong, every error and a stub.
//! Knows the order of these steps and nothing of what they do.

mod attempts;
mod durable;
mod expand;
mod fields;
mod launch;
mod parts;
mod plan;
mod stub;
mod validate;
mod work;

use crate::errors::Errors;
use crate::function::Function;
use crate::options::task::TaskOptions;
use proc_macro2::TokenStream;

pub(crate) fn attribute(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let options = TaskOptions::read(arguments, &mut errors);
    let Some(function) = Function::read("background", &item, &mut errors) else {
        // An item that is not a function stays as it is, so that nothing else breaks.
        let errors = errors.into_compile_errors();
        return quote::quote!(#errors #item);
    };
    let stub = stub::stub(&function, &options);
    match validate::task(function, options, &mut errors) {
        Some(plan) => expand::task(&plan),
        None => {
            let errors = errors.into_compile_errors();
            quote::quote!(#errors #stub)
        }
    }
}
