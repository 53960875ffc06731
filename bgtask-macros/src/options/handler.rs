//! The static of one handler: a function or a block as the attribute describes it, with its options.
//! Knows the names in `__private` and nothing of their behaviour.

use super::task::TaskOptions;
use crate::arguments::values::variant;
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};

/// The fields of a handler's static, except the options.
pub(crate) struct Described {
    pub(crate) name: TokenStream,
    pub(crate) path: TokenStream,
    pub(crate) is_async: bool,
    pub(crate) takes_token: bool,
    pub(crate) policies: TokenStream,
}

/// Returns the static of one handler, and its entry in the list of all handlers.
pub(crate) fn handler_static(
    described: Described,
    options: &TaskOptions,
    private: &TokenStream,
    at: Span,
) -> TokenStream {
    let Described {
        name,
        path,
        is_async,
        takes_token,
        policies,
    } = described;
    let kind = format_ident!("{}", if is_async { "Async" } else { "Blocking" });
    let on_shutdown = variant(options.on_shutdown.as_ref(), "Drain");
    let log = variant(options.log.as_ref(), "Debug");
    let warn_after = match options
        .warn_after
        .as_ref()
        .map(|option| option.limit.as_ref())
    {
        None => quote!(Default),
        Some(None) => quote!(Never),
        Some(Some(limit)) => {
            let limit = limit.tokens(private);
            quote!(After(#limit))
        }
    };
    quote_spanned! {at=>
        static __BGTASK_HANDLER: #private::Handler = #private::Handler::new(#private::HandlerSpec {
            name: #name,
            path: #path,
            module_path: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
            kind: #private::Kind::#kind,
            takes_token: #takes_token,
            on_shutdown: #private::OnShutdown::#on_shutdown,
            log: #private::Log::#log,
            warn_after: #private::WarnAfter::#warn_after,
            policies: #policies,
        });
        #private::inventory::submit! { #private::Registered(&__BGTASK_HANDLER) }
    }
}
