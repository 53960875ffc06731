//! The `crate` option of every attribute: where generated code finds the `bgtask` crate.
//! Knows nothing of the code that names the path.

use super::{Entry, Keyword};
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::Path;

pub(crate) const CRATE: &[Keyword<CratePath>] = &[Keyword::new(
    "crate",
    r#"crate = "crate::…""#,
    |krate, entry| {
        *krate = CratePath::read(entry)?;
        Ok(())
    },
)];

/// The path of the crate, with the span of the literal that has it. Default: `::bgtask`.
#[derive(Default)]
pub(crate) struct CratePath(Option<(Path, Span)>);

impl CratePath {
    fn read(entry: &Entry) -> syn::Result<Self> {
        let relative = "`crate` needs an absolute path; write `::bgtask` or `crate::…`";
        let literal = entry.string()?;
        let path = literal
            .parse_with(Path::parse_mod_style)
            .map_err(|_| entry.wrong(relative))?;
        if let Some(name) = path.get_ident()
            && name != "crate"
            && name != "bgtask"
        {
            return Err(entry.wrong(format!(
                "`crate` needs an absolute path; write `::{name}` if the dependency has that name, or `crate::{name}` if a `use` does"
            )));
        }
        let first = path.segments.first();
        let in_this_crate = first.is_some_and(|segment| segment.ident == "crate");
        if path.leading_colon.is_none() && !in_this_crate {
            return Err(entry.wrong(relative));
        }
        Ok(Self(Some((path, literal.span()))))
    }

    /// Returns `::bgtask::__private` at the span that diagnostics about it point at. A path that the user sets keeps its
    /// location, so an error about that path points at the option.
    pub(crate) fn private(&self, span: Span) -> TokenStream {
        match &self.0 {
            Some((path, given_at)) => {
                // Only the location is the user's: with the user's hygiene too, lints on long paths would apply.
                let given_at = Span::call_site().located_at(*given_at);
                let path = path.to_token_stream().into_iter().map(|mut token| {
                    token.set_span(given_at);
                    token
                });
                let path: TokenStream = path.collect();
                quote_spanned!(span=> #path::__private)
            }
            None => quote_spanned!(span=> ::bgtask::__private),
        }
    }
}
