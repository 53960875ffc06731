//! The part of the expansion that only functions with policies have: the static that holds them, the keys, the attempts.
//! Knows the names in `__private` and nothing of what they do.

use crate::options::Choice;
use crate::policy_options::{Backoff, PolicyOptions};
use crate::validate::Plan;
use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use std::time::Duration;
use syn::spanned::Spanned;
use syn::{Expr, GenericParam, Pat};

/// Whether the function's calls go through the policies.
pub(crate) fn applies(plan: &Plan) -> bool {
    plan.options.policies.is_any() || plan.parameters.iter().any(|own| own.is_state)
}

// Output:
//     static __BGTASK_POLICIES: Policies = Policies { timeout: …, ..Policies::NONE };
pub(crate) fn statics(plan: &Plan, private: &TokenStream) -> TokenStream {
    if !applies(plan) {
        return TokenStream::new();
    }
    let at_name = plan.signature.ident.span();
    let policies = &plan.options.policies;
    let mut fields = Vec::new();
    if let Some(coalesce) = &policies.coalesce {
        let variant = format_ident!("{}", coalesce.variant());
        fields.push(quote!(coalesce: some(#private::Coalesce::#variant)));
    }
    if let Some(rate) = &policies.rate {
        let (limit, per) = (rate.limit, duration(rate.per));
        let refuses = rate
            .overflow
            .as_ref()
            .is_some_and(|own| own.variant == "Refuse");
        fields.push(
            quote!(rate: some(#private::Rate { limit: #limit, per: #per, refuses: #refuses })),
        );
    }
    if let Some(concurrency) = &policies.concurrency {
        let max = concurrency.max;
        let queue = optional(concurrency.queue.map(|queue| quote!(#queue)));
        let overflow = variant(concurrency.overflow.as_ref(), "Refuse");
        fields.push(quote!(concurrency: some(#private::Concurrency {
            max: #max,
            queue: #queue,
            overflow: #private::Overflow::#overflow,
        })));
    }
    if let Some(retry) = &policies.retry {
        let (max, panics) = (retry.max, retry.panics);
        let backoff = backoff(&retry.backoff, private);
        fields.push(
            quote!(retry: some(#private::Retry { max: #max, backoff: #backoff, panics: #panics })),
        );
    }
    if let Some(timeout) = policies.timeout {
        let timeout = duration(timeout);
        fields.push(quote!(timeout: some(#timeout)));
    }
    if policies.essential {
        fields.push(quote!(essential: true));
    }
    if policies.is_scheduled() {
        let schedule = schedule(policies, private, at_name);
        fields.push(quote!(schedule: some(#schedule)));
    }
    let states: Vec<_> = plan
        .parameters
        .iter()
        .filter(|own| own.is_state && !mentions_generics(plan, &own.ty))
        .map(|own| {
            let ty = &own.ty;
            quote_spanned!(ty.span()=> #private::StateSpec::of::<#ty>())
        })
        .collect();
    if !states.is_empty() {
        fields.push(quote!(states: &[#(#states),*]));
    }
    quote_spanned! {at_name=>
        static __BGTASK_POLICIES: #private::Policies = {
            #[allow(unused_imports)]
            use ::core::option::Option::{None as none, Some as some};
            // Not all fields may be set, or all.
            #[allow(clippy::needless_update)]
            #private::Policies {
                #(#fields,)*
                ..#private::Policies::NONE
            }
        };
    }
}

/// The value of the handler's `policies` field.
pub(crate) fn field(plan: &Plan) -> TokenStream {
    optional(applies(plan).then(|| quote!(&__BGTASK_POLICIES)))
}

// Output, for a function that somebody calls:
//     let state = match injected::<State<Pool>, T>(&__BGTASK_HANDLER) { Ok(state) => state, Err(handle) => return handle };
//     let call = begin_with(&__BGTASK_HANDLER, Keys::default().coalesce(key(…)), Origin::Call);
//     let token = call.token();
//     launch_with::<T>(call, Attempts::once(__BgtaskWork::name(token, key, state)), …)
//
// and for one that a schedule starts, the same in a function of its own that the static can name.
pub(crate) fn body(
    plan: &Plan,
    private: &TokenStream,
    output: &TokenStream,
    token: &Ident,
    work: &TokenStream,
) -> TokenStream {
    let at_name = plan.signature.ident.span();
    let local = |name: &str| Ident::new(name, Span::mixed_site());
    let (call, state) = (local("call"), local("state"));
    let (refused, origin) = (local("refused"), local("origin"));
    let policies = &plan.options.policies;

    let injected = plan
        .parameters
        .iter()
        .filter(|own| own.is_state)
        .map(|own| {
            let (name, ty) = (&own.name, &own.ty);
            let injected = quote_spanned!(ty.span()=> #private::injected::<#ty, #output>);
            quote_spanned! {at_name=>
                let #name = match #injected(&__BGTASK_HANDLER) {
                    ::core::result::Result::Ok(#state) => #state,
                    ::core::result::Result::Err(#refused) => return #refused,
                };
            }
        });
    let keys = keys(plan, private, output);
    let attempts = attempts(plan, private, output, token, work);
    let when = match policies
        .retry
        .as_ref()
        .and_then(|retry| retry.when.as_ref())
    {
        Some(when) => {
            let private = plan.options.krate.private(when.span());
            quote_spanned!(when.span()=> #private::retry_when::<#output, _>(#when))
        }
        None => quote!(#private::RetryWhen::ALWAYS),
    };
    let share = match &policies.coalesce {
        Some(coalesce) if coalesce.shares() => {
            let at_output = output.span();
            quote_spanned! {at_output=> {
                use #private::share::*;
                (&&Probe::<#output>::NEW).share()
            }}
        }
        _ => quote!(#private::Share::NEVER),
    };
    let take_token = plan.parameters.iter().any(|own| own.is_token) && once_async(plan);
    let take_token = take_token.then(|| quote_spanned!(at_name=> let #token = #call.token();));
    let is_scheduled = policies.is_scheduled();
    let from = match is_scheduled {
        true => origin.to_token_stream(),
        false => quote!(#private::Origin::Call),
    };
    let body = quote_spanned! {at_name=>
        #(#injected)*
        let #call = #private::begin_with(&__BGTASK_HANDLER, #keys, #from);
        #take_token
        #private::launch_with::<#output>(#call, #attempts, #when, #share, {
            use #private::classify::*;
            (&&&&&Probe::<#output>::NEW).classify()
        })
    };
    if !is_scheduled {
        return body;
    }
    quote_spanned! {at_name=>
        #[track_caller]
        fn __bgtask_start(#origin: #private::Origin) -> #private::TaskHandle<#output> {
            #body
        }
        __bgtask_start(#private::Origin::Call)
    }
}

fn once_async(plan: &Plan) -> bool {
    plan.options.policies.retry.is_none() && plan.signature.asyncness.is_some()
}

// Output:
//     Attempts::<T>::once(future)            Attempts::<T>::again(move |token| { let key = cloned(&key); future })
//     Attempts::<T>::once_blocking(move |token| work)      Attempts::<T>::again_blocking(move |token| { …; work })
fn attempts(
    plan: &Plan,
    private: &TokenStream,
    output: &TokenStream,
    token: &Ident,
    work: &TokenStream,
) -> TokenStream {
    let at_name = plan.signature.ident.span();
    let takes_token = plan.parameters.iter().any(|own| own.is_token);
    let given = match takes_token {
        true => token.to_token_stream(),
        false => quote!(_),
    };
    let is_async = plan.signature.asyncness.is_some();
    if plan.options.policies.retry.is_none() {
        return match is_async {
            true => quote_spanned!(at_name=> #private::Attempts::<#output>::once(#work)),
            false => {
                quote_spanned!(at_name=> #private::Attempts::<#output>::once_blocking(move |#given| #work))
            }
        };
    }
    let again = match is_async {
        true => quote_spanned!(at_name=> again),
        false => quote_spanned!(at_name=> again_blocking),
    };
    let copies = plan
        .parameters
        .iter()
        .filter(|own| !own.is_token)
        .map(|own| {
            let name = &own.name;
            let cfgs = crate::attrs::cfgs(&own.attributes);
            // At the parameter's type: what is missing is said there.
            let cloned = match mentions_generics(plan, &own.ty) {
                false => quote_spanned!(own.ty.span()=> #private::cloned(&#name)),
                // Then the compiler's own message says best which bound to add.
                true => quote_spanned!(own.ty.span()=> ::core::clone::Clone::clone(&#name)),
            };
            quote_spanned!(at_name=> #(#cfgs)* let #name = #cloned;)
        });
    quote_spanned! {at_name=>
        #private::Attempts::<#output>::#again(move |#given| {
            #(#copies)*
            #work
        })
    }
}

// Output:  Keys::default().coalesce({ let key = &key; key(&(expression)) })
fn keys(plan: &Plan, private: &TokenStream, output: &TokenStream) -> TokenStream {
    let policies = &plan.options.policies;
    let coalesce = policies.coalesce.as_ref().and_then(|own| own.key.as_ref());
    let rate = policies.rate.as_ref().and_then(|own| own.key.as_ref());
    let concurrency = policies
        .concurrency
        .as_ref()
        .and_then(|own| own.key.as_ref());
    let mut keys = quote!(#private::Keys::default());
    for (policy, key) in [
        ("coalesce", coalesce),
        ("rate", rate),
        ("concurrency", concurrency),
    ] {
        if let Some(key) = key {
            let policy = format_ident!("{policy}");
            let key = key_of(plan, private, key);
            keys = quote!(#keys.#policy(#key));
        }
    }
    // Instances of a generic function are functions of their own, whose calls cannot share an outcome.
    let types: Vec<_> = plan
        .signature
        .generics
        .params
        .iter()
        .filter_map(|parameter| match parameter {
            GenericParam::Type(own) => Some(&own.ident),
            _ => None,
        })
        .collect();
    if policies.coalesce.is_some() && !types.is_empty() {
        keys = quote!(#keys.of_instance(::core::any::type_name::<(#output, #(#types),*)>()));
    }
    keys
}

/// The key's expression, which sees the parameters by reference.
fn key_of(plan: &Plan, private: &TokenStream, key: &Expr) -> TokenStream {
    let seen = plan
        .parameters
        .iter()
        .filter(|own| !own.is_injected())
        .map(|own| {
            let name = &own.name;
            let cfgs = crate::attrs::cfgs(&own.attributes);
            let pattern = match &own.pattern {
                Pat::Ident(ident) if ident.subpat.is_none() => name.to_token_stream(),
                pattern => without_modifiers(pattern.to_token_stream()),
            };
            quote!(#(#cfgs)* let #pattern = &#name;)
        });
    let key = quote_spanned!(key.span()=> #private::key(&(#key)));
    quote! {{
        #[allow(unused_variables, unused_parens, clippy::needless_borrow, clippy::needless_borrows_for_generic_args)]
        let key = {
            #(#seen)*
            #key
        };
        key
    }}
}

/// The pattern as it stands over a reference: there it binds by reference as it is, and may not say so.
fn without_modifiers(pattern: TokenStream) -> TokenStream {
    let tokens = pattern.into_iter().filter_map(|token| match token {
        TokenTree::Ident(ident) if ident == "mut" || ident == "ref" => None,
        TokenTree::Group(group) => {
            let mut inner = Group::new(group.delimiter(), without_modifiers(group.stream()));
            inner.set_span(group.span());
            Some(TokenTree::Group(inner))
        }
        token => Some(token),
    });
    tokens.collect()
}

fn schedule(policies: &PolicyOptions, private: &TokenStream, at_name: Span) -> TokenStream {
    let trigger = if let Some((_, _, period)) = &policies.every {
        let period = duration(*period);
        quote!(#private::Trigger::Every(#period))
    } else if let Some((_, expression)) = &policies.cron {
        let timezone = match &policies.timezone {
            Some((literal, path)) => {
                // The compiler knows the zones: a wrong one is an error at the literal.
                let path = path.iter().map(|part| Ident::new(part, literal.span()));
                quote_spanned!(literal.span()=> #private::timezones::#(#path)::*)
            }
            None => quote!(#private::timezones::UTC),
        };
        quote!(#private::Trigger::Cron { expression: #expression, timezone: #timezone })
    } else {
        quote!(#private::Trigger::OnStart)
    };
    let (overlap, immediately) = (policies.overlap, policies.immediately);
    let missed = variant(policies.missed.as_ref(), "Once");
    let jitter = duration(policies.jitter.unwrap_or_default());
    let restart = optional(policies.restart.as_ref().map(|restart| {
        let (max, window) = (restart.max, duration(restart.window));
        let backoff = backoff(&restart.backoff, private);
        let always = restart
            .when
            .as_ref()
            .is_some_and(|when| when.variant == "Always");
        quote!(#private::Restart { max: #max, window: #window, backoff: #backoff, always: #always })
    }));
    quote_spanned! {at_name=>
        #private::Schedule {
            trigger: #trigger,
            overlap: #overlap,
            missed: #private::Missed::#missed,
            jitter: #jitter,
            immediately: #immediately,
            restart: #restart,
            start: |origin| ::core::mem::drop(__bgtask_start(origin)),
        }
    }
}

fn backoff(backoff: &Backoff, private: &TokenStream) -> TokenStream {
    let Backoff {
        shape,
        base,
        cap,
        jitter,
        ..
    } = backoff;
    let shape = format_ident!("{shape}");
    let (base, cap) = (duration(*base), duration(*cap));
    quote! {
        #private::Backoff {
            shape: #private::Shape::#shape,
            base: #base,
            cap: #cap,
            jitter: #jitter,
        }
    }
}

fn duration(duration: Duration) -> TokenStream {
    let (seconds, nanoseconds) = (duration.as_secs(), duration.subsec_nanos());
    quote!(::core::time::Duration::new(#seconds, #nanoseconds))
}

fn variant(choice: Option<&Choice>, default: &str) -> Ident {
    let variant = choice.map_or(default, |choice| choice.variant);
    format_ident!("{variant}")
}

fn optional(value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}

/// Whether a static could not name the type: it knows neither the generics of the function around it nor `Self`.
fn mentions_generics(plan: &Plan, ty: &syn::Type) -> bool {
    fn mentions(tokens: TokenStream, names: &[String]) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(ident) => names.iter().any(|name| ident == name),
            TokenTree::Group(group) => mentions(group.stream(), names),
            _ => false,
        })
    }
    let generics = plan.signature.generics.params.iter();
    let mut names: Vec<_> = generics
        .filter_map(|parameter| match parameter {
            GenericParam::Type(own) => Some(own.ident.to_string()),
            GenericParam::Const(own) => Some(own.ident.to_string()),
            GenericParam::Lifetime(_) => None,
        })
        .collect();
    names.push("Self".to_owned());
    mentions(ty.to_token_stream(), &names)
}
