//! Types by their syntax: which ones borrow, infer or hide something, and which ones generated code can repeat.
//! Knows nothing of the errors that follow.

use crate::tokens::mentions;
use proc_macro2::{Ident, Span};
use quote::ToTokens;
use syn::{
    FnArg, GenericArgument, GenericParam, Lifetime, PathArguments, PathSegment, ReturnType,
    Signature, Type, TypeParamBound,
};

/// Returns the type without the parentheses and the invisible groups of `macro_rules!` around it.
pub(crate) fn peel(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            _ => return ty,
        }
    }
}

fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match peel(ty) {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    }
}

/// Returns whether the type is `ShutdownToken`, by the last segment of its path: macros see names, not types.
pub(crate) fn is_token(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|segment| segment.ident == "ShutdownToken")
}

/// Returns whether the type is `State<_>`, also by the last segment of its path.
pub(crate) fn is_state(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|segment| {
        segment.ident == "State"
            && matches!(&segment.arguments, PathArguments::AngleBracketed(arguments) if arguments.args.len() == 1)
    })
}

/// Returns whether the type is spelled `Job`, without a path.
pub(crate) fn is_bare_job(ty: &Type) -> bool {
    matches!(peel(ty), Type::Path(path) if path.qself.is_none() && path.path.is_ident("Job"))
}

/// Returns whether the type is spelled `bgtask::Job`. With another path, it is a type of the user's: the name is a common one.
pub(crate) fn is_our_job(ty: &Type) -> bool {
    let Type::Path(path) = peel(ty) else {
        return false;
    };
    let segments = &path.path.segments;
    path.qself.is_none()
        && segments.len() == 2
        && segments[0].ident == "bgtask"
        && segments[1].ident == "Job"
}

/// Returns whether the type is a `Result`, by the last segment of its path, and its first type, which is that of the value.
pub(crate) fn as_result(ty: &Type) -> Option<Option<&Type>> {
    let segment = last_segment(ty).filter(|segment| segment.ident == "Result")?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return Some(None);
    };
    let value = arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    Some(value)
}

/// Returns whether the type borrows or wraps a `ShutdownToken`.
pub(crate) fn is_token_wrapped(ty: &Type) -> bool {
    const WRAPPERS: [&str; 4] = ["Arc", "Box", "Option", "Rc"];
    let has_token = |ty: &Type| is_token(ty) || is_token_wrapped(ty);
    if let Type::Reference(reference) = peel(ty) {
        return has_token(&reference.elem);
    }
    last_segment(ty).is_some_and(|segment| {
        let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
            return false;
        };
        WRAPPERS.iter().any(|name| segment.ident == name)
            && arguments
                .args
                .iter()
                .any(|argument| matches!(argument, GenericArgument::Type(ty) if has_token(ty)))
    })
}

/// Returns whether the output is `()`.
pub(crate) fn is_unit(output: &ReturnType) -> bool {
    match output {
        ReturnType::Default => true,
        ReturnType::Type(_, ty) => {
            matches!(peel(ty), Type::Tuple(tuple) if tuple.elems.is_empty())
        }
    }
}

/// Returns the span of a type that no variable can hold: `str`, a slice, a trait object.
pub(crate) fn unsized_type(ty: &Type) -> Option<Span> {
    match peel(ty) {
        Type::Path(path) if path.path.is_ident("str") => Some(path.path.segments[0].ident.span()),
        Type::Slice(slice) => Some(slice.bracket_token.span.join()),
        Type::TraitObject(object) => Some(
            object
                .dyn_token
                .map_or_else(Span::call_site, |keyword| keyword.span),
        ),
        _ => None,
    }
}

/// A part of a type that a background task may not be able to have.
#[derive(Clone, Copy)]
pub(crate) enum Found {
    /// A reference or a lifetime other than `'static`.
    Borrow(Span),
    ImplTrait(Span),
    /// `_`.
    Infer(Span),
}

/// Returns the first reference or lifetime other than `'static`.
pub(crate) fn first_borrow(ty: &Type) -> Option<Span> {
    let mut first = None;
    walk(ty, &mut |found| {
        if let Found::Borrow(span) = found {
            first = first.or(Some(span));
        }
    });
    first
}

/// Calls `visit` with each such part of a type, in the order of their tokens. Skips the signatures of function types
/// and of `Fn` bounds, which borrow for each of their calls and not for the task's life.
pub(crate) fn walk(ty: &Type, visit: &mut impl FnMut(Found)) {
    match ty {
        Type::Reference(reference) => {
            match &reference.lifetime {
                Some(lifetime) => walk_lifetime(lifetime, visit),
                None => visit(Found::Borrow(reference.and_token.spans[0])),
            }
            walk(&reference.elem, visit);
        }
        Type::Path(path) => {
            if let Some(qself) = &path.qself {
                walk(&qself.ty, visit);
            }
            walk_path(&path.path, visit);
        }
        Type::Array(array) => walk(&array.elem, visit),
        Type::Group(group) => walk(&group.elem, visit),
        Type::Paren(paren) => walk(&paren.elem, visit),
        Type::Ptr(pointer) => walk(&pointer.elem, visit),
        Type::Slice(slice) => walk(&slice.elem, visit),
        Type::Tuple(tuple) => tuple.elems.iter().for_each(|elem| walk(elem, visit)),
        Type::ImplTrait(impl_trait) => {
            visit(Found::ImplTrait(impl_trait.impl_token.span));
            walk_bounds(impl_trait.bounds.iter(), visit);
        }
        Type::TraitObject(object) => walk_bounds(object.bounds.iter(), visit),
        Type::Infer(infer) => visit(Found::Infer(infer.underscore_token.spans[0])),
        _ => {}
    }
}

fn walk_bounds<'b>(
    bounds: impl Iterator<Item = &'b TypeParamBound>,
    visit: &mut impl FnMut(Found),
) {
    for bound in bounds {
        match bound {
            TypeParamBound::Lifetime(lifetime) => walk_lifetime(lifetime, visit),
            TypeParamBound::Trait(bound) if bound.lifetimes.is_none() => {
                walk_path(&bound.path, visit);
            }
            _ => {}
        }
    }
}

fn walk_path(path: &syn::Path, visit: &mut impl FnMut(Found)) {
    for segment in &path.segments {
        let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
            continue;
        };
        for argument in &arguments.args {
            match argument {
                GenericArgument::Lifetime(lifetime) => walk_lifetime(lifetime, visit),
                GenericArgument::Type(ty) => walk(ty, visit),
                GenericArgument::AssocType(assoc) => walk(&assoc.ty, visit),
                _ => {}
            }
        }
    }
}

fn walk_lifetime(lifetime: &Lifetime, visit: &mut impl FnMut(Found)) {
    if lifetime.ident != "static" {
        visit(Found::Borrow(lifetime.span()));
    }
}

/// Returns whether a stub can have the output without an error of its own.
pub(crate) fn output_is_sound(output: &ReturnType) -> bool {
    let ReturnType::Type(_, ty) = output else {
        return true;
    };
    let mut sound = !matches!(peel(ty), Type::Never(_)) && unsized_type(ty).is_none();
    walk(ty, &mut |_| sound = false);
    sound
}

/// Returns whether a stub can have a parameter of the type without an error of its own.
pub(crate) fn parameter_is_sound(ty: &Type) -> bool {
    let (mut has_impl, mut has_borrow, mut has_infer) = (false, false, false);
    walk(ty, &mut |found| match found {
        Found::ImplTrait(_) => has_impl = true,
        Found::Borrow(_) => has_borrow = true,
        Found::Infer(_) => has_infer = true,
    });
    !(has_infer || has_impl && has_borrow || unsized_type(ty).is_some())
}

/// Returns whether the type can stand anywhere, also outside of the function that it belongs to.
pub(crate) fn is_plain(ty: &Type) -> bool {
    let mut plain = unsized_type(ty).is_none();
    walk(ty, &mut |found| plain &= matches!(found, Found::Borrow(_)));
    plain
}

/// Returns whether callers choose some of the function's types or numbers.
pub(crate) fn is_generic(signature: &Signature) -> bool {
    let is_impl_trait = |ty: &Type| {
        let mut is = false;
        walk(ty, &mut |found| is |= matches!(found, Found::ImplTrait(_)));
        is
    };
    let takes_impl_trait = signature.inputs.iter().any(|input| match input {
        FnArg::Typed(typed) => is_impl_trait(&typed.ty),
        FnArg::Receiver(_) => false,
    });
    takes_impl_trait || !signature.generics.params.is_empty()
}

/// Returns whether the type mentions `Self` or the generics of the function, which no static in it can name.
pub(crate) fn mentions_generics(signature: &Signature, ty: &Type) -> bool {
    let is_own = |name: &Ident| has_generic(signature, name) || name == "Self";
    mentions(ty.to_token_stream(), &is_own)
}

/// Returns whether the function has a type or const parameter of this name.
pub(crate) fn has_generic(signature: &Signature, name: &Ident) -> bool {
    generic_names(signature).any(|generic| generic == name)
}

/// Returns the names of the type and const parameters.
pub(crate) fn generic_names(signature: &Signature) -> impl Iterator<Item = &Ident> {
    let parameters = signature.generics.params.iter();
    parameters.filter_map(|parameter| match parameter {
        GenericParam::Type(parameter) => Some(&parameter.ident),
        GenericParam::Const(parameter) => Some(&parameter.ident),
        GenericParam::Lifetime(_) => None,
    })
}
