//! What `#[bgtask::main]` and `#[bgtask::test]` have in common: a plain function around the user's `async fn`.
//! Knows nothing of what tells the two apart.

pub(crate) mod main;
pub(crate) mod test;

use crate::background::stub;
use crate::errors::Errors;
use crate::function::Function;
use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::{ReturnType, Safety, Signature};

/// Reads the function, has it checked, and writes what stands for it: `expand`, or every error and a stub. Nobody calls such a
/// function, but its imports and types are in use; and with a `main` of some sort the compiler does not go on to say that there
/// is none.
pub(crate) fn attribute(
    name: &str,
    item: TokenStream,
    mut errors: Errors,
    check: impl FnOnce(&Function, &mut Errors),
    expand: impl FnOnce(Function) -> TokenStream,
) -> TokenStream {
    let Some(function) = Function::read(name, &item, &mut errors) else {
        let errors = errors.into_compile_errors();
        return quote!(#errors #item);
    };
    check(&function, &mut errors);
    if errors.is_empty() {
        return expand(function);
    }
    let errors = errors.into_compile_errors();
    let stub = stub::without_parameters(&function.signature);
    quote!(#errors #stub)
}

/// Rejects what neither `main` nor a test may be. `takes` says what the attribute goes on, and `own` is the attribute's last
/// segment.
pub(crate) fn check_kind(function: &Function, own: &str, takes: &str, errors: &mut Errors) {
    let signature = &function.signature;
    // An attribute above has been expanded by now, and has removed the `async`.
    let has_runtime = ["Builder", "block_on"]
        .iter()
        .all(|name| function.mentions(&|ident| ident == name));
    if signature.asyncness.is_none() && has_runtime {
        errors.over(
            signature.fn_token,
            format!(
                "`#[bgtask::{own}]` builds the runtime itself, and this function has one: remove `#[tokio::{own}]` above, or \
                 make it an `async fn`"
            ),
        );
    } else if signature.asyncness.is_none() {
        errors.over(signature.fn_token, format!("{takes}; add `async`"));
    }
    if let Safety::Unsafe(keyword) = &signature.safety {
        errors.over(keyword, format!("{takes}; remove `unsafe`"));
    }
    if let Some(keyword) = &signature.constness {
        errors.over(keyword, format!("{takes}; remove `const`"));
    }
    if let Some(abi) = &signature.abi {
        errors.over(abi, format!("{takes}; remove the ABI"));
    }
    if !signature.generics.params.is_empty() {
        errors.over(&signature.generics, format!("{takes}; remove the generics"));
    }
    if let Some(variadic) = &signature.variadic {
        errors.over(variadic, takes);
    }
}

pub(crate) fn output(signature: &Signature) -> TokenStream {
    match &signature.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, ty) => ty.to_token_stream(),
    }
}

/// What is given the token and calls the function, whether or not that takes it.
pub(crate) fn call(signature: &Signature) -> TokenStream {
    let name = &signature.ident;
    if signature.inputs.is_empty() {
        quote_spanned!(name.span()=> |_| #name())
    } else {
        name.to_token_stream()
    }
}
