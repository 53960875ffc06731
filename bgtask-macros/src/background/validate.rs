//! The checks of a background function. They report every error, not just the first.
//! Knows nothing of the code that is generated.

use super::plan::{Form, Plan};
use crate::errors::Errors;
use crate::function::attrs::{self, is_named};
use crate::function::types::{
    Found, first_borrow, is_bare_job, is_our_job, is_state, is_token, is_token_wrapped, peel,
    unsized_type, walk,
};
use crate::function::{Declaration, Function, Parameter, display_pattern};
use crate::options::task::TaskOptions;
use crate::policies::combine;
use proc_macro2::Span;
use quote::format_ident;
use syn::{
    Attribute, FnArg, GenericParam, Generics, Pat, PatType, Receiver, ReceiverKind, ReturnType,
    Safety, Signature, Type,
};

const OUTLIVES: &str = "a background task outlives its caller";

/// Returns the plan, unless anything was wrong, here or before.
pub(super) fn task(function: Function, options: TaskOptions, errors: &mut Errors) -> Option<Plan> {
    check_name(&function.signature, errors);
    check_attributes(&function.attributes, errors);
    check_keywords(&function.signature, errors);
    check_generics(&function.signature.generics, errors);
    check_output(&function.signature.output, errors);

    let mut receiver = None;
    let mut parameters = Vec::new();
    for (index, input) in function.signature.inputs.iter().enumerate() {
        match input {
            FnArg::Receiver(found) => {
                check_receiver(found, errors);
                receiver = Some(found.clone());
            }
            FnArg::Typed(typed) => {
                let is_durable = options.policies.has_durable();
                parameters.push(parameter(index, typed, is_durable, errors));
            }
        }
    }
    let tokens = parameters.iter().filter(|parameter| parameter.is_token);
    for second in tokens.skip(1) {
        errors.over(
            &second.ty,
            "a task receives one `ShutdownToken`; drop this one",
        );
    }

    let is_blocking = function.signature.asyncness.is_none();
    options.check(is_blocking.then_some("a plain function"), errors);
    let declaration = Declaration {
        signature: &function.signature,
        receiver: receiver.as_ref(),
        parameters: &parameters,
        mentions_self: function.mentions(&|ident| ident == "Self"),
    };
    combine::check(&options.policies, Some(&declaration), errors);

    let attributes = attrs::route(function.attributes.clone());
    let form = Form::for_function(&function, &declaration, &attributes);
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
    errors.is_empty().then(|| Plan {
        has_items: function.body_mentions_items(),
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
        let segments = &attribute.path().segments;
        let is_from_bgtask = segments.len() == 1 || segments[0].ident == "bgtask";
        if is_from_bgtask && is_named(attribute, "background") {
            errors.over(
                attribute,
                "`#[background]` stands here twice; remove this one",
            );
        }
    }
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
    walk(ty, &mut |found| {
        let (span, instead) = match found {
            Found::ImplTrait(span) => (span, "write it out, or return a `Box<dyn … + Send>`"),
            Found::Infer(span) => (span, "write it instead of `_`"),
            Found::Borrow(_) => return,
        };
        errors.at(
            span,
            format!("a background task must name its output type; {instead}"),
        );
    });
    if let Some(span) = first_borrow(ty) {
        errors.at(
            span,
            format!("{OUTLIVES}, so its output must own its data: use `String`, `Arc<_>` or a `'static` reference"),
        );
    }
}

fn parameter(index: usize, typed: &PatType, is_durable: bool, errors: &mut Errors) -> Parameter {
    let name = match &*typed.pat {
        Pat::Ident(ident) if ident.subpat.is_none() => ident.ident.clone(),
        // With the macro's hygiene, so that the body cannot mention it by accident.
        _ => format_ident!("arg{}", index + 1, span = Span::mixed_site()),
    };
    match peel(&typed.ty) {
        Type::Infer(infer) => errors.over(
            infer,
            "a parameter needs a type: write `ShutdownToken` for the token",
        ),
        ty if is_token_wrapped(ty) => errors.over(
            ty,
            "every task has a `ShutdownToken` of its own: take it by value",
        ),
        ty if is_our_job(ty) && !is_durable => errors.over(
            ty,
            "only a stored call is a job: write `#[background(durable)]`, or drop this parameter",
        ),
        Type::Reference(reference)
            if is_durable && (is_our_job(&reference.elem) || is_bare_job(&reference.elem)) =>
        {
            errors.over(
                reference,
                "every attempt has a `Job` of its own: take it by value",
            );
        }
        ty => check_type(ty, &display_pattern(&typed.pat), errors),
    }
    Parameter {
        attributes: typed.attrs.clone(),
        pattern: (*typed.pat).clone(),
        ty: (*typed.ty).clone(),
        name,
        is_token: is_token(&typed.ty),
        is_state: is_state(&typed.ty),
        is_job: is_our_job(&typed.ty) || is_durable && is_bare_job(&typed.ty),
    }
}

fn check_type(ty: &Type, shown: &str, errors: &mut Errors) {
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
                format!(
                    "the type of {shown} has to be known to its callers: write it instead of `_`"
                ),
            );
        }
    });
}
