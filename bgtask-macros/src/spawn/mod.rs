//! `spawn!`: read, validate, expand; or, where something is wrong, every error and the call without its options.
//! Knows the order of these steps and nothing of what they do.

mod expand;
mod input;
mod validate;
mod work;

use crate::errors::Errors;
use crate::options::task::TaskOptions;
use input::Input;
use proc_macro2::TokenStream;

pub(crate) fn expression(tokens: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let instead = match Input::read(tokens, &mut errors) {
        None => TokenStream::new(),
        Some(input) => {
            let options = TaskOptions::read_for_spawn(input.options.clone(), &mut errors);
            match validate::block(input, options, &mut errors) {
                Ok(plan) if errors.is_empty() => return expand::call(&plan),
                Ok(plan) => expand::call(&plan.without_options()),
                Err(closure) => return with_errors(closure, errors, TokenStream::new()),
            }
        }
    };
    with_errors(None, errors, instead)
}

/// Returns every error, followed by a call instead of the wrong one. Without a call, the type of the last error fits
/// whatever is expected. A closure that cannot be called is bound to `_`, so that what it uses counts as used.
fn with_errors(closure: Option<TokenStream>, errors: Errors, instead: TokenStream) -> TokenStream {
    let closure = closure.map(|closure| quote::quote!(let _ = #closure;));
    let errors = errors.into_compile_errors();
    quote::quote!({ #closure #errors #instead })
}
