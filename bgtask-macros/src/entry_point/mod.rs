//! `#[bgtask::main]` and `#[bgtask::test]`: a plain function around the user's `async fn`.
//! Owns the common part, and knows nothing of the differences.

pub(crate) mod main;
pub(crate) mod test;

use crate::errors::Errors;
use crate::function::{Function, mention_types};
use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::{ReturnType, Safety, Signature};

/// Parses and checks the function, and returns its expansion, or every error and a stub.
fn attribute(
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
    let stub = stub(&function.signature);
    quote!(#errors #stub)
}

/// Returns a function of that name that takes and does nothing. Nothing calls it, but it uses the imports, and with some `main`
/// the compiler does not also report that there is none.
fn stub(signature: &Signature) -> TokenStream {
    let name = &signature.ident;
    // The stub has no generics, so it can only mention types that need none.
    let types = signature
        .generics
        .params
        .is_empty()
        .then(|| mention_types(signature));
    quote! {
        #[allow(warnings)]
        fn #name() {
            #types
        }
    }
}

/// Rejects a function that neither attribute goes on. `takes` is the sentence about what the attribute goes on, and
/// `attribute` is its last segment.
fn check_kind(function: &Function, attribute: &str, takes: &str, errors: &mut Errors) {
    let signature = &function.signature;
    // An attribute above has been expanded by now, and has removed the `async`.
    let has_runtime = ["Builder", "block_on"]
        .iter()
        .all(|name| function.mentions(&|ident| ident == name));
    if signature.asyncness.is_none() && has_runtime {
        errors.over(
            signature.fn_token,
            format!(
                "`#[bgtask::{attribute}]` builds the runtime itself, and this function has one: remove `#[tokio::{attribute}]` \
                 above, or make it an `async fn`"
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
    if let Some(variadic) = &signature.variadic {
        errors.over(variadic, takes);
    }
}

fn output(signature: &Signature) -> TokenStream {
    match &signature.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, ty) => ty.to_token_stream(),
    }
}

/// Returns an expression that takes the token and calls the function, with the token or without.
fn call(signature: &Signature) -> TokenStream {
    let name = &signature.ident;
    if signature.inputs.is_empty() {
        quote_spanned!(name.span()=> |_| #name())
    } else {
        name.to_token_stream()
    }
}
