//! Whether a function can be a background task, and the plan of one that can. Every objection is raised, not just the first.
//! Knows nothing of the code that is generated.

use crate::attrs::{self, Routed};
use crate::errors::Errors;
use crate::options::TaskOptions;
use crate::parse::{Function, is_state, is_token, peel};
use crate::validate_policies;
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
}

/// How the body is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Verbatim, as a function of its own name in a type of ours: the compiler's messages name it.
    Function,
    /// As a block: where it says `self` or `Self`, which such a function could not, and where `#[cfg]` on parameters
    /// would have to stand among the arguments of its call, where it may not.
    Block,
}

pub(crate) struct Parameter {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) pattern: Pat,
    pub(crate) ty: Type,
    /// What the caller's side calls it.
    pub(crate) name: Ident,
    pub(crate) is_token: bool,
    pub(crate) is_state: bool,
}

impl Parameter {
    /// Whether the runtime fills it in.
    pub(crate) fn is_injected(&self) -> bool {
        self.is_token || self.is_state
    }
}

const OUTLIVES: &str = "a background task outlives its caller";

pub(crate) fn task(function: Function, options: TaskOptions, errors: &mut Errors) -> Option<Plan> {
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
            FnArg::Typed(typed) => parameters.push(parameter(index, typed, errors)),
        }
    }
    for second in parameters.iter().filter(|own| own.is_token).skip(1) {
        errors.over(
            &second.ty,
            "a task receives one `ShutdownToken`; drop this one",
        );
    }

    if let Some(on_shutdown) = &options.on_shutdown
        && on_shutdown.variant == "Cancel"
        && function.signature.asyncness.is_none()
    {
        errors.at(
            on_shutdown.span,
            "a plain function cannot be dropped half-way; take a `ShutdownToken`, or write `on_shutdown = \"drain\"`",
        );
    }

    validate_policies::check(
        &function.signature,
        receiver.as_ref(),
        &parameters,
        function.mentions("Self"),
        &options.policies,
        errors,
    );

    let has_cfg = parameters
        .iter()
        .any(|own| attrs::cfgs(&own.attributes).next().is_some());
    let form = if receiver.is_some() || has_cfg || function.mentions("Self") {
        Form::Block
    } else {
        Form::Function
    };
    let attributes = attrs::route(function.attributes);
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
    let mut borrow = None;
    walk(ty, &mut |found| match found {
        Found::ImplTrait(span) => errors.at(span, "a background task must name its output type"),
        Found::Borrow(span) => borrow = borrow.or(Some(span)),
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
        Type::Reference(reference) if is_token_behind(&reference.elem) => errors.over(
            reference,
            "take the `ShutdownToken` by value: it is the task's own",
        ),
        ty => {
            if let Some(span) = first_borrow(ty) {
                let shown = match &*typed.pat {
                    Pat::Ident(ident) => format!("`{}`", ident.ident),
                    _ => "this parameter".to_owned(),
                };
                errors.at(
                    span,
                    format!(
                        "{OUTLIVES}, so {shown} must own its data: use `String`, `Arc<_>` or a `'static` reference"
                    ),
                );
            }
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

fn is_token_behind(ty: &Type) -> bool {
    match peel(ty) {
        Type::Reference(reference) => is_token_behind(&reference.elem),
        ty => is_token(ty),
    }
}

enum Found {
    /// A reference or a lifetime other than `'static`.
    Borrow(Span),
    ImplTrait(Span),
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

/// Whether an output can stand in a stub without an error of its own.
pub(crate) fn output_is_sound(output: &ReturnType) -> bool {
    let ReturnType::Type(_, ty) = output else {
        return true;
    };
    let mut sound = !matches!(peel(ty), Type::Never(_));
    walk(ty, &mut |_| sound = false);
    sound
}
