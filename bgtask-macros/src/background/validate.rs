//! Whether a function can be a background task, and the plan of one that can. Every objection is raised, not just the first.
//! Knows nothing of the code that is generated.

use crate::errors::Errors;
use crate::function::attrs::{self, Routed};
use crate::function::{Function, Parameter, is_state, is_token, is_token_wrapped, peel};
use crate::options::{TaskOptions, WarnAfter};
use crate::policies::combine;
use proc_macro2::{Group, Span};
use quote::format_ident;
use syn::{
    Attribute, FnArg, GenericArgument, GenericParam, Generics, Ident, Lifetime, Pat, PatType,
    PathArguments, Receiver, ReceiverKind, ReturnType, Safety, Signature, Type, TypeParamBound,
    Visibility,
};

/// A background task to be.
pub(crate) struct Plan {
    pub(crate) attributes: Routed,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: Group,
    pub(crate) receiver: Option<Receiver>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) options: TaskOptions,
    pub(crate) form: Form,
    /// Whether there may be items in the body.
    pub(crate) has_items: bool,
}

impl Plan {
    pub(crate) fn takes_token(&self) -> bool {
        self.parameters.iter().any(|parameter| parameter.is_token)
    }
}

/// How the body is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Verbatim, as a function of its own name in a type of ours: the compiler's messages name it.
    Function,
    /// Verbatim, as a hidden method beside the one that is called: for a body that says `self` or `Self`, if the user's
    /// attributes need a function to stand on.
    Method,
    /// As a block: where it says `self` or `Self`, which such a function could not, and where `#[cfg]` on parameters
    /// would have to stand among the arguments of its call, where it may not.
    Block,
}

const OUTLIVES: &str = "a background task outlives its caller";

/// The plan, unless anything at all was wrong, here or before.
pub(crate) fn task(function: Function, options: TaskOptions, errors: &mut Errors) -> Option<Plan> {
    check_name(&function.signature, errors);
    check_attributes(&function.attributes, errors);
    check_keywords(&function.signature, errors);
    check_generics(&function.signature.generics, errors);
    check_output(&function.signature.output, errors);

    let mut receiver = None;
    let mut parameters = Vec::new();
    for (index, input) in function.signature.inputs.iter().enumerate() {
        match input {
            FnArg::Receiver(own) => {
                check_receiver(own, errors);
                receiver = Some(own.clone());
            }
            FnArg::Typed(typed) => {
                parameters.push(parameter(index, typed, errors));
            }
        }
    }
    for second in parameters.iter().filter(|own| own.is_token).skip(1) {
        errors.over(
            &second.ty,
            "a task receives one `ShutdownToken`; drop this one",
        );
    }

    let cannot_be_dropped = function.signature.asyncness.is_none();
    check_options(
        &options,
        cannot_be_dropped.then_some("a plain function"),
        errors,
    );

    let mentions_self = function.mentions(&|ident| ident == "Self");
    combine::check(
        &function.signature,
        receiver.as_ref(),
        &parameters,
        mentions_self,
        &options.policies,
        errors,
    );

    let has_cfg = parameters
        .iter()
        .any(|own| attrs::cfgs(&own.attributes).next().is_some());
    let has_items = function.body_mentions_items();
    let of_the_impl = |ident: &Ident| looks_generic(ident) && !is_own(&function.signature, ident);
    let attributes = attrs::route(function.attributes.clone());
    // A `Self` that occurs only in the body may belong to an item inside it.
    let is_method = receiver.is_some() || (mentions_self && !has_items);
    let form = if is_method && !has_cfg && !attributes.work.is_empty() {
        Form::Method
    } else if receiver.is_some()
        || has_cfg
        || mentions_self
        || (attributes.work.is_empty() && function.mentions(&of_the_impl))
    {
        Form::Block
    } else {
        Form::Function
    };
    if form == Form::Block {
        for attribute in &attributes.work {
            let path = attrs::display_path(attribute.path());
            errors.over(
                attribute,
                format!(
                    "`#[{path}]` has no function of its own to stand on here; move the body into a helper that carries \
                     it, and call that"
                ),
            );
        }
    }
    errors.is_empty().then_some(Plan {
        attributes,
        visibility: function.visibility,
        signature: function.signature,
        body: function.body,
        receiver,
        parameters,
        options,
        form,
        has_items,
    })
}

/// Checks the options that have the same rules on functions and blocks. `blocking` names work that cannot be dropped half-way.
pub(crate) fn check_options(options: &TaskOptions, blocking: Option<&str>, errors: &mut Errors) {
    if let (Some(on_shutdown), Some(blocking)) = (&options.on_shutdown, blocking)
        && on_shutdown.variant == "Cancel"
    {
        errors.at(
            on_shutdown.span,
            format!(
                "{blocking} cannot be dropped half-way; take a `ShutdownToken`, or write `on_shutdown = \"drain\"`"
            ),
        );
    }
    if let Some(log) = &options.log
        && log.variant == "Off"
        && let Some(WarnAfter {
            limit: Some(_),
            span,
        }) = &options.warn_after
    {
        errors.at(
            *span,
            "`log = \"off\"` and `warn_after` exclude each other: nothing is logged of such a function; drop one of them",
        );
    }
}

fn check_name(signature: &Signature, errors: &mut Errors) {
    if signature.ident == "main" && signature.receiver().is_none() {
        errors.over(
            &signature.ident,
            "`main` is the program, not one of its background tasks: write `#[bgtask::main]`, or give it another name",
        );
    }
}

fn check_attributes(attributes: &[Attribute], errors: &mut Errors) {
    for attribute in attributes {
        let path = attribute.path();
        let of_ours = path.segments.len() == 1 || path.segments[0].ident == "bgtask";
        if of_ours
            && path
                .segments
                .last()
                .is_some_and(|last| last.ident == "background")
        {
            errors.over(
                attribute,
                "`#[background]` stands here twice; remove this one",
            );
        }
    }
}

/// Whether it is called like a type parameter. One that is not the function's own belongs to the `impl` around it, which
/// an attribute on the function does not see; if it is a type after all, only some messages are other ones.
fn looks_generic(ident: &Ident) -> bool {
    let name = ident.to_string();
    let mut characters = name.chars();
    characters
        .next()
        .is_some_and(|first| first.is_ascii_uppercase())
        && characters.all(|rest| rest.is_ascii_digit())
}

fn is_own(signature: &Signature, ident: &Ident) -> bool {
    signature
        .generics
        .params
        .iter()
        .any(|parameter| match parameter {
            GenericParam::Type(own) => own.ident == *ident,
            GenericParam::Const(own) => own.ident == *ident,
            GenericParam::Lifetime(_) => false,
        })
}

fn check_keywords(signature: &Signature, errors: &mut Errors) {
    if let Safety::Unsafe(keyword) = &signature.safety {
        errors.over(
            keyword,
            "the runtime calls this task, so it cannot be `unsafe`; move `unsafe { }` into the body",
        );
    }
    if let Some(keyword) = &signature.constness {
        errors.over(
            keyword,
            "a background task cannot be `const`: it runs on the runtime; remove `const`",
        );
    }
    if let Some(abi) = &signature.abi {
        errors.over(
            abi,
            "a background task cannot be `extern`: only the runtime calls it; remove the ABI",
        );
    }
    if let Some(variadic) = &signature.variadic {
        errors.over(
            variadic,
            "a background task cannot be variadic; take a `Vec<_>`",
        );
    }
}

fn check_generics(generics: &Generics, errors: &mut Errors) {
    for parameter in &generics.params {
        if let GenericParam::Lifetime(lifetime) = parameter {
            errors.over(
                &lifetime.lifetime,
                format!(
                    "{OUTLIVES}, so it cannot borrow for `{}`; remove the lifetime parameter",
                    lifetime.lifetime
                ),
            );
        }
    }
}

fn check_receiver(receiver: &Receiver, errors: &mut Errors) {
    let borrows = match &receiver.kind {
        ReceiverKind::Reference(..) => true,
        ReceiverKind::Typed(_, ty) => first_borrow(ty).is_some(),
        _ => false,
    };
    if borrows {
        errors.over(receiver, format!("{OUTLIVES}; take `self: Arc<Self>`"));
    }
}

fn check_output(output: &ReturnType, errors: &mut Errors) {
    let ReturnType::Type(_, ty) = output else {
        return;
    };
    if let Type::Never(never) = peel(ty) {
        errors.over(
            never,
            "a background task must be able to end: return `()` after `token.cancelled().await`",
        );
    }
    if let Some(span) = unsized_type(ty) {
        errors.at(
            span,
            "the output of a background task must have a size: use `String`, `Vec<_>` or `Box<_>`",
        );
    }
    let mut borrow = None;
    walk(ty, &mut |found| {
        let instead = match found {
            Found::ImplTrait(_) => "write it out, or return a `Box<dyn … + Send>`",
            Found::Infer(_) => "write it in place of `_`",
            Found::Borrow(span) => {
                borrow = borrow.or(Some(span));
                return;
            }
        };
        let (Found::ImplTrait(span) | Found::Infer(span) | Found::Borrow(span)) = found;
        errors.at(
            span,
            format!("a background task must name its output type; {instead}"),
        );
    });
    if let Some(span) = borrow {
        errors.at(
            span,
            format!("{OUTLIVES}, so its output must own its data: use `String`, `Arc<_>` or a `'static` reference"),
        );
    }
}

fn parameter(index: usize, typed: &PatType, errors: &mut Errors) -> Parameter {
    let name = match &*typed.pat {
        Pat::Ident(ident) if ident.subpat.is_none() => ident.ident.clone(),
        // Of the macro's own hygiene, so that the body cannot meet it by accident.
        _ => format_ident!("arg{}", index + 1, span = Span::mixed_site()),
    };
    let is_token = is_token(&typed.ty);
    match peel(&typed.ty) {
        Type::Infer(infer) => errors.over(
            infer,
            "a parameter needs a type: write `ShutdownToken` for the token",
        ),
        ty if is_token_wrapped(ty) => errors.over(
            ty,
            "every task has a `ShutdownToken` of its own: take it by value",
        ),
        ty => {
            let shown = match &*typed.pat {
                Pat::Ident(ident) => format!("`{}`", ident.ident),
                _ => "this parameter".to_owned(),
            };
            if let Some(span) = first_borrow(ty) {
                errors.at(
                    span,
                    format!(
                        "{OUTLIVES}, so {shown} must own its data: use `String`, `Arc<_>` or a `'static` reference"
                    ),
                );
            } else if let Some(span) = unsized_type(ty) {
                errors.at(
                    span,
                    format!("{shown} must have a size: use `String`, `Vec<_>` or `Box<_>`"),
                );
            }
            walk(ty, &mut |found| {
                if let Found::Infer(span) = found {
                    errors.at(
                        span,
                        format!("the type of {shown} has to be known to its callers: write it in place of `_`"),
                    );
                }
            });
        }
    }
    Parameter {
        attributes: typed.attrs.clone(),
        pattern: (*typed.pat).clone(),
        ty: (*typed.ty).clone(),
        name,
        is_token,
        is_state: is_state(&typed.ty),
    }
}

/// Where it says what no variable can hold: `str`, a slice, a trait object.
fn unsized_type(ty: &Type) -> Option<Span> {
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

#[derive(Clone, Copy)]
enum Found {
    /// A reference or a lifetime other than `'static`.
    Borrow(Span),
    ImplTrait(Span),
    /// `_`.
    Infer(Span),
}

fn first_borrow(ty: &Type) -> Option<Span> {
    let mut first = None;
    walk(ty, &mut |found| {
        if let Found::Borrow(span) = found {
            first = first.or(Some(span));
        }
    });
    first
}

/// Shows `visit` what stands in a type, in the order it is written, except what stands in the signature of a function
/// type or of an `Fn` bound: those borrow for each of their calls, not for the task's life.
fn walk(ty: &Type, visit: &mut impl FnMut(Found)) {
    match ty {
        Type::Reference(reference) => {
            match &reference.lifetime {
                Some(lifetime) => walk_lifetime(lifetime, visit),
                None => visit(Found::Borrow(reference.and_token.spans[0])),
            }
            walk(&reference.elem, visit);
        }
        Type::Path(path) => {
            if let Some(of) = &path.qself {
                walk(&of.ty, visit);
            }
            walk_path(&path.path, visit);
        }
        Type::Array(array) => walk(&array.elem, visit),
        Type::Group(group) => walk(&group.elem, visit),
        Type::Paren(paren) => walk(&paren.elem, visit),
        Type::Ptr(pointer) => walk(&pointer.elem, visit),
        Type::Slice(slice) => walk(&slice.elem, visit),
        Type::Tuple(tuple) => tuple.elems.iter().for_each(|own| walk(own, visit)),
        Type::ImplTrait(own) => {
            visit(Found::ImplTrait(own.impl_token.span));
            walk_bounds(own.bounds.iter(), visit);
        }
        Type::TraitObject(own) => walk_bounds(own.bounds.iter(), visit),
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
                GenericArgument::AssocType(own) => walk(&own.ty, visit),
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

fn has_impl_trait(ty: &Type) -> bool {
    let mut has = false;
    walk(ty, &mut |found| has |= matches!(found, Found::ImplTrait(_)));
    has
}

/// Whether an output can stand in a stub without an error of its own.
pub(crate) fn output_is_sound(output: &ReturnType) -> bool {
    let ReturnType::Type(_, ty) = output else {
        return true;
    };
    let mut sound = !matches!(peel(ty), Type::Never(_)) && unsized_type(ty).is_none();
    walk(ty, &mut |_| sound = false);
    sound
}

/// Whether the type of a parameter can stand in a stub, without an error of its own.
pub(crate) fn may_stand_in_a_signature(ty: &Type) -> bool {
    let (mut has_impl, mut has_borrow, mut has_infer) = (false, false, false);
    walk(ty, &mut |found| match found {
        Found::ImplTrait(_) => has_impl = true,
        Found::Borrow(_) => has_borrow = true,
        Found::Infer(_) => has_infer = true,
    });
    !(has_infer || has_impl && has_borrow || unsized_type(ty).is_some())
}

/// Whether the type can stand anywhere, also where there is no function that it belongs to.
pub(crate) fn is_plain(ty: &Type) -> bool {
    let mut plain = unsized_type(ty).is_none();
    walk(ty, &mut |found| plain &= matches!(found, Found::Borrow(_)));
    plain
}

/// Whether the function itself has types or numbers that its callers choose.
pub(crate) fn is_generic(signature: &Signature) -> bool {
    let takes_impl_trait = signature.inputs.iter().any(|input| match input {
        FnArg::Typed(typed) => has_impl_trait(&typed.ty),
        FnArg::Receiver(_) => false,
    });
    takes_impl_trait || !signature.generics.params.is_empty()
}
