//! From the plan of a task to its code.
//! Knows the names in `__private` and nothing of what they do.

use crate::attrs;
use crate::expand_policies::{self, Parts};
use crate::options::{TaskOptions, WarnAfter};
use crate::parse::{Parameter, first_span, peel};
use crate::validate::{self, Form, Plan};
use crate::values::{duration, variant};
use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{GenericParam, Pat, ReturnType, Type};

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
    let output = output(&signature.output, at_name);
    let arrow = match &signature.output {
        ReturnType::Default => quote_spanned!(at_name=> ->),
        ReturnType::Type(arrow, _) => arrow.to_token_stream(),
    };
    let private_at_output = options.krate.private(first_span(&output));
    let handle = quote_spanned!(first_span(&output)=> #private_at_output::TaskHandle<#output>);

    let work_item = work_item(&plan);
    let handler = handler(&plan, &private);
    let token = Ident::new("token", Span::mixed_site());
    let work = work(&plan, &token, &output);
    let allow = lints_of_underscores(&plan);
    let parts = Parts {
        private: &private,
        output: &output,
        token: &token,
        work: &work,
        allow: &allow,
    };
    let call = if expand_policies::applies(&plan) {
        expand_policies::body(&plan, parts)
    } else {
        call(&plan, parts)
    };
    let other_tokens = plan
        .parameters
        .iter()
        .filter_map(|parameter| ask_the_compiler(parameter, &private));
    let mut body = Group::new(
        Delimiter::Brace,
        quote_spanned! {at_name=>
            #work_item
            #handler
            #(#other_tokens)*
            #call
        },
    );
    body.set_span(plan.body.span());

    // The compiler warns of a second `must_use`.
    let must_use = (!attrs::is_must_use(&attributes.call))
        .then(|| expand_policies::must_use(&plan))
        .flatten();
    let of_the_call = attributes.call.iter().map(|attribute| match plan.form {
        Form::Method => attrs::beside_body(attribute),
        Form::Function | Form::Block => attribute.to_token_stream(),
    });
    // Its schedule calls it, and that the compiler does not see.
    let called_by_schedule = options.policies.is_scheduled().then(|| quote!(dead_code,));
    let hidden_method = (plan.form == Form::Method).then(|| hidden_method(&plan));
    quote! {
        #(#of_the_call)*
        #must_use
        // Whoever forgets the handle does what it is for.
        #[allow(#called_by_schedule clippy::must_use_candidate)]
        #[track_caller]
        #visibility #fn_token #name #generics (#(#inputs),*) #arrow #handle #clause #body
        #hidden_method
    }
}

/// The call of a function that has no policies.
fn call(plan: &Plan, parts: Parts<'_>) -> TokenStream {
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
    let take_token = plan
        .takes_token()
        .then(|| quote_spanned!(at_name=> let #token = #run.token();));
    let (before, work) = match plan.form {
        Form::Function | Form::Method => (None, work.clone()),
        Form::Block => {
            // A statement of its own: what is allowed at the launch is not for the user's code.
            let name = Ident::new("work", Span::mixed_site());
            let before = quote_spanned!(at_name=> let #name = #work;);
            (Some(before), quote_spanned!(at_name=> #name))
        }
    };
    let launch = match plan.signature.asyncness {
        Some(_) => quote_spanned!(at_name=> launch),
        None => quote_spanned!(at_name=> launch_blocking),
    };
    quote_spanned! {at_name=>
        let #run = #private::begin(&__BGTASK_HANDLER);
        #take_token
        #before
        // For users who have `clippy::implicit_return` on.
        #[allow(clippy::needless_return, #allow)]
        return #private_at_name::#launch::<#output, _>(#run, #work, #private::Probe::<#output>::NEW.classify());
    }
}

/// What runs: the call of the user's function, or the user's code itself.
fn work(plan: &Plan, token: &Ident, output: &TokenStream) -> TokenStream {
    match plan.form {
        Form::Function | Form::Method => call_of_function(plan, token),
        Form::Block => block(plan, token, output),
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

/// Has the compiler say whether the parameter is the token under another name. Asked only where a word makes it likely,
/// and in a closure that nobody calls: it costs builds something, and calls nothing.
fn ask_the_compiler(parameter: &Parameter, private: &TokenStream) -> Option<TokenStream> {
    const WORDS: [&str; 4] = ["cancel", "shutdown", "stop", "token"];
    let Type::Path(path) = peel(&parameter.ty) else {
        return None;
    };
    let last = path.path.segments.last()?;
    let names = [&parameter.name, &last.ident].map(|name| name.to_string().to_lowercase());
    let likely = WORDS
        .iter()
        .any(|word| names.iter().any(|name| name.contains(word)));
    if parameter.is_token || !last.arguments.is_none() || !likely {
        return None;
    }
    let cfgs = attrs::cfgs(&parameter.attributes);
    let ty = &parameter.ty;
    let asked = quote_spanned!(last.ident.span()=> has_another_name());
    Some(quote!(#(#cfgs)* let _ = || #private::Parameter::<#ty>::NEW.#asked;))
}

fn output(output: &ReturnType, at_name: Span) -> TokenStream {
    match output {
        ReturnType::Default => quote_spanned!(at_name=> ()),
        ReturnType::Type(_, ty) => ty.to_token_stream(),
    }
}

/// Returns the user's function, verbatim, in a type of its own. For a block or a method, returns only that type, whose name
/// contains the path of the function.
fn work_item(plan: &Plan) -> TokenStream {
    if plan.form != Form::Function {
        return quote_spanned!(plan.signature.ident.span()=> enum __BgtaskWork {});
    }
    let Plan {
        signature,
        body,
        attributes,
        ..
    } = plan;
    let name = &signature.ident;
    let of_the_work = &attributes.work;
    // That it is dead the function around it says already. To be allowed to be is to be so for all items within, too:
    // where there are some, it is mentioned instead, if that can be done without naming types.
    let mentioned = plan.has_items && !validate::is_generic(signature);
    let (allow, mention) = if mentioned {
        (
            None,
            Some(quote!(const _: () = { let _ = __BgtaskWork::#name; };)),
        )
    } else {
        (Some(quote!(dead_code,)), None)
    };
    quote_spanned! {name.span()=>
        enum __BgtaskWork {}
        impl __BgtaskWork {
            #(#of_the_work)*
            // What they ask for is what the attribute refuses, or what is so by its nature.
            #[allow(
                #allow
                clippy::large_types_passed_by_value,
                clippy::missing_const_for_fn,
                clippy::needless_pass_by_value,
                clippy::single_call_fn
            )]
            #signature #body
        }
        #mention
    }
}

/// Returns the user's method, verbatim except for its name, to stand beside the one that is called. It carries the user's
/// attributes; those that would name a span after it get the original name.
fn hidden_method(plan: &Plan) -> TokenStream {
    let Plan {
        signature,
        body,
        attributes,
        ..
    } = plan;
    let name = &signature.ident;
    let of_the_work = attributes.work.iter();
    let of_the_work = of_the_work.map(|attribute| attrs::named_after(attribute, name));
    let of_the_call = attributes.call.iter();
    let of_both = of_the_call.filter(|attribute| attrs::holds_for_body(attribute));
    let mut signature = signature.clone();
    signature.ident = hidden_name(name);
    quote_spanned! {name.span()=>
        #(#of_both)*
        #(#of_the_work)*
        // For the reasons given in `work_item`.
        #[allow(
            clippy::large_types_passed_by_value,
            clippy::missing_const_for_fn,
            clippy::missing_docs_in_private_items,
            clippy::needless_pass_by_value,
            clippy::single_call_fn,
            clippy::unused_self
        )]
        #signature #body
    }
}

/// Returns the name of the hidden method that has the user's body.
fn hidden_name(name: &Ident) -> Ident {
    let own = name.to_string();
    let own = own.strip_prefix("r#").unwrap_or(&own);
    // It sorts after the original name, for users who keep their methods in order.
    Ident::new(&format!("{own}_bgtask_body"), name.span())
}

/// What clippy says of a name with an underscore is for whoever uses it, and at the launch the macro does.
fn lints_of_underscores(plan: &Plan) -> TokenStream {
    let item = starts_with_underscore(&plan.signature.ident)
        .then(|| quote!(clippy::used_underscore_items,));
    let parameter = plan
        .parameters
        .iter()
        .any(|parameter| !parameter.is_token && starts_with_underscore(&parameter.name))
        .then(|| quote!(clippy::used_underscore_binding,));
    match plan.form {
        Form::Function | Form::Method => quote!(#item #parameter),
        // Nothing of the user's is named there.
        Form::Block => TokenStream::new(),
    }
}

fn starts_with_underscore(name: &Ident) -> bool {
    name.to_string().starts_with('_')
}

/// The same for the statement that binds a parameter anew, under its own name.
fn lints_of_binding(parameter: &Parameter) -> Option<TokenStream> {
    let Pat::Ident(bound) = &parameter.pattern else {
        return None;
    };
    let shadows = (!parameter.is_token).then(|| quote!(clippy::shadow_same,));
    let underscore = starts_with_underscore(&bound.ident).then(|| {
        quote!(
            clippy::no_effect_underscore_binding,
            clippy::used_underscore_binding,
        )
    });
    (shadows.is_some() || underscore.is_some()).then(|| quote!(#[allow(#shadows #underscore)]))
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
    let described = Described {
        name,
        path: quote!(::core::any::type_name::<__BgtaskWork>),
        kind: match signature.asyncness {
            Some(_) => "Async",
            None => "Blocking",
        },
        takes_token: plan.takes_token(),
        policies: expand_policies::field(plan),
    };
    let policies_static = expand_policies::statics(plan, private);
    let handler_static = handler_static(described, options, private, at_name);
    quote_spanned! {at_name=>
        #policies_static
        #handler_static
    }
}

/// The fields of a handler's static, except the options.
pub(crate) struct Described {
    pub(crate) name: TokenStream,
    pub(crate) path: TokenStream,
    pub(crate) kind: &'static str,
    pub(crate) takes_token: bool,
    pub(crate) policies: TokenStream,
}

/// Returns the static of one handler, and its entry in the list of all handlers.
pub(crate) fn handler_static(
    described: Described,
    options: &TaskOptions,
    private: &TokenStream,
    at: Span,
) -> TokenStream {
    let Described {
        name,
        path,
        kind,
        takes_token,
        policies,
    } = described;
    let kind = format_ident!("{kind}");
    let on_shutdown = variant(options.on_shutdown.as_ref(), "Drain");
    let log = variant(options.log.as_ref(), "Debug");
    let warn_after = match &options.warn_after {
        None => quote!(Default),
        Some(WarnAfter { limit: None, .. }) => quote!(Never),
        Some(WarnAfter {
            limit: Some(limit), ..
        }) => {
            let limit = duration(*limit);
            quote!(After(#limit))
        }
    };
    quote_spanned! {at=>
        static __BGTASK_HANDLER: #private::Handler = #private::Handler::new(#private::HandlerSpec {
            name: #name,
            path: #path,
            module_path: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
            kind: #private::Kind::#kind,
            takes_token: #takes_token,
            on_shutdown: #private::OnShutdown::#on_shutdown,
            log: #private::Log::#log,
            warn_after: #private::WarnAfter::#warn_after,
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
    let turbofish =
        (!generics.is_empty()).then(|| quote_spanned!(name.span()=> ::<#(#generics),*>));
    let function = if plan.form == Form::Method {
        let name = hidden_name(name);
        quote_spanned!(name.span()=> Self::#name #turbofish)
    } else {
        quote_spanned!(name.span()=> __BgtaskWork::#name #turbofish)
    };
    let receiver = plan.receiver.iter();
    let receiver = receiver.map(|receiver| receiver.self_token.to_token_stream());
    let arguments = receiver.chain(plan.parameters.iter().map(|parameter| {
        let name = if parameter.is_token {
            token
        } else {
            &parameter.name
        };
        name.to_token_stream()
    }));
    match signature.asyncness {
        Some(_) => quote_spanned!(name.span()=> #function(#(#arguments),*)),
        // Not in a closure: that would be a lint of the user's.
        None if plan.parameters.is_empty() && plan.receiver.is_none() => function,
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
        let allow = lints_of_binding(parameter);
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
            Type::ImplTrait(_) => quote!(_),
            ty => ty.to_token_stream(),
        };
        quote_spanned! {at_name=>
            #(#attributes)*
            #allow
            let #pattern: #ty = #name;
        }
    });
    // Its statements rather than the block itself, which would be a block within a block.
    let body = plan.body.stream();
    let statements = quote_spanned!(at_name=> #receiver #(#rebind)*);
    let tell_output = tell_output(plan, output);
    match &plan.signature.asyncness {
        Some(asyncness) => quote_spanned! {at_name=>
            #asyncness move {
                #statements
                #tell_output
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

/// Tells the compiler what an `async` block is to return, which has no place to write it: what is wrong with the body is
/// then said in the body.
fn tell_output(plan: &Plan, output: &TokenStream) -> Option<TokenStream> {
    plan.signature.asyncness?;
    let ReturnType::Type(..) = &plan.signature.output else {
        return Some(quote! {
            if false {
                return;
            }
        });
    };
    let at = first_span(output);
    let private = plan.options.krate.private(at);
    Some(quote_spanned! {at=>
        if false {
            return #private::returned::<#output>();
        }
    })
}
