//! The work of a task: the user's function, verbatim, and its call, or the user's code in a block.
//! Knows nothing of how it is started.

use super::plan::{Form, Plan};
use crate::function::types::{generic_names, is_generic};
use crate::function::{Parameter, attrs};
use crate::tokens::{first_span, plain_name};
use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Pat, ReturnType, Type};

/// Returns the user's function, verbatim, in a type of its own. For a block or a method, returns only that type, whose name
/// contains the path of the function.
pub(super) fn item(plan: &Plan) -> TokenStream {
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
    let attributes = &attributes.work;
    // The function around it already gets the warning about dead code. An `allow` would apply to the items within as well, so
    // where there are some, the function is mentioned instead, if that is possible without naming types.
    let (allow, mention) = if plan.has_items && !is_generic(signature) {
        let mention = quote!(const _: () = { let _ = __BgtaskWork::#name; };);
        (None, Some(mention))
    } else {
        (Some(quote!(dead_code,)), None)
    };
    quote_spanned! {name.span()=>
        enum __BgtaskWork {}
        impl __BgtaskWork {
            #(#attributes)*
            // The attribute rules these suggestions out, or they apply to every background function.
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
pub(super) fn hidden_method(plan: &Plan) -> TokenStream {
    let Plan {
        body, attributes, ..
    } = plan;
    let name = &plan.signature.ident;
    let for_both = attributes.call.iter();
    let for_both = for_both.filter(|attribute| attrs::reaches_body(&attribute.meta));
    let for_work = attributes.work.iter();
    let for_work = for_work.map(|attribute| attrs::named_after(attribute, name));
    let mut signature = plan.signature.clone();
    signature.ident = hidden_name(name);
    quote_spanned! {name.span()=>
        #(#for_both)*
        #(#for_work)*
        // For the reasons given in `item`.
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
    // It sorts after the original name, for users who keep their methods in order.
    Ident::new(&format!("{}_bgtask_body", plain_name(name)), name.span())
}

/// Returns the future or the closure that runs.
pub(super) fn work(plan: &Plan, token: &Ident, output: &TokenStream) -> TokenStream {
    match plan.form {
        Form::Function | Form::Method => call_of_function(plan, token),
        Form::Block => block(plan, token, output),
    }
}

// Output:  __BgtaskWork::name::<T>(token, key)  or  move || __BgtaskWork::name::<T>(token, key)
fn call_of_function(plan: &Plan, token: &Ident) -> TokenStream {
    let signature = &plan.signature;
    let name = &signature.ident;
    // The generics are named, since the arguments may not determine them. There are no lifetimes among them.
    let generics: Vec<_> = generic_names(signature).collect();
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
    if plan.is_async() {
        quote_spanned!(name.span()=> #function(#(#arguments),*))
    } else if plan.parameters.is_empty() && plan.receiver.is_none() {
        // Clippy would report a closure around it.
        function
    } else {
        quote_spanned!(name.span()=> move || #function(#(#arguments),*))
    }
}

// Output:  async move { let key = key; … }  or  move || -> T { let key = key; … }
fn block(plan: &Plan, token: &Ident, output: &TokenStream) -> TokenStream {
    let at_name = plan.signature.ident.span();
    // The block must capture every parameter: one that the body never names would be dropped before the task starts.
    let receiver = plan.receiver.as_ref().map(|receiver| {
        let receiver = &receiver.self_token;
        quote_spanned!(at_name=> let _ = &#receiver;)
    });
    let rebind = plan.parameters.iter().map(|parameter| {
        let allow = lints_of_binding(parameter);
        let (attributes, pattern) = (&parameter.attributes, &parameter.pattern);
        let name = if parameter.is_token {
            token
        } else {
            &parameter.name
        };
        let ty = match &parameter.ty {
            // A `let` cannot have an `impl Trait`, and the compiler knows the type of the value.
            Type::ImplTrait(_) => quote!(_),
            ty => ty.to_token_stream(),
        };
        quote_spanned! {at_name=>
            #(#attributes)*
            #allow
            let #pattern: #ty = #name;
        }
    });
    // The statements rather than the block itself, which would be a block within a block.
    let body = plan.body.stream();
    let statements = quote_spanned!(at_name=> #receiver #(#rebind)*);
    match &plan.signature.asyncness {
        Some(asyncness) => {
            let fix_output = fix_output(plan, output);
            quote_spanned! {at_name=>
                #asyncness move {
                    #statements
                    #fix_output
                    #body
                }
            }
        }
        None => quote_spanned! {at_name=>
            move || -> #output {
                #statements
                #body
            }
        },
    }
}

/// Returns a statement that fixes the output of an `async` block, which cannot declare one: so the compiler reports a wrong
/// output in the body.
fn fix_output(plan: &Plan, output: &TokenStream) -> TokenStream {
    if let ReturnType::Default = plan.signature.output {
        return quote! {
            if false {
                return;
            }
        };
    }
    let at = first_span(output);
    let private = plan.options.krate.private(at);
    quote_spanned! {at=>
        if false {
            return #private::returned::<#output>();
        }
    }
}

/// Returns the `allow` for the statement that binds a parameter anew, under its own name.
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

/// Returns the lints to allow where the work is named. They are meant for users of a name with an underscore, and there the
/// macro is the user.
pub(super) fn lints_of_underscores(plan: &Plan) -> TokenStream {
    if plan.form == Form::Block {
        // The code there names nothing of the user's.
        return TokenStream::new();
    }
    let item = starts_with_underscore(&plan.signature.ident)
        .then(|| quote!(clippy::used_underscore_items,));
    let mut parameters = plan.parameters.iter();
    let parameter = parameters
        .any(|parameter| !parameter.is_token && starts_with_underscore(&parameter.name))
        .then(|| quote!(clippy::used_underscore_binding,));
    quote!(#item #parameter)
}

fn starts_with_underscore(name: &Ident) -> bool {
    name.to_string().starts_with('_')
}
