//! A function whose calls are stored: the call encodes its arguments, and a worker decodes them and launches the work.
//! Knows the names in `__private` and nothing of their behaviour.

use super::parts::{Parts, borrows_of, retry_when};
use super::plan::Plan;
use crate::function::Parameter;
use crate::function::types::as_result;
use crate::tokens::{first_span, plain_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{ReturnType, Type};

/// The name of the parameter with the claimed job, which the launch of an attempt passes on.
pub(super) const CLAIMED: &str = "claimed";

// Output:
//     const _: () = Durable::check_name(…);
//     fn __bgtask_run(arguments: &RawValue, claimed: &Claimed) -> Result<Running, Undecodable> {
//         let mut arguments = match Arguments::new(arguments) { Ok(arguments) => arguments, Err(wrong) => return Err(wrong) };
//         let order = match arguments.take::<OrderId>("order") { Ok(value) => value, Err(wrong) => return Err(wrong) };
//         let job = job_parameter::<Job>(claimed);
//         let start = move || -> TaskHandle<T> { launch };
//         return Ok(running::<T, _, _>(start(), ResultCodec, when, Probe::<T>::NEW.classify()));
//     }
//     return enqueue::<Value>(&__BGTASK_HANDLER, |encoder| { encoder.add::<OrderId>("order", &order); encoder.key(&(key)); encoder.notify(notify); });
//
/// Returns the statements that make a stored call. `launch` are those that begin and launch one attempt.
pub(super) fn call(plan: &Plan, parts: Parts<'_>, launch: &TokenStream) -> TokenStream {
    let Parts {
        private,
        output,
        allow,
        ..
    } = parts;
    let at_name = plan.signature.ident.span();
    let krate = &plan.options.krate;
    let private_at_name = krate.private(at_name);
    let local = |name: &str| Ident::new(name, Span::mixed_site());
    let (arguments, encoder, start) = (local("arguments"), local("encoder"), local("start"));
    let (decoded, wrong) = (local("decoded"), local("wrong"));
    // A match, for users who have `clippy::question_mark_used` on; `clippy::question_mark` is allowed where it stands.
    let or_return = quote_spanned! {at_name=>
        ::core::result::Result::Ok(#decoded) => #decoded,
        ::core::result::Result::Err(#wrong) => return ::core::result::Result::Err(#wrong),
    };
    let stored: Vec<_> = plan
        .parameters
        .iter()
        .filter(|parameter| !parameter.is_injected())
        .collect();
    let take = stored.iter().map(|parameter| {
        let Parameter { name, ty, .. } = parameter;
        let cfgs = parameter.cfgs();
        let member = plain_name(name);
        let at_type = first_span(&ty.to_token_stream());
        let private = krate.private(at_type);
        let take = quote_spanned!(at_type=> #private::Arguments::take::<#ty>);
        quote_spanned! {at_name=>
            #(#cfgs)*
            #[allow(clippy::question_mark)]
            let #name = match #take(&mut #arguments, #member) { #or_return };
        }
    });
    let add = stored.iter().map(|parameter| {
        let Parameter { name, ty, .. } = parameter;
        let cfgs = parameter.cfgs();
        let member = plain_name(name);
        let at_type = first_span(&ty.to_token_stream());
        let private = krate.private(at_type);
        let add = quote_spanned!(at_type=> #private::Encoder::add::<#ty>);
        quote_spanned! {at_name=>
            #(#cfgs)*
            #add(#encoder, #member, &#name);
        }
    });
    let claimed = local(CLAIMED);
    let jobs = plan.parameters.iter().filter(|parameter| parameter.is_job);
    let jobs = jobs.map(|parameter| {
        let Parameter { name, ty, .. } = parameter;
        let cfgs = parameter.cfgs();
        let at_type = first_span(&ty.to_token_stream());
        let private = krate.private(at_type);
        let job = quote_spanned!(at_type=> #private::job_parameter::<#ty>);
        quote_spanned! {at_name=>
            #(#cfgs)*
            let #name = #job(#claimed);
        }
    });
    let key = plan.options.policies.unique_key().map(|key| {
        let at_key = first_span(&key.to_token_stream());
        let private = krate.private(at_key);
        let key = quote_spanned!(at_key=> #private::Encoder::key(#encoder, &(#key)));
        let borrows = borrows_of(plan);
        quote!({ #borrows #key; })
    });
    let notify = plan.options.policies.notify().map(|notify| {
        let at_notify = first_span(&notify.to_token_stream());
        let private = krate.private(at_notify);
        let notify = quote_spanned!(at_notify=> #private::Encoder::notify(#encoder, #notify));
        let borrows = borrows_of(plan);
        quote!({ #borrows #notify; })
    });
    let mutable = (!stored.is_empty()).then(|| quote!(mut));
    // The name of an argument that nobody reads.
    let given = if stored.is_empty() && key.is_none() && notify.is_none() {
        local("_encoder")
    } else {
        encoder.clone()
    };
    let when = retry_when(plan, private, output);
    let codec = codec(plan, output);
    let name = match &plan.options.name {
        Some(name) => name.tokens(private),
        None => {
            let name = plain_name(&plan.signature.ident);
            quote!(::core::concat!(::core::module_path!(), "::", #name))
        }
    };
    let value = value(plan, output);
    quote_spanned! {at_name=>
        const _: () = #private::Durable::check_name(#name);
        fn __bgtask_run(
            #arguments: &#private::RawValue,
            #claimed: &#private::Claimed,
        ) -> ::core::result::Result<#private::Running, #private::Undecodable> {
            #[allow(clippy::question_mark)]
            let #mutable #arguments = match #private::Arguments::new(#arguments) { #or_return };
            #(#take)*
            #(#jobs)*
            let #start = move || -> #private::TaskHandle<#output> { #launch };
            // For users who have `clippy::implicit_return` on.
            #[allow(clippy::needless_return)]
            return ::core::result::Result::Ok(#private::running::<#output, _, _>(
                #start(), #codec, #when, #private::Probe::<#output>::NEW.classify(),
            ));
        }
        #[allow(clippy::needless_return, #allow)]
        return #private_at_name::enqueue::<#value>(&__BGTASK_HANDLER, |#given| {
            #(#add)*
            #key
            #notify
        });
    }
}

/// Returns the type that a stored call returns.
pub(super) fn enqueue_type(plan: &Plan, output: &TokenStream) -> TokenStream {
    let at_output = first_span(output);
    let private = plan.options.krate.private(at_output);
    let value = value(plan, output);
    quote_spanned!(at_output=> #private::Enqueue<#value>)
}

/// Returns the type of the value that is stored: that in a `Result`, or the output.
fn value(plan: &Plan, output: &TokenStream) -> TokenStream {
    match declared(plan).and_then(as_result) {
        None => output.clone(),
        Some(Some(value)) => value.to_token_stream(),
        Some(None) => {
            let at_output = first_span(output);
            let private = plan.options.krate.private(at_output);
            quote_spanned!(at_output=> <#output as #private::Outcome>::Ok)
        }
    }
}

fn codec(plan: &Plan, output: &TokenStream) -> TokenStream {
    let at_output = first_span(output);
    let private = plan.options.krate.private(at_output);
    if declared(plan).and_then(as_result).is_some() {
        quote_spanned!(at_output=> #private::ResultCodec)
    } else {
        quote_spanned!(at_output=> #private::ValueCodec)
    }
}

fn declared(plan: &Plan) -> Option<&Type> {
    match &plan.signature.output {
        ReturnType::Default => None,
        ReturnType::Type(_, ty) => Some(ty),
    }
}
