//! The annotated function as tokens: a parsed signature and a body that stays unparsed.
//! Knows nothing of what a background task or a `main` may look like.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Signature, Type, Visibility};

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
    /// Moves the inner attributes of the body to those of the function: a block that is not a function's body may not
    /// have any.
    pub(crate) fn hoist_inner_attributes(&mut self) -> syn::Result<()> {
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

    /// Whether the identifier stands anywhere in the signature or the body, also inside macro calls.
    pub(crate) fn mentions(&self, identifier: &str) -> bool {
        let signature = quote::ToTokens::to_token_stream(&self.signature);
        mentions(signature, identifier) || mentions(self.body.stream(), identifier)
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

fn mentions(tokens: TokenStream, identifier: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == identifier,
        TokenTree::Group(group) => mentions(group.stream(), identifier),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

/// What stands where a function was expected: why it is none, at the keyword that says what it is.
pub(crate) fn not_a_function(attribute: &str, item: TokenStream) -> syn::Error {
    const KEYWORDS: [&str; 13] = [
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
    let keywords: Vec<_> = item
        .into_iter()
        .filter_map(|token| match token {
            TokenTree::Ident(ident) if KEYWORDS.iter().any(|keyword| ident == keyword) => {
                Some(ident)
            }
            _ => None,
        })
        .collect();
    if let Some(keyword) = keywords.iter().find(|keyword| *keyword == "fn") {
        return syn::Error::new(
            keyword.span(),
            format!("`#[{attribute}]` goes on a function that has a body"),
        );
    }
    let span = keywords
        .first()
        .map_or_else(Span::call_site, proc_macro2::Ident::span);
    syn::Error::new(span, format!("`#[{attribute}]` goes on a function"))
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
            && matches!(&segment.arguments, syn::PathArguments::AngleBracketed(of) if of.args.len() == 1)
    })
}

/// Whether the type is `ShutdownToken`, by the last segment of its path: macros see names, not types.
pub(crate) fn is_token(ty: &Type) -> bool {
    match peel(ty) {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|segment| segment.ident == "ShutdownToken"),
        _ => false,
    }
}
