//! Which attribute goes where: to the function that is called, or to the function that runs.
//! Knows nothing of either function.

use crate::tokens::plain_name;
use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Path, Token};

// The attributes that concern callers. Lint levels there also apply to the items nested in that function.
const FOR_CALLERS: [&str; 11] = [
    "allow",
    "cfg",
    "cold",
    "deny",
    "deprecated",
    "doc",
    "expect",
    "forbid",
    "inline",
    "must_use",
    "warn",
];

const REACHES_BODY: [&str; 6] = ["allow", "cfg", "deny", "expect", "forbid", "warn"];

const TOOLS: [&str; 4] = ["clippy", "diagnostic", "rust_analyzer", "rustfmt"];

/// The attributes of a function, divided between the function that is called and the one that runs.
#[derive(Default)]
pub(crate) struct Routed {
    pub(crate) call: Vec<Attribute>,
    pub(crate) work: Vec<Attribute>,
}

pub(crate) fn route(attributes: Vec<Attribute>) -> Routed {
    let mut routed = Routed::default();
    for attribute in attributes {
        // Every generated function has it already, and an async one must not have it.
        if attribute.path().is_ident("track_caller") {
            continue;
        }
        let list = if is_for_callers(&attribute.meta) {
            &mut routed.call
        } else {
            &mut routed.work
        };
        list.push(attribute);
    }
    routed
}

/// Returns whether an attribute of the call also applies to the body beside it: `cfg`, which decides whether the body exists,
/// or a lint level.
pub(crate) fn reaches_body(meta: &Meta) -> bool {
    if meta.path().is_ident("cfg_attr") {
        return conditional(meta).iter().all(reaches_body);
    }
    REACHES_BODY.iter().any(|name| meta.path().is_ident(name))
}

/// Returns the attribute for a call with its body beside it. Turns `expect` into `allow`: only one of the two functions may
/// trigger the lint, and then the other `expect` would be unfulfilled.
pub(crate) fn beside_body(attribute: &Attribute) -> TokenStream {
    match &attribute.meta {
        Meta::List(list) if list.path.is_ident("expect") => {
            let lints = &list.tokens;
            quote!(#[allow(#lints)])
        }
        _ => attribute.to_token_stream(),
    }
}

/// Returns the attribute for a function that was renamed from `function`: `instrument` still names its span `function`.
pub(crate) fn named_after(attribute: &Attribute, function: &Ident) -> TokenStream {
    let path = attribute.path();
    let arguments = match &attribute.meta {
        _ if !is_named(attribute, "instrument") => return attribute.to_token_stream(),
        Meta::Path(_) => TokenStream::new(),
        Meta::List(list) if !has_name(&list.tokens) => list.tokens.clone(),
        _ => return attribute.to_token_stream(),
    };
    let name = plain_name(function);
    quote!(#[#path(name = #name, #arguments)])
}

/// Returns whether the arguments of `instrument` name its span, with `name = "…"` or as the first argument.
fn has_name(arguments: &TokenStream) -> bool {
    let tokens: Vec<TokenTree> = arguments.clone().into_iter().collect();
    let is_name_key = |pair: &[TokenTree]| matches!(pair, [TokenTree::Ident(key), TokenTree::Punct(equals)] if key == "name" && equals.as_char() == '=');
    matches!(tokens.first(), Some(TokenTree::Literal(_))) || tokens.windows(2).any(is_name_key)
}

/// Returns the `#[cfg]`s among the attributes.
pub(crate) fn cfgs(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
}

/// Returns whether the function is marked `must_use`, at least under some `cfg`.
pub(crate) fn is_must_use(attributes: &[Attribute]) -> bool {
    fn sets_it(meta: &Meta) -> bool {
        let path = meta.path();
        path.is_ident("must_use")
            || (path.is_ident("cfg_attr") && conditional(meta).iter().any(sets_it))
    }
    attributes.iter().any(|attribute| sets_it(&attribute.meta))
}

/// Returns whether the last segment of the attribute's path is `name`.
pub(crate) fn is_named(attribute: &Attribute, name: &str) -> bool {
    let last = attribute.path().segments.last();
    last.is_some_and(|last| last.ident == name)
}

/// Returns a path as a user would write it, for messages.
pub(crate) fn display_path(path: &Path) -> String {
    let segments = path.segments.iter();
    let segments: Vec<_> = segments.map(|segment| segment.ident.to_string()).collect();
    segments.join("::")
}

fn is_for_callers(meta: &Meta) -> bool {
    let path = meta.path();
    if path.is_ident("cfg_attr") {
        return conditional(meta).iter().all(is_for_callers);
    }
    if path.segments.len() > 1 {
        return TOOLS.iter().any(|tool| {
            path.segments
                .first()
                .is_some_and(|first| first.ident == tool)
        });
    }
    FOR_CALLERS.iter().any(|name| path.is_ident(name))
}

/// Returns the attributes after the predicate of a `cfg_attr`; none if rustc is going to reject it anyway.
fn conditional(meta: &Meta) -> Vec<Meta> {
    let Meta::List(list) = meta else {
        return Vec::new();
    };
    list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
        .map(|metas| metas.into_iter().skip(1).collect())
        .unwrap_or_default()
}
