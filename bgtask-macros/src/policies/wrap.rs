//! `wrap`: the user's code around each attempt.

use super::{Policies, Policy, Spec};
use crate::arguments::{Entry, Keyword};
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::Expr;

pub(crate) struct Wrap(pub(crate) Expr);

pub(super) const SPEC: Spec = Spec {
    options: &[Keyword::new(
        "wrap",
        "wrap = with_tenant",
        |policies, entry| {
            policies.wrap = Some(Wrap::read(entry)?);
            Ok(())
        },
    )],
    refused_by_spawn: &[(
        "wrap",
        "the work of a block is written where it runs: write the code around it there, and drop `wrap`",
    )],
    ..Spec::EMPTY
};

impl Wrap {
    fn read(entry: &Entry) -> syn::Result<Self> {
        match entry.expression()? {
            Expr::Lit(_) => Err(entry.wrong(
                "`wrap` takes the path of an `async fn(bgtask::Attempt)`: `wrap = with_tenant`",
            )),
            expression => Ok(Self(expression)),
        }
    }
}

impl Policy for Wrap {
    fn field(&self, _: &Policies, _: &TokenStream, _: Span) -> Option<TokenStream> {
        // As the user writes it, for `Handler::options`.
        let text = self.0.to_token_stream().to_string().replace(" :: ", "::");
        Some(quote!(wrap: ::core::option::Option::Some(#text)))
    }
}
