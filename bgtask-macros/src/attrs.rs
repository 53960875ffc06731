//! Which attribute goes where: to the function that is called or to the function that runs.
//! Knows nothing of what either of them looks like.

use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Path, Token};

// What speaks of the function as its callers see it. Lint levels reach into the items nested in that function too.
const OF_THE_CALL: [&str; 11] = [
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

const TOOLS: [&str; 4] = ["clippy", "diagnostic", "rust_analyzer", "rustfmt"];

#[derive(Default)]
pub(crate) struct Routed {
    pub(crate) call: Vec<Attribute>,
    pub(crate) work: Vec<Attribute>,
}

pub(crate) fn route(attributes: Vec<Attribute>) -> Routed {
    let mut routed = Routed::default();
    for attribute in attributes {
        // Every generated function has it already, and an async one may not carry it.
        if attribute.path().is_ident("track_caller") {
            continue;
        }
        if speaks_of_the_call(&attribute.meta) {
            routed.call.push(attribute);
        } else {
            routed.work.push(attribute);
        }
    }
    routed
}

/// The predicates of the `#[cfg]`s among the attributes.
pub(crate) fn cfgs(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
}

/// Whether the function is marked `must_use`, at least under some `cfg`.
pub(crate) fn is_must_use(attributes: &[Attribute]) -> bool {
    fn says_so(meta: &Meta) -> bool {
        let path = meta.path();
        path.is_ident("must_use")
            || (path.is_ident("cfg_attr") && conditional(meta).iter().any(says_so))
    }
    attributes.iter().any(|attribute| says_so(&attribute.meta))
}

/// A path as a user would write it, for messages.
pub(crate) fn display_path(path: &Path) -> String {
    let segments: Vec<_> = path
        .segments
        .iter()
        .map(|segment| segment.ident.to_string())
        .collect();
    segments.join("::")
}

fn speaks_of_the_call(meta: &Meta) -> bool {
    let path = meta.path();
    if path.is_ident("cfg_attr") {
        return conditional(meta).iter().all(speaks_of_the_call);
    }
    if path.segments.len() > 1 {
        return TOOLS
            .iter()
            .any(|tool| path.segments.first().is_some_and(|s| s.ident == tool));
    }
    OF_THE_CALL.iter().any(|name| path.is_ident(name))
}

// What stands behind the predicate of a `cfg_attr`; nothing if rustc is going to refuse it anyway.
fn conditional(meta: &Meta) -> Vec<Meta> {
    let Meta::List(list) = meta else {
        return Vec::new();
    };
    list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
        .map(|metas| metas.into_iter().skip(1).collect())
        .unwrap_or_default()
}
