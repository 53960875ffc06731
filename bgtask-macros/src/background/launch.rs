//! The statements that start a task: begin the call, then launch the work.
//! Knows the names in `__private` and nothing of their behaviour.

use super::attempts::attempts;
use super::durable;
use super::fields;
use super::parts::{Parts, borrows_of, retry_when};
use super::plan::{Form, Plan};
use super::work;
use crate::function::types::is_generic;
use crate::policies::wrap::Wrap;
use crate::policies::{coalesce, state};
use crate::tokens::first_span;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Expr;

/// Returns the statements that begin and launch one call.
pub(super) fn call(plan: &Plan, private: &TokenStream, output: &TokenStream) -> TokenStream {
    let token = Ident::new("token", Span::mixed_site());
    let parts = Parts {
        private,
        output,
        token: &token,
        work: &work::work(plan, &token, output),
        allow: &work::lints_of_underscores(plan),
    };
    if plan.has_policies() {
        with_policies(plan, parts)
    } else {
        without_policies(plan, parts)
    }
}

fn without_policies(plan: &Plan, parts: Parts<'_>) -> TokenStream {
    let Parts {
        private,
        output,
        token,
        work,
        allow,
    } = parts;
    let at_name = plan.signature.ident.span();
    let private_at_name = plan.options.krate.private(at_name);
    let run = Ident::new("run", Span::mixed_site());
    let site = Ident::new("site", Span::mixed_site());
    let bind_states = state::bindings(
        &plan.parameters,
        &plan.options.krate,
        output,
        &site,
        at_name,
    );
    let begin = if bind_states.is_some() {
        quote_spanned!(at_name=> #private::begin_at(#site))
    } else {
        quote_spanned!(at_name=> #private::begin(&__BGTASK_HANDLER))
    };
    let take_token = plan
        .takes_token()
        .then(|| quote_spanned!(at_name=> let #token = #run.token();));
    let (before, work) = match plan.form {
        Form::Function | Form::Method => (None, work.clone()),
        Form::Block => {
            // A statement of its own, so that the `allow` at the launch does not apply to the user's code.
            let name = Ident::new("work", Span::mixed_site());
            let before = quote_spanned!(at_name=> let #name = #work;);
            (Some(before), quote_spanned!(at_name=> #name))
        }
    };
    let (fields, record) = fields::record(plan, private).unzip();
    let launch = match (plan.is_async(), &fields) {
        (true, None) => "launch",
        (false, None) => "launch_blocking",
        (true, Some(_)) => "launch_recorded",
        (false, Some(_)) => "launch_blocking_recorded",
    };
    let launch = Ident::new(launch, at_name);
    let fields = fields.into_iter();
    quote_spanned! {at_name=>
        #bind_states
        #record
        let #run = #begin;
        #take_token
        #before
        // For users who have `clippy::implicit_return` on.
        #[allow(clippy::needless_return, #allow)]
        return #private_at_name::#launch::<#output, _>(#run, #(#fields,)* #work, #private::Probe::<#output>::NEW.classify());
    }
}

// Output, for a function that is called:
//     let site = …; let pool = …; (for a function with states: see `state::bindings`)
//     let keys = Keys::default().coalesce(key(…));
//     let call = begin_with(&__BGTASK_HANDLER, keys, Origin::Call); (with states: `begin_with_at(site, keys, Origin::Call)`)
//     let token = call.token();
//     let attempts = Attempts::<T>::once(__BgtaskWork::name(token, key, state));
//     return launch_with::<T>(call, attempts, RetryWhen::ALWAYS, Share::NEVER, Probe::<T>::NEW.classify());
//
// and for one that a schedule starts, the same in a function of its own that the static can name.
fn with_policies(plan: &Plan, parts: Parts<'_>) -> TokenStream {
    let Parts {
        private,
        output,
        token,
        ..
    } = parts;
    let (signature, options) = (&plan.signature, &plan.options);
    let at_name = signature.ident.span();
    let private_at_name = options.krate.private(at_name);
    let local = |name: &str| Ident::new(name, Span::mixed_site());
    let (keys, origin, call) = (local("keys"), local("origin"), local("call"));
    let (attempts_name, when) = (local("attempts"), local("when"));
    let is_scheduled = options.policies.is_scheduled();

    let site = local("site");
    let bind_states = state::bindings(&plan.parameters, &options.krate, output, &site, at_name);
    // Functions of the other forms may mention the generics of their `impl`.
    let has_instances = plan.form != Form::Function || is_generic(signature);
    let keys_value = options
        .policies
        .keys(private, has_instances, |key| key_of(plan, private, key));
    let origin_value = if options.policies.is_durable() {
        let claimed = local(durable::CLAIMED);
        quote!(#private::Origin::Job(::core::clone::Clone::clone(#claimed)))
    } else if is_scheduled {
        origin.to_token_stream()
    } else {
        quote!(#private::Origin::Call)
    };
    // If there can be several attempts, or one that waits for a thread, each of them takes a token.
    let makes_future_at_once = !options.policies.repeats() && plan.is_async();
    let take_token = (plan.takes_token() && makes_future_at_once)
        .then(|| quote_spanned!(at_name=> let #token = #call.token();));
    let begin = if bind_states.is_some() {
        quote_spanned!(at_name=> #private::begin_with_at(#site, #keys, #origin_value))
    } else {
        quote_spanned!(at_name=> #private::begin_with(&__BGTASK_HANDLER, #keys, #origin_value))
    };
    let attempts = wrapped(plan, parts);
    let when_value = if options.policies.is_durable() {
        quote!(#private::RetryWhen::ALWAYS)
    } else {
        retry_when(plan, private, output)
    };
    let share = share(plan, private, output);
    let (fields, record) = fields::record(plan, private).unzip();
    let launch = if fields.is_some() {
        "launch_recorded_with"
    } else {
        "launch_with"
    };
    let launch = Ident::new(launch, at_name);
    let fields = fields.into_iter();
    let allow = parts.allow;
    let allow = (!allow.is_empty()).then(|| quote!(#[allow(#allow)]));
    // The user's code is in separate statements, so that the `allow` at the launch does not apply to it.
    let body = quote_spanned! {at_name=>
        #bind_states
        #record
        let #keys = #keys_value;
        let #call = #begin;
        #take_token
        #allow
        let #attempts_name = #attempts;
        let #when = #when_value;
        // For users who have `clippy::implicit_return` on.
        #[allow(clippy::needless_return)]
        return #private_at_name::#launch::<#output>(
            #call, #(#fields,)* #attempts_name, #when, #share, #private::Probe::<#output>::NEW.classify(),
        );
    };
    if options.policies.is_durable() {
        return durable::call(plan, parts, &body);
    }
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

/// Returns the attempts, each within the function's own `wrap`.
fn wrapped(plan: &Plan, parts: Parts<'_>) -> TokenStream {
    let attempts = attempts(plan, parts);
    let Some(Wrap(wrap)) = &plan.options.policies.wrap else {
        return attempts;
    };
    // The compiler reports there what is wrong with the function.
    let at_wrap = first_span(&wrap.to_token_stream());
    let private = plan.options.krate.private(at_wrap);
    quote_spanned!(at_wrap=> #private::Attempts::wrapped(#attempts, #wrap))
}

fn share(plan: &Plan, private: &TokenStream, output: &TokenStream) -> TokenStream {
    if !coalesce::shares_outcome(&plan.options.policies) {
        return quote!(#private::Share::NEVER);
    }
    // The compiler reports at the output's type why it cannot be shared.
    let at_output = first_span(output);
    let private = plan.options.krate.private(at_output);
    quote_spanned!(at_output=> #private::ShareProbe::<#output>::NEW.share())
}

/// Returns the key of a policy.
fn key_of(plan: &Plan, private: &TokenStream, key: &Expr) -> TokenStream {
    let at_key = first_span(&key.to_token_stream());
    let key = quote_spanned!(at_key=> #private::key(&(#key)));
    let borrows = borrows_of(plan);
    quote! {{
        #borrows
        #key
    }}
}
