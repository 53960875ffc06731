//! `#[bgtask::main]`: which functions it goes on, and the plain `main` around one.
//! Knows the names in `__private` and nothing of runtimes or signals.

use crate::arguments::values::{duration, optional, variant};
use crate::errors::Errors;
use crate::function::types::{is_token, is_token_wrapped, peel};
use crate::function::{Function, attrs};
use crate::options::main::MainOptions;
use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{FnArg, ReturnType, Type};

const TAKES: &str =
    "`#[bgtask::main]` goes on `async fn main()` or `async fn main(shutdown: ShutdownToken)`";

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
    if signature.ident != "main" {
        errors.over(
            &signature.ident,
            format!("{TAKES}; this function has another name"),
        );
    }
    super::check_kind(function, "main", TAKES, errors);
    if let ReturnType::Type(_, ty) = &signature.output {
        match peel(ty) {
            Type::Never(never) => errors.over(
                never,
                "`main` must be able to end, because the background work drains then: return `()`",
            ),
            Type::ImplTrait(impl_trait) => errors.over(
                impl_trait.impl_token,
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
    let (for_callers, for_work) = (&attributes.call, &attributes.work);
    let name = &signature.ident;
    let at_name = name.span();
    let private = options.krate.private(at_name);
    let output = super::output(&signature);
    let takes_token = !signature.inputs.is_empty();
    let call = super::call(&signature);
    let flavor = variant(options.flavor.as_ref(), "MultiThread");
    let worker_threads = optional(options.worker_threads.map(|count| quote!(#count)));
    let grace = optional(options.grace.map(duration));
    let warn_after = optional(options.warn_after.map(duration));
    let dump = optional(options.dump.as_ref().map(|dump| {
        let signal = format_ident!("{}", dump.variant);
        quote!(#private::DumpSignal::#signal)
    }));
    quote_spanned! {at_name=>
        #(#for_callers)*
        #visibility fn #name() -> ::std::process::ExitCode {
            #(#for_work)*
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
