//! `essential`: the shutdown starts when the function ends before `main` has.

use super::{Policies, Policy, Spec};
use crate::arguments::Keyword;
use proc_macro2::{Span, TokenStream};
use quote::quote;

pub(crate) struct Essential;

const SCHEDULED: &str = "a schedule continues whether or not its runs fail; drop `essential`";

pub(super) const SPEC: Spec = Spec {
    options: &[Keyword::new("essential", "essential", |policies, entry| {
        let mut is_essential = false;
        entry.flag(&mut is_essential)?;
        policies.essential = is_essential.then_some(Essential);
        Ok(())
    })],
    excludes: &[
        ("essential", "every", SCHEDULED),
        ("essential", "cron", SCHEDULED),
    ],
    ..Spec::EMPTY
};

impl Policy for Essential {
    fn field(&self, _: &Policies, _: &TokenStream, _: Span) -> Option<TokenStream> {
        Some(quote!(essential: true))
    }
}
