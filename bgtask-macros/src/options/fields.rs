//! `fields`: the values of a call that its function records, in the syntax of `tracing`.
//! Owns the syntax and its errors; knows nothing of how a value is recorded.

use crate::arguments::{Entry, Keyword};
use crate::tokens::plain_name;
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Expr, Token, parenthesized};

/// One value of a call.
pub(crate) struct Field {
    /// As the user writes it, with its dots: `order.id`.
    pub(crate) name: String,
    span: Span,
    pub(crate) form: Form,
    pub(crate) value: TokenStream,
}

/// How a value becomes a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `name = value`
    Plain,
    /// `name = %value`
    Display,
    /// `name = ?value`
    Debug,
    /// `name = redact(value)`
    Redacted,
}

pub(crate) const FIELDS: &[Keyword<Vec<Field>>] =
    &[Keyword::new("fields", EXAMPLE, |fields, entry| {
        *fields = read(entry)?;
        Ok(())
    })];

const EXAMPLE: &str = "fields(url = %url, order.id = order.id)";

/// The most fields of a function. A callsite of `tracing` has at most 32, and bgtask adds its own.
const MOST: usize = 16;

/// The fields that bgtask adds to the span of a task.
const OURS: &[&str] = &[
    "name",
    "id",
    "outcome",
    "otel.name",
    "otel.status_code",
    "otel.status_description",
];

fn read(entry: &Entry) -> syn::Result<Vec<Field>> {
    let tokens = entry.in_parentheses()?;
    if tokens.is_empty() {
        return Err(syn::Error::new(
            entry.key.span(),
            format!("`fields` names the values of a call to record: `{EXAMPLE}`"),
        ));
    }
    let fields = parse_all.parse2(tokens)?;
    let mut errors: Vec<syn::Error> = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let name = &field.name;
        let wrong = if OURS.contains(&&**name) {
            format!(
                "the span of a task has the field `{name}` already: write another name, such as `order.{name} = …`"
            )
        } else if fields[..index].iter().any(|other| other.name == *name) {
            format!("`{name}` is recorded twice")
        } else if index == MOST {
            format!("a function records at most {MOST} fields")
        } else {
            continue;
        };
        errors.push(syn::Error::new(field.span, wrong));
    }
    let mut errors = errors.into_iter();
    match errors.next() {
        None => Ok(fields),
        Some(mut first) => {
            first.extend(errors);
            Err(first)
        }
    }
}

fn parse_all(input: ParseStream<'_>) -> syn::Result<Vec<Field>> {
    let mut fields = Vec::new();
    while !input.is_empty() {
        fields.push(Field::parse(input)?);
        if !input.is_empty() && input.parse::<Token![,]>().is_err() {
            return Err(input.error("expected `,` between two fields"));
        }
    }
    Ok(fields)
}

impl Field {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let sigil = sigil(input)?;
        let span = input.span();
        let Ok((name, path)) = name(input) else {
            return Err(syn::Error::new(
                span,
                "expected the name of a field, such as `order.id = order.id`",
            ));
        };
        let field = |form, value| Self {
            name: name.clone(),
            span,
            form,
            value,
        };
        if let Some(form) = sigil {
            if input.peek(Token![=]) {
                let sign = if form == Form::Display { '%' } else { '?' };
                return Err(input.error(format!(
                    "`{sign}` stands before the value: `{name} = {sign}…`"
                )));
            }
            return Ok(field(form, path));
        }
        if input.is_empty() || input.peek(Token![,]) {
            return Ok(field(Form::Plain, path));
        }
        if input.parse::<Token![=]>().is_err() {
            return Err(input.error(format!("expected `=` and a value after `{name}`")));
        }
        let form = self::sigil(input)?;
        if input.is_empty() || input.peek(Token![,]) {
            return Err(syn::Error::new(
                span,
                format!(
                    "`{name}` needs a value: `{name} = value`, `{name} = %value` or `{name} = ?value`"
                ),
            ));
        }
        if let Some(redacted) = redacted(input)? {
            if form.is_some() {
                return Err(syn::Error::new(
                    span,
                    format!(
                        "`redact` records only the length of what `Display` writes: `{name} = redact(…)`"
                    ),
                ));
            }
            return Ok(field(Form::Redacted, redacted));
        }
        let value: Expr = input.parse()?;
        Ok(field(form.unwrap_or(Form::Plain), quote!(#value)))
    }
}

/// Parses `%` or `?`, if there is one.
fn sigil(input: ParseStream<'_>) -> syn::Result<Option<Form>> {
    Ok(if input.peek(Token![%]) {
        input.parse::<Token![%]>()?;
        Some(Form::Display)
    } else if input.peek(Token![?]) {
        input.parse::<Token![?]>()?;
        Some(Form::Debug)
    } else {
        None
    })
}

/// Parses a name with dots, and returns its tokens too, which are the value of a field without one.
fn name(input: ParseStream<'_>) -> syn::Result<(String, TokenStream)> {
    let first = Ident::parse_any(input)?;
    let (mut name, mut tokens) = (plain_name(&first), quote!(#first));
    while input.peek(Token![.]) {
        let dot: Token![.] = input.parse()?;
        let next = Ident::parse_any(input)?;
        name = format!("{name}.{}", plain_name(&next));
        tokens.extend(quote!(#dot #next));
    }
    Ok((name, tokens))
}

/// Parses `redact(value)`, if that is the whole value.
fn redacted(input: ParseStream<'_>) -> syn::Result<Option<TokenStream>> {
    let ahead = input.fork();
    let is_redact = ahead.parse::<Ident>().is_ok_and(|ident| ident == "redact");
    if !is_redact || !ahead.peek(syn::token::Paren) {
        return Ok(None);
    }
    input.parse::<Ident>()?;
    let inside;
    let parentheses = parenthesized!(inside in input);
    if inside.is_empty() {
        return Err(syn::Error::new(
            parentheses.span.join(),
            "`redact` takes the value whose length is recorded: `redact(card)`",
        ));
    }
    let value: Expr = inside.parse()?;
    if !inside.is_empty() {
        return Err(inside.error("`redact` takes one value"));
    }
    Ok(Some(quote!(#value)))
}
