//! The attempts of one call: each makes its work from copies of the arguments.
//! Knows nothing of when an attempt is made.

use super::parts::Parts;
use super::plan::Plan;
use crate::function::Parameter;
use crate::function::types::mentions_generics;
use crate::tokens::first_span;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Receiver, ReceiverKind};

// Output:
//     Attempts::<T>::once(future)
//     Attempts::<T>::once_blocking(move |token| { let work = closure; return work; })
//     Attempts::<T>::again(move |token| { let key = cloned(&key); let work = future; return work; })
//     Attempts::<T>::again_blocking(move |token| { let key = cloned(&key); let work = closure; return work; })
//
// and for a method, since `self` cannot be bound anew, but a closure that holds it can be copied:
//     { let attempt = move |token| { let work = future; return work; };
//       Attempts::<T>::again(move |token| Clone::clone(&attempt)(token)) }
pub(super) fn attempts(plan: &Plan, parts: Parts<'_>) -> TokenStream {
    let Parts {
        private,
        output,
        token,
        work,
        ..
    } = parts;
    let at_name = plan.signature.ident.span();
    let again = plan.options.policies.repeats();
    let constructor = match (plan.is_async(), again) {
        (true, true) => "again",
        (true, false) => {
            return quote_spanned!(at_name=> #private::Attempts::<#output>::once(#work));
        }
        (false, true) => "again_blocking",
        (false, false) => "once_blocking",
    };
    let constructor = Ident::new(constructor, at_name);
    let given = if plan.takes_token() {
        token.to_token_stream()
    } else {
        quote!(_)
    };
    // A statement of its own, so that the `allow` at the `return` does not apply to the user's code.
    let name = Ident::new("work", Span::mixed_site());
    let one = quote_spanned! {at_name=>
        let #name = #work;
        #[allow(clippy::needless_return)]
        return #name;
    };
    let parameters = plan.parameters.iter();
    let copied = parameters.filter(|parameter| again && !parameter.is_token);
    if let Some(receiver) = plan.receiver.as_ref().filter(|_| again) {
        let check_receiver = check_copied_receiver(plan, receiver);
        let checks = copied.map(|parameter| check_copied(plan, parameter));
        let attempt = Ident::new("attempt", Span::mixed_site());
        let token = Ident::new("token", Span::mixed_site());
        return quote_spanned! {at_name=> {
            #check_receiver
            #(#checks)*
            let #attempt = move |#given| { #one };
            #private::Attempts::<#output>::#constructor(move |#token| ::core::clone::Clone::clone(&#attempt)(#token))
        }};
    }
    let copies = copied.map(|parameter| {
        let (name, cfgs) = (&parameter.name, parameter.cfgs());
        let copy = copy(plan, parameter);
        quote_spanned! {at_name=>
            #(#cfgs)*
            #[allow(clippy::shadow_reuse, clippy::shadow_same, clippy::used_underscore_binding)]
            let #name = #copy;
        }
    });
    quote_spanned! {at_name=>
        #private::Attempts::<#output>::#constructor(move |#given| {
            #(#copies)*
            #one
        })
    }
}

/// Returns a copy of a parameter.
fn copy(plan: &Plan, parameter: &Parameter) -> TokenStream {
    let (name, ty) = (&parameter.name, &parameter.ty);
    // The compiler reports a missing `Clone` at the parameter's type.
    let at_type = first_span(&ty.to_token_stream());
    if mentions_generics(&plan.signature, ty) {
        // The compiler's message then best names the missing bound.
        quote_spanned!(at_type=> ::core::clone::Clone::clone(&#name))
    } else {
        let private = plan.options.krate.private(at_type);
        quote_spanned!(at_type=> #private::cloned(&#name))
    }
}

/// Has the compiler report a parameter that cannot be copied, in a closure that nobody calls.
fn check_copied(plan: &Plan, parameter: &Parameter) -> TokenStream {
    let (copy, cfgs) = (copy(plan, parameter), parameter.cfgs());
    let check = quote_spanned! {plan.signature.ident.span()=>
        #[allow(clippy::used_underscore_binding)]
        let _ = || #copy;
    };
    quote!(#(#cfgs)* #check)
}

/// Has the compiler report a receiver that cannot be copied. Mentions only its type, which rustc does not take for a borrow.
fn check_copied_receiver(plan: &Plan, receiver: &Receiver) -> TokenStream {
    let at_receiver = receiver.self_token.span;
    let private = plan.options.krate.private(at_receiver);
    let ty = match &receiver.kind {
        ReceiverKind::Typed(_, ty) => ty.to_token_stream(),
        _ => quote_spanned!(at_receiver=> Self),
    };
    quote_spanned! {at_receiver=>
        let _: ::core::option::Option<#private::Copied<#ty>> = ::core::option::Option::None;
    }
}
