//! `#[bgtask::test]`: which functions it goes on, and the plain test around one.
//! Knows the names in `__private` and nothing of runtimes, nor of why a test fails.

use crate::arguments::values::{Value, optional, variant};
use crate::errors::Errors;
use crate::function::Function;
use crate::function::attrs::{display_path, is_named};
use crate::function::types::{is_token, is_token_wrapped, peel};
use crate::options::test::TestOptions;
use proc_macro2::TokenStream;
use quote::{format_ident, quote_spanned};
use std::time::Duration;
use syn::{Attribute, FnArg, ReturnType, Type};

const TAKES: &str =
    "`#[bgtask::test]` goes on `async fn …()` or `async fn …(shutdown: ShutdownToken)`";

pub(crate) fn attribute(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let options = TestOptions::read(arguments, &mut errors);
    super::attribute("bgtask::test", item, errors, check, |function| {
        expand(function, &options)
    })
}

fn check_attributes(attributes: &[Attribute], errors: &mut Errors) {
    for attribute in attributes {
        let path = attribute.path();
        if is_named(attribute, "test") {
            let shown = display_path(path);
            errors.over(
                path,
                format!("`#[bgtask::test]` makes this a test already: remove `#[{shown}]`"),
            );
        } else if is_named(attribute, "background") {
            errors.over(
                path,
                "a test does not run in the background: remove `#[background]`",
            );
        }
    }
}

fn check(function: &Function, errors: &mut Errors) {
    check_attributes(&function.attributes, errors);
    super::check_kind(function, "test", TAKES, errors);
    let generics = &function.signature.generics;
    if !generics.params.is_empty() {
        errors.over(generics, format!("{TAKES}; remove the generics"));
    }
    if let ReturnType::Type(_, ty) = &function.signature.output
        && let Type::ImplTrait(impl_trait) = peel(ty)
    {
        errors.over(
            impl_trait.impl_token,
            "a test must name its output type; write it out, such as `Result<(), std::io::Error>`",
        );
    }
    check_parameters(function, errors);
}

fn check_parameters(function: &Function, errors: &mut Errors) {
    let is_given_parameters = is_given_parameters(function);
    let mut tokens = 0;
    for input in &function.signature.inputs {
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
            FnArg::Typed(typed) if is_given_parameters => errors.over(
                &typed.ty,
                "the attribute that gives a test its parameters must come first: put `#[bgtask::test]` below `#[rstest]`",
            ),
            FnArg::Typed(typed) => errors.over(
                &typed.ty,
                format!("{TAKES}; a test has no other parameters, unless `#[rstest]` stands above this"),
            ),
        }
    }
}

/// Returns whether an attribute that expands after this one gives the test its parameters.
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
    let on_inputs = inputs.filter_map(|input| match input {
        FnArg::Typed(typed) => Some(&typed.attrs),
        FnArg::Receiver(_) => None,
    });
    let mut all = function.attributes.iter().chain(on_inputs.flatten());
    all.any(|attribute| GIVERS.iter().any(|giver| is_named(attribute, giver)))
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
    let output = super::output(&signature);
    let call = super::call(&signature);
    let flavor = variant(options.flavor.as_ref(), "CurrentThread");
    let duration = |value: &Value<Duration>| value.tokens(&private);
    let worker_threads = options.worker_threads.as_ref();
    let worker_threads = optional(worker_threads.map(|count| count.tokens(&private)));
    let drain = optional(options.drain.as_ref().map(duration));
    let wait = optional(options.wait.as_ref().map(duration));
    let schedules = options.schedules;
    let prepare = match options.start_paused {
        // At the option: without the feature `test-util` of tokio the method does not exist, and the error points there.
        Some(at_option) => {
            let builder = format_ident!("builder", span = at_option);
            quote_spanned! {at_option=>
                |#builder: &mut #private::tokio::runtime::Builder| { #builder.start_paused(true); }
            }
        }
        None => quote_spanned!(at_name=> |_| {}),
    };
    let store = optional(options.durable.map(|at_option| {
        // A path of the user's: the crate is missing where it points, and the compiler names it.
        quote_spanned!(at_option=> ::bgtask_durable::testing::open)
    }));
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
                    store: #store,
                    prepare: #prepare,
                },
                #call,
            )
        }
    }
}
