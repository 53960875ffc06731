//! `#[bgtask::main]`: which functions it goes on, and the plain function around one.
//! Knows the names in `__private` and nothing of runtimes or signals.

use crate::arguments::values::{Value, optional, variant};
use crate::errors::Errors;
use crate::function::types::{generic_names, is_token, is_token_wrapped, peel};
use crate::function::{Function, attrs};
use crate::options::main::MainOptions;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use std::time::Duration;
use syn::punctuated::Punctuated;
use syn::{FnArg, Pat, ReturnType, Signature, Type, parse_quote};

const TAKES: &str =
    "`#[bgtask::main]` goes on an `async fn`, such as `async fn main(shutdown: ShutdownToken)`";

pub(crate) fn attribute(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let options = MainOptions::read(arguments, &mut errors);
    super::attribute("bgtask::main", item, errors, check, |function| {
        expand(function, &options)
    })
}

fn check(function: &Function, errors: &mut Errors) {
    for attribute in &function.attributes {
        if attrs::is_named(attribute, "main") {
            let path = attrs::display_path(attribute.path());
            errors.over(
                attribute,
                format!("`#[bgtask::main]` builds the runtime itself: remove `#[{path}]`"),
            );
        }
    }
    let signature = &function.signature;
    let name = &signature.ident;
    super::check_kind(function, "main", TAKES, errors);
    if !is_function(signature) && !signature.generics.params.is_empty() {
        errors.over(&signature.generics, format!("{TAKES}; remove the generics"));
    }
    if let ReturnType::Type(_, ty) = &signature.output {
        match peel(ty) {
            Type::Never(never) => errors.over(
                never,
                format!("`{name}` must be able to end, because the background work drains then: return `()`"),
            ),
            Type::ImplTrait(impl_trait) => errors.over(
                impl_trait.impl_token,
                format!("`{name}` must name its output type; write it out, such as `std::process::ExitCode`"),
            ),
            _ => {}
        }
    }
    let mut has_token = false;
    for input in &signature.inputs {
        match input {
            FnArg::Receiver(receiver) => errors.over(
                receiver,
                "`#[bgtask::main]` goes on a free function: pass the value as an argument, such as `app: App`",
            ),
            FnArg::Typed(typed) if is_token_wrapped(&typed.ty) => {
                errors.over(&typed.ty, format!("{TAKES}; take the token by value"));
            }
            FnArg::Typed(typed) if is_token(&typed.ty) && has_token => errors.over(
                &typed.ty,
                format!("`{name}` receives one `ShutdownToken`; drop this one"),
            ),
            FnArg::Typed(typed) if !is_token(&typed.ty) && !is_function(signature) => errors.over(
                &typed.ty,
                "`main` takes a `ShutdownToken` only; give a function with arguments another name, and call it from a plain `main`",
            ),
            FnArg::Typed(typed) => {
                has_token |= is_token(&typed.ty);
                if let Some(cfg) = attrs::cfgs(&typed.attrs).next() {
                    errors.over(
                        cfg,
                        format!("`{name}` passes all its arguments on: write two functions, each with a `#[cfg]` of its own"),
                    );
                }
            }
        }
    }
}

/// Returns whether this is a function that other code calls. The alternative is the program's `main`, which nothing calls and whose
/// result is the exit code.
fn is_function(signature: &Signature) -> bool {
    signature.ident != "main"
}

fn is_token_input(input: &FnArg) -> bool {
    matches!(input, FnArg::Typed(typed) if is_token(&typed.ty))
}

// Input:
//     #[bgtask::main(grace = "5s")]
//     async fn main(shutdown: ShutdownToken) -> T { … }
//
// Output:
//     fn main() -> ExitCode {
//         async fn main(shutdown: ShutdownToken) -> T { … }
//         run_main::<T, _>(MainConfig { … }, |token| main(token))
//     }
//
// Input:
//     #[bgtask::main]
//     async fn serve(command: Command, shutdown: ShutdownToken) -> T { … }
//
// Output:
//     fn serve(command: Command) -> T {
//         async fn serve(command: Command, shutdown: ShutdownToken) -> T { … }
//         run_function::<T, _, _>(MainConfig { … }, Probe::<T>::NEW.classify(), |token| serve(command, token))
//     }
fn expand(function: Function, options: &MainOptions) -> TokenStream {
    let Function {
        attributes,
        visibility,
        signature,
        body,
    } = function;
    let attributes = attrs::route(attributes);
    let (for_callers, for_work) = (&attributes.call, &attributes.work);
    let name = &signature.ident;
    let at_name = name.span();
    let private = options.krate.private(at_name);
    let output = super::output(&signature);
    let takes_token = signature.inputs.iter().any(is_token_input);
    let flavor = variant(options.flavor.as_ref(), "MultiThread");
    let duration = |value: &Value<Duration>| value.tokens(&private);
    let worker_threads = options.worker_threads.as_ref();
    let worker_threads = optional(worker_threads.map(|count| count.tokens(&private)));
    let grace = optional(options.grace.as_ref().map(duration));
    let pre_stop = optional(options.pre_stop.as_ref().map(duration));
    let strict = options.strict;
    let warn_after = optional(options.warn_after.as_ref().map(duration));
    let dump = optional(options.dump.as_ref().map(|dump| {
        let signal = format_ident!("{}", dump.variant);
        quote!(#private::DumpSignal::#signal)
    }));
    let config = quote_spanned! {at_name=>
        #private::MainConfig {
            flavor: #private::Flavor::#flavor,
            worker_threads: #worker_threads,
            grace: #grace,
            pre_stop: #pre_stop,
            strict: #strict,
            warn_after: #warn_after,
            dump: #dump,
            takes_token: #takes_token,
        }
    };
    let (caller, run) = if is_function(&signature) {
        let (caller, call) = as_function(&signature);
        let run = quote_spanned! {at_name=>
            #private::run_function::<#output, _, _>(
                #config,
                #private::Probe::<#output>::NEW.classify(),
                #call,
            )
        };
        (caller, run)
    } else {
        let caller = quote_spanned!(at_name=> fn #name() -> ::std::process::ExitCode);
        let call = super::call(&signature);
        let run = quote_spanned!(at_name=> #private::run_main::<#output, _>(#config, #call));
        (caller, run)
    };
    quote_spanned! {at_name=>
        #(#for_callers)*
        #visibility #caller {
            #(#for_work)*
            #[allow(clippy::single_call_fn)]
            #signature #body

            #run
        }
    }
}

/// Returns the signature that callers see, without `async` and the token, and the expression that takes the token and calls the
/// function.
fn as_function(signature: &Signature) -> (TokenStream, TokenStream) {
    let name = &signature.ident;
    let token = Ident::new("token", Span::mixed_site());
    let mut caller = signature.clone();
    caller.asyncness = None;
    let mut passed = Vec::new();
    let mut taken = Punctuated::new();
    for (index, input) in signature.inputs.iter().enumerate() {
        let FnArg::Typed(typed) = input else {
            continue;
        };
        if is_token(&typed.ty) {
            passed.push(token.clone());
            continue;
        }
        let argument = match &*typed.pat {
            // An argument with the function's name would hide the function.
            Pat::Ident(ident) if ident.subpat.is_none() && ident.ident != *name => {
                ident.ident.clone()
            }
            _ => format_ident!("arg{}", index + 1, span = Span::mixed_site()),
        };
        let ty = &typed.ty;
        taken.push(parse_quote!(#argument: #ty));
        passed.push(argument);
    }
    caller.inputs = taken;
    // Those that the arguments do not determine; lifetimes they do.
    let generics: Vec<_> = generic_names(signature).collect();
    let call = if caller.inputs.is_empty() && generics.is_empty() {
        super::call(signature)
    } else {
        let generics = (!generics.is_empty()).then(|| quote!(::<#(#generics),*>));
        let token = if passed.contains(&token) {
            token.into_token_stream()
        } else {
            quote!(_)
        };
        quote_spanned!(name.span()=> move |#token| #name #generics (#(#passed),*))
    };
    (caller.into_token_stream(), call)
}
