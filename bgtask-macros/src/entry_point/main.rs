//! `#[bgtask::main]`: what `main` may look like, and the plain `main` around it.
//! Knows the names in `__private` and nothing of runtimes or signals.

use crate::arguments::tokens::{duration, optional, variant};
use crate::entry_point;
use crate::errors::Errors;
use crate::function::attrs;
use crate::function::{Function, is_token, is_token_wrapped, peel};
use crate::options::{self, MainOptions};
use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{FnArg, ReturnType, Type};

const TAKES: &str =
    "`#[bgtask::main]` goes on `async fn main()` or `async fn main(shutdown: ShutdownToken)`";

pub(crate) fn attribute(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let options = options::main(arguments, &mut errors);
    entry_point::attribute("bgtask::main", item, errors, check, |function| {
        expand(function, &options)
    })
}

fn check(function: &Function, errors: &mut Errors) {
    for attribute in &function.attributes {
        let path = attribute.path();
        if path
            .segments
            .last()
            .is_some_and(|last| last.ident == "main")
        {
            let written = attrs::display_path(path);
            errors.over(
                attribute,
                format!("`#[bgtask::main]` builds the runtime itself: remove `#[{written}]`"),
            );
        }
    }
    let signature = &function.signature;
    if signature.ident != "main" {
        errors.over(
            &signature.ident,
            format!("{TAKES}; this function has another name"),
        );
    }
    entry_point::check_kind(function, "main", TAKES, errors);
    if let ReturnType::Type(_, ty) = &signature.output {
        match peel(ty) {
            Type::Never(never) => errors.over(
                never,
                "`main` must be able to end, for the background work drains then: return `()`",
            ),
            Type::ImplTrait(own) => errors.over(
                own.impl_token,
                "`main` must name its output type; write it out, such as `std::process::ExitCode`",
            ),
            _ => {}
        }
    }
    for (index, input) in signature.inputs.iter().enumerate() {
        match input {
            FnArg::Receiver(receiver) => errors.over(receiver, TAKES),
            FnArg::Typed(typed) if is_token_wrapped(&typed.ty) => {
                errors.over(&typed.ty, format!("{TAKES}; take the token by value"));
            }
            FnArg::Typed(typed) if !is_token(&typed.ty) => errors.over(&typed.ty, TAKES),
            FnArg::Typed(typed) if index > 0 => {
                errors.over(
                    &typed.ty,
                    "`main` receives one `ShutdownToken`; drop this one",
                );
            }
            FnArg::Typed(_) => {}
        }
    }
}

// Input:
//     #[bgtask::main(grace = "5s")]
//     async fn main(shutdown: ShutdownToken) -> T { … }
//
// Output:
//     fn main() -> ExitCode {
//         async fn main(shutdown: ShutdownToken) -> T { … }
//         run_main::<T, _>(MainConfig { … }, main)
//     }
fn expand(function: Function, options: &MainOptions) -> TokenStream {
    let Function {
        attributes,
        visibility,
        signature,
        body,
    } = function;
    let attributes = attrs::route(attributes);
    let (of_the_call, of_the_work) = (&attributes.call, &attributes.work);
    let name = &signature.ident;
    let at_name = name.span();
    let private = options.krate.private(at_name);
    let output = entry_point::output(&signature);
    let takes_token = !signature.inputs.is_empty();
    let call = entry_point::call(&signature);
    let flavor = variant(options.flavor.as_ref(), "MultiThread");
    let worker_threads = optional(options.worker_threads.map(|count| quote!(#count)));
    let grace = optional(options.grace.map(duration));
    let warn_after = optional(options.warn_after.map(duration));
    let dump = optional(options.dump.as_ref().map(|dump| {
        let signal = format_ident!("{}", dump.variant);
        quote!(#private::DumpSignal::#signal)
    }));
    quote_spanned! {at_name=>
        #(#of_the_call)*
        #visibility fn #name() -> ::std::process::ExitCode {
            #(#of_the_work)*
            #[allow(clippy::single_call_fn)]
            #signature #body

            #private::run_main::<#output, _>(
                #private::MainConfig {
                    flavor: #private::Flavor::#flavor,
                    worker_threads: #worker_threads,
                    grace: #grace,
                    warn_after: #warn_after,
                    dump: #dump,
                    takes_token: #takes_token,
                },
                #call,
            )
        }
    }
}
