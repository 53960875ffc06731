//! The fields of a call: their names in the function's static, and the statement that records their values.
//! Knows the names in `__private` and nothing of their behaviour.

use super::parts::borrows_of;
use super::plan::Plan;
use crate::options::fields::Form;
use crate::tokens::first_span;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};

// Output:
//     fields: Some(FieldSpec {
//         names: &["url", "order.id"],
//         span: |span| new_span!(span.name, span.id, "url" = span.value(0), "order.id" = span.value(1)),
//     })
//
/// Returns the field of the policies' static that lists the fields, as `name: value`.
pub(super) fn field(plan: &Plan, private: &TokenStream) -> Option<TokenStream> {
    let fields = &plan.options.fields;
    if fields.is_empty() {
        return None;
    }
    let names: Vec<_> = fields.iter().map(|field| &*field.name).collect();
    let span = Ident::new("span", Span::mixed_site());
    let index = 0..names.len();
    Some(quote! {
        fields: ::core::option::Option::Some(#private::FieldSpec {
            names: &[#(#names),*],
            span: |#span| #private::new_span!(#span.name, #span.id #(, #names = #span.value(#index))*),
        })
    })
}

// Output:
//     let fields = { let url = &url; record(&__BGTASK_POLICIES.fields, &[&|to| to.display(&(url))]) };
//
/// Returns the name of the values, and the statement that records them.
pub(super) fn record(plan: &Plan, private: &TokenStream) -> Option<(Ident, TokenStream)> {
    let fields = &plan.options.fields;
    if fields.is_empty() {
        return None;
    }
    let local = |name: &str| Ident::new(name, Span::mixed_site());
    let (name, to) = (local("fields"), local("to"));
    let each = fields.iter().map(|field| {
        let value = &field.value;
        // The compiler reports there why a value cannot be recorded.
        let at_value = first_span(value);
        let method = match field.form {
            Form::Plain => "value",
            Form::Display => "display",
            Form::Debug => "debug",
            Form::Redacted => "redact",
        };
        let method = Ident::new(method, at_value);
        quote_spanned!(at_value=> &|#to: &mut #private::FieldWriter| #to.#method(&(#value)))
    });
    let borrows = borrows_of(plan);
    let statement = quote! {
        let #name = {
            #borrows
            #private::record(&__BGTASK_POLICIES.fields, &[#(#each),*])
        };
    };
    Some((name, statement))
}
