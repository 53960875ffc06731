//! The annotated function: a parsed signature, and a body that stays as tokens.
//! Knows nothing of the rules for a background task or a `main`.

pub(crate) mod attrs;
pub(crate) mod types;

use crate::errors::Errors;
use crate::tokens::{braces, mentions};
use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Attribute, FnArg, Pat, Receiver, Signature, Type, Visibility};

/// One parameter of a background function.
pub(crate) struct Parameter {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) pattern: Pat,
    pub(crate) ty: Type,
    /// Its name in the signature that callers see.
    pub(crate) name: Ident,
    pub(crate) is_token: bool,
    pub(crate) is_state: bool,
    /// The job that an attempt of a durable function runs.
    pub(crate) is_job: bool,
}

impl Parameter {
    /// Returns whether the runtime fills it in.
    pub(crate) fn is_injected(&self) -> bool {
        self.is_token || self.is_state || self.is_job
    }

    /// Returns the `cfg`s on it.
    pub(crate) fn cfgs(&self) -> Vec<&Attribute> {
        attrs::cfgs(&self.attributes).collect()
    }
}

/// Returns the name of a parameter for messages.
pub(crate) fn display_pattern(pattern: &Pat) -> String {
    match pattern {
        Pat::Ident(ident) => format!("`{}`", ident.ident),
        _ => "this parameter".to_owned(),
    }
}

/// The declaration of a background function, for rules about it.
pub(crate) struct Declaration<'f> {
    pub(crate) signature: &'f Signature,
    pub(crate) receiver: Option<&'f Receiver>,
    pub(crate) parameters: &'f [Parameter],
    /// Whether `Self` occurs in the signature or the body.
    pub(crate) mentions_self: bool,
}

pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: Group,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let signature: Signature = input.parse()?;
        let body: TokenTree = input.parse()?;
        let no_body = || syn::Error::new(body.span(), "expected the function's body");
        let body = braces(&body).ok_or_else(no_body)?;
        Ok(Function {
            attributes,
            visibility,
            signature,
            body,
        })
    }
}

impl Function {
    /// Parses the function under the attribute. Returns `None` if the item is not a function.
    pub(crate) fn read(attribute: &str, item: &TokenStream, errors: &mut Errors) -> Option<Self> {
        let mut function: Self = match syn::parse2(item.clone()) {
            Ok(function) => function,
            Err(error) => {
                errors.push(not_a_function(attribute, item.clone(), error));
                return None;
            }
        };
        if let Err(error) = function.hoist_inner_attributes() {
            errors.push(error);
        }
        Some(function)
    }

    /// Moves the inner attributes of the body to the function: a block that is not the body of a function cannot have any.
    fn hoist_inner_attributes(&mut self) -> syn::Result<()> {
        let parts = |input: ParseStream<'_>| {
            Ok((
                input.call(Attribute::parse_inner)?,
                input.parse::<TokenStream>()?,
            ))
        };
        let (attributes, statements) = parts.parse2(self.body.stream())?;
        if attributes.is_empty() {
            return Ok(());
        }
        self.attributes
            .extend(attributes.into_iter().map(|attribute| Attribute {
                style: syn::AttrStyle::Outer,
                ..attribute
            }));
        let span = self.body.span();
        self.body = Group::new(Delimiter::Brace, statements);
        self.body.set_span(span);
        Ok(())
    }

    /// Returns whether such an identifier stands anywhere in the signature or the body, also inside macro calls.
    pub(crate) fn mentions(&self, is_it: &impl Fn(&Ident) -> bool) -> bool {
        mentions(self.signature.to_token_stream(), is_it) || mentions(self.body.stream(), is_it)
    }

    /// Returns whether the body may contain items: a keyword among its tokens is enough.
    pub(crate) fn body_mentions_items(&self) -> bool {
        mentions(self.body.stream(), &is_item_keyword)
    }
}

const ITEM_KEYWORDS: [&str; 13] = [
    "const",
    "enum",
    "extern",
    "fn",
    "impl",
    "macro_rules",
    "mod",
    "static",
    "struct",
    "trait",
    "type",
    "union",
    "use",
];

fn is_item_keyword(ident: &Ident) -> bool {
    ITEM_KEYWORDS.iter().any(|keyword| ident == keyword)
}

/// Mentions, in the body of a stub, the types of the parameters that it may not have: so no import of theirs seems unused.
pub(crate) fn mention_types(signature: &Signature) -> TokenStream {
    let types = signature.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(typed) if types::is_plain(&typed.ty) => {
            let cfgs = attrs::cfgs(&typed.attrs);
            let ty = &typed.ty;
            Some(quote!(#(#cfgs)* let _ = |_: #ty| {};))
        }
        _ => None,
    });
    types.collect()
}

/// Returns the error for an item that is not a function, at its keyword.
fn not_a_function(attribute: &str, item: TokenStream, error: syn::Error) -> syn::Error {
    let tokens: Vec<TokenTree> = item.into_iter().collect();
    let keyword = tokens
        .iter()
        .position(|token| matches!(token, TokenTree::Ident(ident) if is_item_keyword(ident)));
    if let Some(function) = keyword.and_then(|at| fn_keyword(&tokens[at..])) {
        return match tokens.last() {
            // Only the parser knows what is wrong with this function.
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => error,
            _ => syn::Error::new(function.span(), has_no_body(attribute, &tokens)),
        };
    }
    let at = keyword.map_or(tokens.first(), |at| tokens.get(at));
    let span = at.map_or_else(Span::call_site, TokenTree::span);
    syn::Error::new(span, format!("`#[{attribute}]` goes on a function"))
}

/// Returns the error for a function without a body. Such a function is most likely in a trait, so the error shows how to
/// declare it there.
fn has_no_body(attribute: &str, tokens: &[TokenTree]) -> String {
    let mut message = format!("`#[{attribute}]` goes on a function that has a body");
    let mut pairs = tokens.iter().zip(tokens.iter().skip(1));
    let name = pairs.find_map(|pair| match pair {
        (TokenTree::Ident(keyword), TokenTree::Ident(name)) if keyword == "fn" => Some(name),
        _ => None,
    });
    if let (Some(name), "background") = (name, attribute) {
        message += &format!(
            "; in a trait write `fn {name}(…) -> TaskHandle<…>;` without it, and put it on the method in each `impl`"
        );
    }
    message
}

/// Returns the `fn` of a function that begins here, with `fn` itself or with a keyword that may precede it.
fn fn_keyword(tokens: &[TokenTree]) -> Option<&Ident> {
    const BEFORE_IT: [&str; 5] = ["async", "const", "extern", "safe", "unsafe"];
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if ident == "fn" => return Some(ident),
            TokenTree::Ident(ident) if BEFORE_IT.iter().any(|keyword| ident == keyword) => {}
            TokenTree::Literal(_) => {}
            _ => return None,
        }
    }
    None
}
