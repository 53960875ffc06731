//! The annotated function as tokens: a parsed signature and a body that stays unparsed.
//! Knows nothing of what a background task or a `main` may look like.

pub(crate) mod attrs;

use crate::errors::Errors;
use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, GenericArgument, Pat, PathArguments, Signature, Type, Visibility};

/// One parameter of a background function.
pub(crate) struct Parameter {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) pattern: Pat,
    pub(crate) ty: Type,
    /// What the caller's side calls it.
    pub(crate) name: Ident,
    pub(crate) is_token: bool,
    pub(crate) is_state: bool,
}

impl Parameter {
    /// Whether the runtime fills it in.
    pub(crate) fn is_injected(&self) -> bool {
        self.is_token || self.is_state
    }
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
        let body = body(input.parse()?)?;
        Ok(Function {
            attributes,
            visibility,
            signature,
            body,
        })
    }
}

impl Function {
    /// Reads the function that the attribute stands on. `None` if it is none.
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

    /// Moves the inner attributes of the body to those of the function: a block that is not a function's body may not
    /// have any.
    fn hoist_inner_attributes(&mut self) -> syn::Result<()> {
        let Body {
            attributes,
            statements,
        } = syn::parse2(self.body.stream())?;
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

    /// Whether such an identifier stands anywhere in the signature or the body, also inside macro calls.
    pub(crate) fn mentions(&self, is_it: &impl Fn(&Ident) -> bool) -> bool {
        let signature = quote::ToTokens::to_token_stream(&self.signature);
        mentions(signature, is_it) || mentions(self.body.stream(), is_it)
    }

    /// Whether there may be items in the body. A keyword among its tokens is enough.
    pub(crate) fn body_mentions_items(&self) -> bool {
        mentions(self.body.stream(), &|ident| {
            ITEM_KEYWORDS.iter().any(|keyword| ident == keyword)
        })
    }
}

/// The braces, also from within the invisible group that a `$body:block` of a `macro_rules` puts around them.
fn body(token: TokenTree) -> syn::Result<Group> {
    let no_body = syn::Error::new(token.span(), "expected the function's body");
    match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Ok(group),
        TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
            group.stream().into_iter().next().map_or(Err(no_body), body)
        }
        _ => Err(no_body),
    }
}

struct Body {
    attributes: Vec<Attribute>,
    statements: TokenStream,
}

impl Parse for Body {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        Ok(Body {
            attributes: input.call(Attribute::parse_inner)?,
            statements: input.parse()?,
        })
    }
}

fn mentions(tokens: TokenStream, is_it: &impl Fn(&Ident) -> bool) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => is_it(&ident),
        TokenTree::Group(group) => mentions(group.stream(), is_it),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
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

/// What stands where a function was expected: why it is none, at the keyword that says what it is.
fn not_a_function(attribute: &str, item: TokenStream, error: syn::Error) -> syn::Error {
    let tokens: Vec<TokenTree> = item.into_iter().collect();
    let keyword = tokens.iter().position(|token| match token {
        TokenTree::Ident(ident) => ITEM_KEYWORDS.iter().any(|keyword| ident == keyword),
        _ => false,
    });
    if let Some(function) = keyword.and_then(|at| fn_keyword(&tokens[at..])) {
        return match tokens.last() {
            // Only its parser knows what is wrong with it.
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => error,
            _ => syn::Error::new(function.span(), has_no_body(attribute, &tokens)),
        };
    }
    let at = keyword.map_or(tokens.first(), |at| tokens.get(at));
    let span = at.map_or_else(Span::call_site, TokenTree::span);
    syn::Error::new(span, format!("`#[{attribute}]` goes on a function"))
}

/// Returns the error for a function without a body. Such a function most likely stands in a trait, so the error says what to
/// write there.
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

/// The `fn` of a function that begins here, with its own keyword or with one that may stand before it.
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

/// The type without the parentheses and the invisible groups of `macro_rules` around it.
pub(crate) fn peel(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            _ => return ty,
        }
    }
}

/// Whether the type is `State<_>`, by the last segment of its path too.
pub(crate) fn is_state(ty: &Type) -> bool {
    let Type::Path(path) = peel(ty) else {
        return false;
    };
    path.path.segments.last().is_some_and(|segment| {
        segment.ident == "State"
            && matches!(&segment.arguments, PathArguments::AngleBracketed(of) if of.args.len() == 1)
    })
}

/// Whether the type is `ShutdownToken`, by the last segment of its path: macros see names, not types.
pub(crate) fn is_token(ty: &Type) -> bool {
    ends_in(ty, "ShutdownToken")
}

/// Whether it is a `ShutdownToken` that somebody borrows or wraps instead of taking it.
pub(crate) fn is_token_wrapped(ty: &Type) -> bool {
    match peel(ty) {
        Type::Reference(reference) => {
            is_token(&reference.elem) || is_token_wrapped(&reference.elem)
        }
        Type::Path(path) => {
            let wraps = ["Arc", "Box", "Option", "Rc"]
                .iter()
                .any(|name| ends_in(ty, name));
            match path.path.segments.last().map(|last| &last.arguments) {
                Some(PathArguments::AngleBracketed(arguments)) if wraps => {
                    arguments.args.iter().any(|argument| match argument {
                        GenericArgument::Type(ty) => is_token(ty) || is_token_wrapped(ty),
                        _ => false,
                    })
                }
                _ => false,
            }
        }
        _ => false,
    }
}

/// Whether the type is a path, and this is its last segment.
fn ends_in(ty: &Type, name: &str) -> bool {
    match peel(ty) {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|segment| segment.ident == name),
        _ => false,
    }
}

/// Where the first of the tokens stands.
pub(crate) fn first_span(tokens: &TokenStream) -> Span {
    tokens
        .clone()
        .into_iter()
        .next()
        .map_or_else(Span::call_site, |token| token.span())
}
