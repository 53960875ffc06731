//! From the plan of a task to its code.
//! Knows the names in `__private` and nothing of what they do.

use crate::attrs;
use crate::expand_policies;
use crate::options::Choice;
use crate::validate::{Form, Parameter, Plan};
use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{GenericParam, ReturnType};

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
//         launch::<T, _>(run, __BgtaskWork::name(token, key), …)
//     }
pub(crate) fn task(plan: Plan) -> TokenStream {
    let Plan {
        attributes,
        visibility,
        signature,
        options,
        ..
    } = &plan;
    let name = &signature.ident;
    // The compiler speaks of what is wrong with a task at the places that these tokens seem to come from.
    let at_name = name.span();
    let private = options.krate.private(Span::call_site());

    let fn_token = &signature.fn_token;
    let (generics, _, clause) = signature.generics.split_for_impl();
    let receiver = plan.receiver.iter().map(ToTokens::to_token_stream);
    let inputs = receiver.chain(plan.parameters.iter().filter_map(caller_side));
    let output = output(&signature.output);
    let arrow = match &signature.output {
        ReturnType::Default => quote_spanned!(at_name=> ->),
        ReturnType::Type(arrow, _) => arrow.to_token_stream(),
    };
    let handle = quote_spanned!(at_name=> TaskHandle<#output>);
    let handle = quote!(#private::#handle);

    let work_item = work_item(&plan);
    let handler = handler(&plan, &private);
    let run = Ident::new("run", Span::mixed_site());
    let token = Ident::new("token", Span::mixed_site());
    let take_token =
        takes_token(&plan).then(|| quote_spanned!(at_name=> let #token = #run.token();));
    let work = match plan.form {
        Form::Function => call_of_function(&plan, &token),
        Form::Block => block(&plan, &token, &output),
    };
    let launch = match signature.asyncness {
        Some(_) => quote_spanned!(at_name=> launch),
        None => quote_spanned!(at_name=> launch_blocking),
    };
    let call = match expand_policies::applies(&plan) {
        true => expand_policies::body(&plan, &private, &output, &token, &work),
        false => quote_spanned! {at_name=>
            let #run = #private::begin(&__BGTASK_HANDLER);
            #take_token
            #private::#launch::<#output, _>(#run, #work, {
                use #private::classify::*;
                (&&&&&Probe::<#output>::NEW).classify()
            })
        },
    };
    let mut body = Group::new(
        Delimiter::Brace,
        quote_spanned! {at_name=>
            #work_item
            #handler
            #call
        },
    );
    body.set_span(plan.body.span());

    let of_the_call = &attributes.call;
    // Its schedule calls it, and that the compiler does not see.
    let called_by_schedule = (options.policies.is_scheduled()).then(|| quote!(#[allow(dead_code)]));
    quote! {
        #(#of_the_call)*
        #called_by_schedule
        #[track_caller]
        #visibility #fn_token #name #generics (#(#inputs),*) #arrow #handle #clause #body
    }
}

/// The parameter as the caller sees it: not at all, if the runtime fills it in.
fn caller_side(parameter: &Parameter) -> Option<TokenStream> {
    let Parameter {
        attributes,
        ty,
        name,
        ..
    } = parameter;
    let cfgs = attrs::cfgs(attributes);
    (!parameter.is_injected()).then(|| quote!(#(#cfgs)* #name: #ty))
}

fn output(output: &ReturnType) -> TokenStream {
    match output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, ty) => ty.to_token_stream(),
    }
}

fn takes_token(plan: &Plan) -> bool {
    plan.parameters.iter().any(|parameter| parameter.is_token)
}

/// The user's function, to the letter.
fn work_item(plan: &Plan) -> TokenStream {
    if plan.form == Form::Block {
        return TokenStream::new();
    }
    let Plan {
        signature,
        body,
        attributes,
        ..
    } = plan;
    let of_the_work = &attributes.work;
    quote_spanned! {signature.ident.span()=>
        enum __BgtaskWork {}
        impl __BgtaskWork {
            #(#of_the_work)*
            // The function around it says so already.
            #[allow(dead_code)]
            #signature #body
        }
    }
}

fn handler(plan: &Plan, private: &TokenStream) -> TokenStream {
    let Plan {
        signature, options, ..
    } = plan;
    let at_name = signature.ident.span();
    let name = match &options.name {
        Some(name) => name.to_token_stream(),
        None => {
            let own = signature.ident.to_string();
            let own = own.strip_prefix("r#").unwrap_or(&own);
            quote!(::core::concat!(::core::module_path!(), "::", #own))
        }
    };
    let variant = |choice: &Option<Choice>, default: &str| {
        let variant = choice.as_ref().map_or(default, |choice| choice.variant);
        format_ident!("{variant}")
    };
    let kind = match signature.asyncness {
        Some(_) => quote!(Async),
        None => quote!(Blocking),
    };
    let takes_token = takes_token(plan);
    let on_shutdown = variant(&options.on_shutdown, "Drain");
    let log = variant(&options.log, "Debug");
    let policies = expand_policies::field(plan);
    let policies_static = expand_policies::statics(plan, private);
    quote_spanned! {at_name=>
        #policies_static
        static __BGTASK_HANDLER: #private::Handler = #private::Handler::new(#private::HandlerSpec {
            name: #name,
            module_path: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
            kind: #private::Kind::#kind,
            takes_token: #takes_token,
            on_shutdown: #private::OnShutdown::#on_shutdown,
            log: #private::Log::#log,
            policies: #policies,
        });
        #private::inventory::submit! { #private::Registered(&__BGTASK_HANDLER) }
    }
}

// Output:  __BgtaskWork::name::<T>(token, key)  or  move || __BgtaskWork::name::<T>(token, key)
fn call_of_function(plan: &Plan, token: &Ident) -> TokenStream {
    let signature = &plan.signature;
    let name = &signature.ident;
    // Named, for those that no argument tells. Lifetimes were refused.
    let generics: Vec<_> = signature
        .generics
        .params
        .iter()
        .filter_map(|parameter| match parameter {
            GenericParam::Type(own) => Some(&own.ident),
            GenericParam::Const(own) => Some(&own.ident),
            GenericParam::Lifetime(_) => None,
        })
        .collect();
    let turbofish = (!generics.is_empty()).then(|| quote!(::<#(#generics),*>));
    let function = quote_spanned!(name.span()=> __BgtaskWork::#name #turbofish);
    let arguments = plan.parameters.iter().map(|parameter| {
        if parameter.is_token {
            token
        } else {
            &parameter.name
        }
    });
    match signature.asyncness {
        Some(_) => quote_spanned!(name.span()=> #function(#(#arguments),*)),
        // Not in a closure: that would be a lint of the user's.
        None if plan.parameters.is_empty() => function,
        None => quote_spanned!(name.span()=> move || #function(#(#arguments),*)),
    }
}

// Output:  async move { let key = key; … }  or  move || -> T { let key = key; … }
fn block(plan: &Plan, token: &Ident, output: &TokenStream) -> TokenStream {
    let at_name = plan.signature.ident.span();
    // A parameter that the body never names has to come along all the same: else it is dropped before the task starts.
    let receiver = plan.receiver.as_ref().map(|receiver| {
        let own = &receiver.self_token;
        quote_spanned!(at_name=> let _ = &#own;)
    });
    let rebind = plan.parameters.iter().map(|parameter| {
        let Parameter {
            attributes,
            pattern,
            ty,
            name,
            is_token,
            ..
        } = parameter;
        let name = if *is_token { token } else { name };
        let ty = match ty {
            // Where `impl Trait` may not stand, its value's type is known all the same.
            syn::Type::ImplTrait(_) => quote!(_),
            ty => ty.to_token_stream(),
        };
        quote_spanned!(at_name=> #(#attributes)* let #pattern: #ty = #name;)
    });
    // Its statements rather than the block itself, which would be a block within a block.
    let body = plan.body.stream();
    let statements = quote_spanned!(at_name=> #receiver #(#rebind)*);
    match &plan.signature.asyncness {
        Some(asyncness) => quote_spanned! {at_name=>
            #asyncness move {
                #statements
                #body
            }
        },
        None => quote_spanned! {at_name=>
            move || -> #output {
                #statements
                #body
            }
        },
    }
}
