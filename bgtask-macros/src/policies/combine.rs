//! Which policies can go together, and on which functions. Each objection says which option to drop.
//! Knows nothing of how policies are expressed in code.

use crate::errors::Errors;
use crate::function::Parameter;
use crate::policies::PolicyOptions;
use proc_macro2::{Ident, Span};
use syn::{Receiver, ReturnType, Signature};

/// Two options that exclude each other, and why.
const EXCLUDE: &[(&str, &str, &str)] = &[
    (
        "every",
        "cron",
        "a function has one schedule; drop one of them",
    ),
    (
        "every",
        "on_start",
        "drop `on_start`; for a first run at the start write `immediately`",
    ),
    (
        "cron",
        "on_start",
        "drop `on_start`; for a first run at the start write `immediately`",
    ),
    (
        "essential",
        "every",
        "a schedule goes on whatever its runs come to; drop `essential`",
    ),
    (
        "essential",
        "cron",
        "a schedule goes on whatever its runs come to; drop `essential`",
    ),
    (
        "overlap",
        "missed",
        "where runs overlap no tick is missed; drop `missed`",
    ),
];

/// An option, those of which it needs one, and what it is for.
const NEEDS: &[(&str, &[&str], &str)] = &[
    (
        "timezone",
        &["cron"],
        "it is the one the expression is read in",
    ),
    (
        "overlap",
        &["every", "cron"],
        "it is about runs of a schedule",
    ),
    (
        "missed",
        &["every", "cron"],
        "it is about ticks of a schedule",
    ),
    (
        "jitter",
        &["every", "cron"],
        "it puts off the ticks of a schedule; that of a back-off goes inside `retry(…)`",
    ),
    (
        "immediately",
        &["every", "cron"],
        "it is about the first run of a schedule, and `on_start` says so itself",
    ),
    (
        "restart",
        &["on_start"],
        "it starts again what runs from the start on; what is called is tried again by `retry`",
    ),
];

pub(crate) fn check(
    signature: &Signature,
    receiver: Option<&Receiver>,
    parameters: &[Parameter],
    mentions_self: bool,
    policies: &PolicyOptions,
    errors: &mut Errors,
) {
    check_pairs(policies, errors);
    check_retry(signature, policies, errors);
    if policies.is_scheduled() {
        check_scheduled(
            signature,
            receiver,
            parameters,
            mentions_self,
            policies,
            errors,
        );
    }
}

/// Checks which options exclude or need each other, on functions and blocks alike.
pub(crate) fn check_pairs(policies: &PolicyOptions, errors: &mut Errors) {
    let key = |name: &str| policies.keys.iter().find(|key| *key == name);
    for (one, other, why) in EXCLUDE {
        if let (Some(one), Some(other)) = (key(one), key(other)) {
            let later = later(&policies.keys, one, other);
            errors.at(
                later.span(),
                format!("`{one}` and `{other}` exclude each other: {why}"),
            );
        }
    }
    for (option, needed, what) in NEEDS {
        if let Some(own) = key(option)
            && !needed.iter().any(|needed| key(needed).is_some())
        {
            let needed: Vec<_> = needed.iter().map(|needed| format!("`{needed}`")).collect();
            let needed = needed.join(" or ");
            errors.at(own.span(), format!("`{option}` goes with {needed}: {what}"));
        }
    }
    if let (Some(coalesce), Some(concurrency)) = (&policies.coalesce, key("concurrency"))
        && coalesce.key.is_none()
    {
        errors.at(
            concurrency.span(),
            "with `coalesce` over all calls one runs at a time, so `concurrency` limits nothing: drop it, or give `coalesce` \
             a `key`",
        );
    }
}

fn check_retry(signature: &Signature, policies: &PolicyOptions, errors: &mut Errors) {
    let Some(retry) = &policies.retry else {
        return;
    };
    let at = policies
        .keys
        .iter()
        .find(|key| *key == "retry")
        .map_or_else(Span::call_site, Ident::span);
    let returns_nothing = match &signature.output {
        ReturnType::Default => true,
        ReturnType::Type(_, ty) => {
            matches!(crate::function::peel(ty), syn::Type::Tuple(tuple) if tuple.elems.is_empty())
        }
    };
    if returns_nothing && !retry.panics && policies.timeout.is_none() {
        errors.at(
            at,
            "a function that returns nothing cannot fail, so there is nothing to retry: return a `Result`, or add `panics` or \
             a `timeout`",
        );
    }
}

fn check_scheduled(
    signature: &Signature,
    receiver: Option<&Receiver>,
    parameters: &[Parameter],
    mentions_self: bool,
    policies: &PolicyOptions,
    errors: &mut Errors,
) {
    let runs = if let Some((_, literal, _)) = &policies.every {
        format!("a task that runs `every` {:?}", literal.value())
    } else if policies.cron.is_some() {
        "a task that runs by `cron`".to_owned()
    } else {
        "a task that runs `on_start`".to_owned()
    };
    let takes = "it may take a `ShutdownToken` and `State<_>` only";
    if let Some(receiver) = receiver {
        errors.over(
            receiver,
            format!("{runs} has no caller to give it `self`: {takes}"),
        );
    }
    for parameter in parameters.iter().filter(|own| !own.is_injected()) {
        let shown = match &parameter.pattern {
            syn::Pat::Ident(ident) => format!("`{}`", ident.ident),
            _ => "this parameter".to_owned(),
        };
        errors.over(
            &parameter.pattern,
            format!("{runs} has no caller to give it {shown}: {takes}"),
        );
    }
    if !signature.generics.params.is_empty() {
        errors.over(
            &signature.generics.params,
            format!("{runs} has no caller to choose its types: remove the generics"),
        );
    }
    if mentions_self && receiver.is_none() {
        errors.over(
            &signature.ident,
            format!("{runs} is started from outside of its `impl`, where there is no `Self`: write the type's name"),
        );
    }
}

fn later<'k>(keys: &'k [Ident], one: &'k Ident, other: &'k Ident) -> &'k Ident {
    keys.iter()
        .rfind(|key| *key == one || *key == other)
        .unwrap_or(other)
}
