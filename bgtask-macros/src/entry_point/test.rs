//! `#[bgtask::test]`: what a test may look like, and the plain test around it.
//! Knows the names in `__private` and nothing of runtimes or of what fails a test.

use crate::arguments::tokens::{duration, optional, variant};
use crate::entry_point;
use crate::errors::Errors;
use crate::function::attrs::display_path;
use crate::function::{Function, is_token, is_token_wrapped, peel};
use crate::options::{self, TestOptions};
use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{Attribute, FnArg, ReturnType, Signature, Type};

const TAKES: &str =
    "`#[bgtask::test]` goes on `async fn …()` or `async fn …(shutdown: ShutdownToken)`";

pub(crate) fn attribute(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let options = options::test(arguments, &mut errors);
    entry_point::attribute("bgtask::test", item, errors, check, |function| {
        expand(function, &options)
    })
}

fn check_attributes(attributes: &[Attribute], errors: &mut Errors) {
    for attribute in attributes {
        let path = attribute.path();
        let is_last = |name: &str| path.segments.last().is_some_and(|last| last.ident == name);
        if is_last("test") {
            let written = display_path(path);
            errors.over(
                path,
                format!("`#[bgtask::test]` makes this a test already: remove `#[{written}]`"),
            );
        } else if is_last("background") {
            errors.over(
                path,
                "a test does not run in the background: remove `#[background]`",
            );
        }
    }
}

fn check(function: &Function, errors: &mut Errors) {
    check_attributes(&function.attributes, errors);
    let signature = &function.signature;
    entry_point::check_kind(function, "test", TAKES, errors);
    if let ReturnType::Type(_, ty) = &signature.output
        && let Type::ImplTrait(own) = peel(ty)
    {
        errors.over(
            own.impl_token,
            "a test must name its output type; write it out, such as `Result<(), std::io::Error>`",
        );
    }
    check_parameters(function, errors);
}

fn check_parameters(function: &Function, errors: &mut Errors) {
    let signature: &Signature = &function.signature;
    let from_outside = is_given_parameters(function);
    let mut tokens = 0;
    for input in &signature.inputs {
        match input {
            FnArg::Receiver(receiver) => errors.over(receiver, TAKES),
            FnArg::Typed(typed) if is_token_wrapped(&typed.ty) => {
                errors.over(&typed.ty, format!("{TAKES}; take the token by value"));
            }
            FnArg::Typed(typed) if is_token(&typed.ty) => {
                tokens += 1;
                if tokens > 1 {
                    errors.over(
                        &typed.ty,
                        "a test receives one `ShutdownToken`; drop this one",
                    );
                }
            }
            FnArg::Typed(typed) if from_outside => errors.over(
                &typed.ty,
                "whoever gives a test its parameters has to come first: put `#[bgtask::test]` below `#[rstest]`",
            ),
            FnArg::Typed(typed) => errors.over(
                &typed.ty,
                format!("{TAKES}; nobody gives a test other arguments, unless `#[rstest]` stands above this"),
            ),
        }
    }
}

/// Whether an attribute that comes after this one means to give the test its parameters.
fn is_given_parameters(function: &Function) -> bool {
    const GIVERS: [&str; 6] = [
        "rstest",
        "case",
        "values",
        "test_case",
        "parameterized",
        "fixture",
    ];
    let inputs = function.signature.inputs.iter();
    let of_inputs = inputs.filter_map(|input| match input {
        FnArg::Typed(typed) => Some(&typed.attrs),
        FnArg::Receiver(_) => None,
    });
    let mut all = function.attributes.iter().chain(of_inputs.flatten());
    all.any(|attribute| {
        let last = attribute.path().segments.last();
        last.is_some_and(|last| GIVERS.iter().any(|giver| last.ident == giver))
    })
}

// Input:
//     #[bgtask::test(drain = "1s")]
//     async fn pages_are_saved(shutdown: ShutdownToken) -> T { … }
//
// Output:
//     #[test]
//     fn pages_are_saved() -> T {
//         async fn pages_are_saved(shutdown: ShutdownToken) -> T { … }
//         run_test::<T, _>(TestConfig { … }, pages_are_saved)
//     }
fn expand(function: Function, options: &TestOptions) -> TokenStream {
    let Function {
        attributes,
        visibility,
        signature,
        body,
    } = function;
    let name = &signature.ident;
    let at_name = name.span();
    let private = options.krate.private(at_name);
    let output = entry_point::output(&signature);
    let call = entry_point::call(&signature);
    let flavor = variant(options.flavor.as_ref(), "CurrentThread");
    let worker_threads = optional(options.worker_threads.map(|count| quote!(#count)));
    let drain = optional(options.drain.map(duration));
    let wait = optional(options.wait.map(duration));
    let schedules = options.schedules;
    // Where the option is written: without tokio's `test-util` there is no such method, and that is what to point at.
    let prepare = match options.start_paused {
        Some(written_at) => {
            let builder = format_ident!("builder", span = written_at);
            quote_spanned! {written_at=>
                |#builder: &mut #private::tokio::runtime::Builder| { #builder.start_paused(true); }
            }
        }
        None => quote_spanned!(at_name=> |_| {}),
    };
    quote_spanned! {at_name=>
        #[::core::prelude::v1::test]
        #(#attributes)*
        #visibility fn #name() -> #output {
            #[allow(clippy::single_call_fn)]
            #signature #body

            #private::run_test::<#output, _>(
                #private::TestConfig {
                    flavor: #private::Flavor::#flavor,
                    worker_threads: #worker_threads,
                    drain: #drain,
                    wait: #wait,
                    schedules: #schedules,
                    prepare: #prepare,
                },
                #call,
            )
        }
    }
}
