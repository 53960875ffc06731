//! From the plan of a task to the function that is called.
//! Knows the names in `__private` and nothing of their behaviour.

use super::plan::{Form, Plan};
use super::{durable, fields, launch, work};
use crate::arguments::values::optional;
use crate::function::types::{is_bare_job, mentions_generics};
use crate::function::{Parameter, attrs};
use crate::options::handler::{Described, handler_static};
use crate::policies::{concurrency, policies_static, state};
use crate::tokens::{first_span, plain_name};
use proc_macro2::{Delimiter, Group, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ReturnType;

// Input:
//     #[background]
//     pub async fn name(token: ShutdownToken, key: String) -> T { … }
//
// Output:
//     #[track_caller]
//     pub fn name(key: String) -> TaskHandle<T> {
//         enum __BgtaskWork {}
//         impl __BgtaskWork {
//             async fn name(token: ShutdownToken, key: String) -> T { … }
//         }
//         static __BGTASK_HANDLER: Handler = Handler::new(HandlerSpec { … });
//         inventory::submit! { Registered(&__BGTASK_HANDLER) }
//         let run = begin(&__BGTASK_HANDLER);
//         let token = run.token();
//         return launch::<T, _>(run, __BgtaskWork::name(token, key), Probe::<T>::NEW.classify());
//     }
pub(super) fn task(plan: &Plan) -> TokenStream {
    let Plan {
        attributes,
        visibility,
        signature,
        options,
        ..
    } = plan;
    let name = &signature.ident;
    // The compiler reports errors in a task at the spans of these tokens.
    let at_name = name.span();
    let private = options.krate.private(Span::call_site());

    let fn_token = &signature.fn_token;
    let (generics, _, clause) = signature.generics.split_for_impl();
    let receiver = plan.receiver.iter().map(ToTokens::to_token_stream);
    let inputs = receiver.chain(plan.parameters.iter().filter_map(caller_side));
    let (arrow, output) = match &signature.output {
        ReturnType::Default => (quote_spanned!(at_name=> ->), quote_spanned!(at_name=> ())),
        ReturnType::Type(arrow, ty) => (arrow.to_token_stream(), ty.to_token_stream()),
    };
    let private_at_output = options.krate.private(first_span(&output));
    let handle = if options.policies.is_durable() {
        durable::enqueue_type(plan, &output)
    } else {
        quote_spanned!(first_span(&output)=> #private_at_output::TaskHandle<#output>)
    };

    let work_item = work::item(plan);
    let jobs = jobs_of_others(plan);
    let statics = statics(plan, &private);
    let call = launch::call(plan, &private, &output);
    let mut body = Group::new(
        Delimiter::Brace,
        quote_spanned! {at_name=>
            #work_item
            #jobs
            #statics
            #call
        },
    );
    body.set_span(plan.body.span());

    let must_use = must_use(plan);
    let for_callers = attributes.call.iter().map(|attribute| match plan.form {
        Form::Method => attrs::beside_body(attribute),
        Form::Function | Form::Block => attribute.to_token_stream(),
    });
    // Its schedule calls it, which the compiler does not see.
    let called_by_schedule = options.policies.is_scheduled().then(|| quote!(dead_code,));
    // A stored call encodes its arguments, and owns them all the same, as any other call does.
    let only_encodes = options.policies.is_durable().then(|| {
        quote!(
            clippy::large_types_passed_by_value,
            clippy::needless_pass_by_value,
        )
    });
    let hidden_method = (plan.form == Form::Method).then(|| work::hidden_method(plan));
    quote! {
        #(#for_callers)*
        #must_use
        // Dropping the handle is the usual thing to do.
        #[allow(#called_by_schedule #only_encodes clippy::must_use_candidate)]
        #[track_caller]
        #visibility #fn_token #name #generics (#(#inputs),*) #arrow #handle #clause #body
        #hidden_method
    }
}

/// Has the compiler report a `bgtask::Job` in a function whose calls are not stored. A bare `Job` is often a type of the user's, so only
/// the compiler can tell.
fn jobs_of_others(plan: &Plan) -> TokenStream {
    if cfg!(not(feature = "durable")) || plan.options.policies.is_durable() {
        return TokenStream::new();
    }
    let bare = plan.parameters.iter().filter(|parameter| {
        is_bare_job(&parameter.ty) && !mentions_generics(&plan.signature, &parameter.ty)
    });
    let checks = bare.map(|parameter| {
        let (cfgs, ty) = (parameter.cfgs(), &parameter.ty);
        let at_type = first_span(&ty.to_token_stream());
        let private = plan.options.krate.private(at_type);
        quote_spanned! {at_type=>
            #(#cfgs)*
            const _: () = {
                #[allow(unused_imports)]
                use #private::OtherType as _;
                ::core::assert!(
                    !#private::JobProbe::<#ty>::IS_JOB,
                    "only a stored call is a job: write `#[background(durable)]`, or drop this parameter"
                );
            };
        }
    });
    checks.collect()
}

/// Returns the parameter as the caller sees it, or `None` if the runtime fills it in.
fn caller_side(parameter: &Parameter) -> Option<TokenStream> {
    let (cfgs, name, ty) = (parameter.cfgs(), &parameter.name, &parameter.ty);
    (!parameter.is_injected()).then(|| quote!(#(#cfgs)* #name: #ty))
}

/// Returns a `must_use` for a call that waits only while its handle is held: to drop that handle at once is a mistake.
fn must_use(plan: &Plan) -> Option<TokenStream> {
    // The compiler warns of a second `must_use`.
    if !concurrency::waits_for_room(&plan.options.policies)
        || attrs::is_must_use(&plan.attributes.call)
    {
        return None;
    }
    Some(quote! {
        #[must_use = "with `overflow = \"wait\"` a call waits for room in the queue only while its handle is held: await \
                      the handle, or keep it"]
    })
}

/// Returns the static of the policies, if the function has any, and that of the handler.
fn statics(plan: &Plan, private: &TokenStream) -> TokenStream {
    let Plan {
        signature, options, ..
    } = plan;
    let at_name = signature.ident.span();
    let name = match &options.name {
        Some(name) => name.tokens(private),
        None => {
            let name = plain_name(&signature.ident);
            quote!(::core::concat!(::core::module_path!(), "::", #name))
        }
    };
    let policies = plan.declares_policies().then(|| {
        let mut fields = options.policies.fields(private, at_name);
        fields.extend(state::field(signature, &plan.parameters, &options.krate));
        fields.extend(fields::field(plan, private));
        policies_static(&fields, private, at_name)
    });
    let described = Described {
        name,
        path: quote!(::core::any::type_name::<__BgtaskWork>),
        is_async: plan.is_async(),
        takes_token: plan.takes_token(),
        policies: optional(plan.declares_policies().then(|| quote!(&__BGTASK_POLICIES))),
    };
    let handler = handler_static(described, options, private, at_name);
    quote_spanned! {at_name=>
        #policies
        #handler
    }
}
