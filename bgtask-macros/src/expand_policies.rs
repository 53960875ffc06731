//! The part of the expansion that only functions with policies have: the static that holds them, the keys, the attempts.
//! Knows the names in `__private` and nothing of what they do.

use crate::parse::{Parameter, first_span};
use crate::policy_options::{Backoff, PolicyOptions};
use crate::validate::{Form, Plan, is_generic};
use crate::values::{duration, optional, variant};
use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Expr, GenericParam, Pat, ReceiverKind};

/// Returns whether the function's calls go through the policies.
pub(crate) fn applies(plan: &Plan) -> bool {
    plan.options.policies.is_any()
}

/// Returns whether the function has a static of policies: it lists the states, too.
fn is_declared(plan: &Plan) -> bool {
    applies(plan) || takes_state(plan)
}

pub(crate) fn takes_state(plan: &Plan) -> bool {
    plan.parameters.iter().any(|parameter| parameter.is_state)
}

// Output:
//     static __BGTASK_POLICIES: Policies = Policies { timeout: …, ..Policies::NONE };
pub(crate) fn statics(plan: &Plan, private: &TokenStream) -> TokenStream {
    if !is_declared(plan) {
        return TokenStream::new();
    }
    let at_name = plan.signature.ident.span();
    let policies = &plan.options.policies;
    let mut fields = fields_of_a_call(policies, private);
    if policies.is_scheduled() {
        let schedule = schedule(policies, private, at_name);
        fields.push(quote!(schedule: ::core::option::Option::Some(#schedule)));
    }
    let states: Vec<_> = plan
        .parameters
        .iter()
        .filter(|own| own.is_state && !mentions_generics(plan, &own.ty.to_token_stream()))
        .map(|own| {
            let ty = &own.ty;
            let at_type = first_span(&ty.to_token_stream());
            let private = plan.options.krate.private(at_type);
            let cfgs = crate::attrs::cfgs(&own.attributes);
            quote_spanned!(at_type=> #(#cfgs)* #private::StateSpec::of::<#ty>())
        })
        .collect();
    if !states.is_empty() {
        fields.push(quote!(states: &[#(#states),*]));
    }
    policies_static(&fields, private, at_name)
}

/// Returns the static that holds the policies.
pub(crate) fn policies_static(
    fields: &[TokenStream],
    private: &TokenStream,
    at: Span,
) -> TokenStream {
    quote_spanned! {at=>
        static __BGTASK_POLICIES: #private::Policies = #private::Policies {
            #(#fields,)*
            ..#private::Policies::NONE
        };
    }
}

/// Returns those fields of the policies' static that apply to a call, each as `name: value`.
pub(crate) fn fields_of_a_call(
    policies: &PolicyOptions,
    private: &TokenStream,
) -> Vec<TokenStream> {
    let mut fields = Vec::new();
    if let Some(coalesce) = &policies.coalesce {
        let variant = format_ident!("{}", coalesce.variant());
        fields.push(quote!(coalesce: ::core::option::Option::Some(#private::Coalesce::#variant)));
    }
    if let Some(rate) = &policies.rate {
        let (limit, per) = (rate.limit, duration(rate.per));
        let refuses = rate
            .overflow
            .as_ref()
            .is_some_and(|own| own.variant == "Refuse");
        fields.push(
            quote!(rate: ::core::option::Option::Some(#private::Rate { limit: #limit, per: #per, refuses: #refuses })),
        );
    }
    if let Some(concurrency) = &policies.concurrency {
        let max = concurrency.max;
        let queue = optional(concurrency.queue.map(|queue| quote!(#queue)));
        let overflow = variant(concurrency.overflow.as_ref(), "Refuse");
        fields.push(
            quote!(concurrency: ::core::option::Option::Some(#private::Concurrency {
                max: #max,
                queue: #queue,
                overflow: #private::Overflow::#overflow,
            })),
        );
    }
    if let Some(retry) = &policies.retry {
        let (max, panics, last_attempt) = (retry.max, retry.panics, retry.last_attempt);
        let backoff = backoff(&retry.backoff, private);
        fields.push(quote!(retry: ::core::option::Option::Some(#private::Retry {
            max: #max,
            backoff: #backoff,
            panics: #panics,
            last_attempt: #last_attempt,
        })));
    }
    if let Some(timeout) = policies.timeout {
        let timeout = duration(timeout);
        fields.push(quote!(timeout: ::core::option::Option::Some(#timeout)));
    }
    if policies.essential {
        fields.push(quote!(essential: true));
    }
    fields
}

/// Returns a `must_use` for `overflow = "wait"`: the call waits only while its handle is held, so a handle that is dropped at
/// once is a mistake.
pub(crate) fn must_use(plan: &Plan) -> Option<TokenStream> {
    let concurrency = plan.options.policies.concurrency.as_ref()?;
    let overflow = concurrency.overflow.as_ref()?;
    (overflow.variant == "Wait").then(|| {
        quote! {
            #[must_use = "with `overflow = \"wait\"` a call waits for room in the queue only while its handle is held: await \
                          the handle, or keep it"]
        }
    })
}

/// The value of the handler's `policies` field.
pub(crate) fn field(plan: &Plan) -> TokenStream {
    optional(is_declared(plan).then(|| quote!(&__BGTASK_POLICIES)))
}

/// What goes into the body of the function that is called, made beforehand.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    /// `::bgtask::__private`.
    pub(crate) private: &'a TokenStream,
    /// The type of the output.
    pub(crate) output: &'a TokenStream,
    /// The name that the token is bound to.
    pub(crate) token: &'a Ident,
    /// The future, or the closure, that runs.
    pub(crate) work: &'a TokenStream,
    /// The lints that would speak of names in it.
    pub(crate) allow: &'a TokenStream,
}

// Output:
//     let site = resolve(&__BGTASK_HANDLER);
//     let pool = match injected::<State<Pool>, T>(&site) { Ok(state) => state, Err(refused) => return refused };
pub(crate) fn states_taken(
    plan: &Plan,
    private: &TokenStream,
    output: &TokenStream,
    site: &Ident,
) -> Option<TokenStream> {
    let at_name = plan.signature.ident.span();
    let local = |name: &str| Ident::new(name, Span::mixed_site());
    let (state, refused) = (local("state"), local("refused"));
    let each = plan
        .parameters
        .iter()
        .filter(|own| own.is_state)
        .map(|own| {
            let (name, ty) = (&own.name, &own.ty);
            let cfgs = crate::attrs::cfgs(&own.attributes);
            let at_type = first_span(&ty.to_token_stream());
            let private = plan.options.krate.private(at_type);
            let injected = quote_spanned!(at_type=> #private::injected::<#ty, #output>);
            quote_spanned! {at_name=>
                #(#cfgs)*
                let #name = match #injected(&#site) {
                    ::core::result::Result::Ok(#state) => #state,
                    ::core::result::Result::Err(#refused) => return #refused,
                };
            }
        });
    takes_state(plan).then(|| {
        quote_spanned! {at_name=>
            let #site = #private::resolve(&__BGTASK_HANDLER);
            #(#each)*
        }
    })
}

// Output, for a function that somebody calls:
//     let site = …; let pool = …; (for a function with states: see `states_taken`)
//     let keys = Keys::default().coalesce(key(…));
//     let call = begin_with(&__BGTASK_HANDLER, keys, Origin::Call); (with states: `begin_with_at(site, keys, Origin::Call)`)
//     let token = call.token();
//     let attempts = Attempts::<T>::once(__BgtaskWork::name(token, key, state));
//     return launch_with::<T>(call, attempts, RetryWhen::ALWAYS, Share::NEVER, Probe::<T>::NEW.classify());
//
// and for one that a schedule starts, the same in a function of its own that the static can name.
pub(crate) fn body(plan: &Plan, parts: Parts<'_>) -> TokenStream {
    let Parts {
        private,
        output,
        token,
        ..
    } = parts;
    let at_name = plan.signature.ident.span();
    let private_at_name = plan.options.krate.private(at_name);
    let local = |name: &str| Ident::new(name, Span::mixed_site());
    let (site, keys) = (local("site"), local("keys"));
    let (origin, call) = (local("origin"), local("call"));
    let (attempts, when) = (local("attempts"), local("when"));
    let is_scheduled = plan.options.policies.is_scheduled();

    let states_taken = states_taken(plan, private, output, &site);
    let keys_made = keys_made(plan, private);
    let origin_here = if is_scheduled {
        origin.to_token_stream()
    } else {
        quote!(#private::Origin::Call)
    };
    // Asked for by each attempt, if there is more than one or it may have to wait for a thread.
    let take_token = (plan.takes_token() && makes_future_at_once(plan))
        .then(|| quote_spanned!(at_name=> let #token = #call.token();));
    let attempts_made = attempts_made(plan, parts);
    let when_made = retry_when(plan, private, output);
    let share = share(plan, private, output);
    let allow = parts.allow;
    let allow = (!allow.is_empty()).then(|| quote!(#[allow(#allow)]));
    // Statements of their own for what holds code of the user's: what is allowed at the launch is not for that.
    let begin = if states_taken.is_some() {
        quote_spanned!(at_name=> #private::begin_with_at(#site, #keys, #origin_here))
    } else {
        quote_spanned!(at_name=> #private::begin_with(&__BGTASK_HANDLER, #keys, #origin_here))
    };
    let body = quote_spanned! {at_name=>
        #states_taken
        let #keys = #keys_made;
        let #call = #begin;
        #take_token
        #allow
        let #attempts = #attempts_made;
        let #when = #when_made;
        // For users who have `clippy::implicit_return` on.
        #[allow(clippy::needless_return)]
        return #private_at_name::launch_with::<#output>(
            #call, #attempts, #when, #share, #private::Probe::<#output>::NEW.classify(),
        );
    };
    if !is_scheduled {
        return body;
    }
    quote_spanned! {at_name=>
        #[track_caller]
        fn __bgtask_start(#origin: #private::Origin) -> #private::TaskHandle<#output> {
            #body
        }
        #[allow(clippy::needless_return)]
        return __bgtask_start(#private::Origin::Call);
    }
}

fn retry_when(plan: &Plan, private: &TokenStream, output: &TokenStream) -> TokenStream {
    let retry = plan.options.policies.retry.as_ref();
    match retry.and_then(|retry| retry.when.as_ref()) {
        Some(when) => {
            let at_when = first_span(&when.to_token_stream());
            let private = plan.options.krate.private(at_when);
            quote_spanned!(at_when=> #private::retry_when::<#output, _>(#when))
        }
        None => quote!(#private::RetryWhen::ALWAYS),
    }
}

fn share(plan: &Plan, private: &TokenStream, output: &TokenStream) -> TokenStream {
    match &plan.options.policies.coalesce {
        Some(coalesce) if coalesce.shares() => {
            // At the output: what is wrong with it is said there.
            let at_output = first_span(output);
            let private = plan.options.krate.private(at_output);
            quote_spanned!(at_output=> #private::ShareProbe::<#output>::NEW.share())
        }
        _ => quote!(#private::Share::NEVER),
    }
}

fn makes_future_at_once(plan: &Plan) -> bool {
    plan.options.policies.retry.is_none() && plan.signature.asyncness.is_some()
}

// Output:
//     Attempts::<T>::once(future)
//     Attempts::<T>::once_blocking(move |token| { let work = closure; return work; })
//     Attempts::<T>::again(move |token| { let key = cloned(&key); let work = future; return work; })
//     Attempts::<T>::again_blocking(move |token| { let key = cloned(&key); let work = closure; return work; })
//
// and for a method, since `self` cannot be bound anew, but a closure that holds it can be copied:
//     { let attempt = move |token| { let work = future; return work; };
//       Attempts::<T>::again(move |token| Clone::clone(&attempt)(token)) }
fn attempts_made(plan: &Plan, parts: Parts<'_>) -> TokenStream {
    let Parts {
        private,
        output,
        token,
        work,
        ..
    } = parts;
    let at_name = plan.signature.ident.span();
    let given = if plan.takes_token() {
        token.to_token_stream()
    } else {
        quote!(_)
    };
    let again = plan.options.policies.retry.is_some();
    let make = match (plan.signature.asyncness, again) {
        (Some(_), true) => "again",
        (Some(_), false) => {
            return quote_spanned!(at_name=> #private::Attempts::<#output>::once(#work));
        }
        (None, true) => "again_blocking",
        (None, false) => "once_blocking",
    };
    let make = Ident::new(make, at_name);
    // A statement of its own: what is allowed at the `return` is not for the user's code.
    let made = Ident::new("work", Span::mixed_site());
    let one = quote_spanned! {at_name=>
        let #made = #work;
        #[allow(clippy::needless_return)]
        return #made;
    };
    let is_copied = |own: &&Parameter| again && !own.is_token;
    if let Some(receiver) = plan.receiver.as_ref().filter(|_| again) {
        let at_receiver = receiver.self_token.span;
        let private_at_receiver = plan.options.krate.private(at_receiver);
        let ty = match &receiver.kind {
            ReceiverKind::Typed(_, ty) => ty.to_token_stream(),
            _ => quote_spanned!(at_receiver=> Self),
        };
        // Only a type, of which rustc does not think that it may be borrowed.
        let of_receiver = quote_spanned! {at_receiver=>
            let _: ::core::option::Option<#private_at_receiver::Copied<#ty>> = ::core::option::Option::None;
        };
        let of_parameters = plan.parameters.iter().filter(is_copied).map(|own| {
            let cfgs = crate::attrs::cfgs(&own.attributes);
            let check = check_copy(plan, &own.ty.to_token_stream(), &own.name.to_token_stream());
            quote!(#(#cfgs)* #check)
        });
        let attempt = Ident::new("attempt", Span::mixed_site());
        let token = Ident::new("token", Span::mixed_site());
        return quote_spanned! {at_name=> {
            #of_receiver
            #(#of_parameters)*
            let #attempt = move |#given| { #one };
            #private::Attempts::<#output>::#make(move |#token| ::core::clone::Clone::clone(&#attempt)(#token))
        }};
    }
    let copies = plan.parameters.iter().filter(is_copied).map(|own| {
        let name = &own.name;
        let cfgs = crate::attrs::cfgs(&own.attributes);
        let cloned = copy(plan, &own.ty.to_token_stream(), &name.to_token_stream());
        quote_spanned! {at_name=>
            #(#cfgs)*
            #[allow(clippy::shadow_reuse, clippy::shadow_same, clippy::used_underscore_binding)]
            let #name = #cloned;
        }
    });
    quote_spanned! {at_name=>
        #private::Attempts::<#output>::#make(move |#given| {
            #(#copies)*
            #one
        })
    }
}

/// A copy of what is called `name`, of this type.
fn copy(plan: &Plan, ty: &TokenStream, name: &TokenStream) -> TokenStream {
    // At the parameter's type: what is missing is said there.
    let at_type = first_span(ty);
    if mentions_generics(plan, ty) {
        // Then the compiler's own message says best which bound to add.
        quote_spanned!(at_type=> ::core::clone::Clone::clone(&#name))
    } else {
        let private = plan.options.krate.private(at_type);
        quote_spanned!(at_type=> #private::cloned(&#name))
    }
}

/// Has the compiler say that there can be no copy, if there can be none, in a closure that nobody calls.
fn check_copy(plan: &Plan, ty: &TokenStream, name: &TokenStream) -> TokenStream {
    let copy = copy(plan, ty, name);
    quote_spanned! {plan.signature.ident.span()=>
        #[allow(clippy::used_underscore_binding)]
        let _ = || #copy;
    }
}

// Output:  Keys::default().coalesce({ let key = &key; key(&(expression)) })
fn keys_made(plan: &Plan, private: &TokenStream) -> TokenStream {
    let policies = &plan.options.policies;
    let coalesce = policies.coalesce.as_ref().and_then(|own| own.key.as_ref());
    let rate = policies.rate.as_ref().and_then(|own| own.key.as_ref());
    let concurrency = policies
        .concurrency
        .as_ref()
        .and_then(|own| own.key.as_ref());
    let mut keys = quote!(<#private::Keys as ::core::default::Default>::default());
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
    // Instances of a generic function are functions of their own, whose calls cannot share an outcome. What the instance is
    // depends on types and numbers that may have no name here, as those of an `impl`; a closure's type knows them all.
    if policies.coalesce.is_some() && has_instances(plan) {
        keys = quote!(#keys.of_instance(::core::any::type_name_of_val(&|| {})));
    }
    keys
}

/// Whether there may be more than one function behind the name.
fn has_instances(plan: &Plan) -> bool {
    // Functions of the other forms may mention the generics of their `impl`.
    plan.form != Form::Function || is_generic(&plan.signature)
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
            quote! {
                #(#cfgs)*
                #[allow(
                    unused_variables,
                    clippy::no_effect_underscore_binding,
                    clippy::pattern_type_mismatch,
                    clippy::shadow_reuse,
                    clippy::shadow_same,
                    clippy::used_underscore_binding
                )]
                let #pattern = &#name;
            }
        });
    let at_key = first_span(&key.to_token_stream());
    let key = quote_spanned!(at_key=> #private::key(&(#key)));
    quote! {{
        #(#seen)*
        #key
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
    let origin = Ident::new("origin", Span::mixed_site());
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
            start: |#origin| ::core::mem::drop(__bgtask_start(#origin)),
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

/// Whether a static could not name the type: it knows neither the generics of the function around it nor `Self`.
fn mentions_generics(plan: &Plan, ty: &TokenStream) -> bool {
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
    mentions(ty.clone(), &names)
}
