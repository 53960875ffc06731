//! The kind of a block's work, by its first and last tokens, and the parameters of a closure.
//! Passes the tokens of a body on unchanged, and knows nothing of options.

use crate::function::types::{is_state, is_token};
use crate::tokens::{braces, first_span};
use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Attribute, Block, Expr, Pat, ReturnType, Token, Type};

/// The work of one call.
pub(super) enum Work {
    /// A future: an `async` block, or any other expression.
    Future {
        tokens: TokenStream,
        /// The `async` block, if the future is one: it can be made anew.
        block: Option<AsyncBlock>,
    },
    /// A closure that makes a future.
    Makes(Closure),
    /// A closure that runs on the blocking pool.
    Blocks(Closure),
}

/// An `async` block, possibly at the end of another block.
pub(super) struct AsyncBlock {
    pub(super) around: Option<Around>,
    pub(super) tokens: TokenStream,
}

/// The block around the work with the statements that precede it, as in `{ let x = x.clone(); move || … }`. The caller runs
/// them.
pub(super) struct Around {
    statements: TokenStream,
    span: Span,
}

impl Around {
    /// Returns the block, with `work` at its end.
    pub(super) fn wrap(around: Option<&Self>, work: TokenStream) -> TokenStream {
        let Some(Self { statements, span }) = around else {
            return work;
        };
        let mut block = Group::new(Delimiter::Brace, quote::quote!(#statements #work));
        block.set_span(*span);
        TokenTree::from(block).into()
    }
}

pub(super) struct Closure {
    around: Option<Around>,
    /// The tokens before the first bar: `async move`.
    head: TokenStream,
    bars: [Token![|]; 2],
    pub(super) parameters: Vec<ClosureParameter>,
    /// The tokens after the second bar: the output and the body.
    behind: TokenStream,
}

impl Closure {
    /// Puts braces around a body such as that of `|| work()`. Clippy would have its user write `work` instead, which is no closure.
    fn with_braces(self) -> Self {
        let body: Vec<TokenTree> = self.behind.clone().into_iter().collect();
        let is_call = match &body[..] {
            [_, .., TokenTree::Group(last)] => {
                last.delimiter() == Delimiter::Parenthesis && last.stream().is_empty()
            }
            _ => false,
        };
        if !is_call {
            return self;
        }
        let mut block = Group::new(Delimiter::Brace, self.behind.clone());
        block.set_span(self.body_span());
        Self {
            behind: TokenTree::from(block).into(),
            ..self
        }
    }
}

pub(super) struct ClosureParameter {
    attributes: Vec<Attribute>,
    pub(super) pattern: Pat,
    pub(super) ty: Option<Type>,
}

impl ClosureParameter {
    pub(super) fn is_state(&self) -> bool {
        self.ty.as_ref().is_some_and(is_state)
    }

    pub(super) fn is_token(&self) -> bool {
        self.ty.as_ref().is_none_or(is_token)
    }
}

impl Work {
    pub(super) fn read(work: TokenStream) -> syn::Result<Self> {
        let work = peel(work);
        let (around, inner) = match split_block(&work) {
            Some((around, inner)) => (Some(around), inner),
            None => (None, work.clone()),
        };
        let tokens: Vec<TokenTree> = inner.clone().into_iter().collect();
        if begins_closure(&tokens) {
            let closure = Closure::parse.parse2(inner)?;
            let closure = Closure { around, ..closure };
            return Ok(
                if closure.is_async() || ends_in_async_block(&closure.behind) {
                    Work::Makes(closure)
                } else {
                    Work::Blocks(closure.with_braces())
                },
            );
        }
        let is_block = async_block_at(&tokens) == Some(tokens.len());
        if !is_block {
            check_expression.parse2(work.clone())?;
        }
        let tokens = inner;
        Ok(Work::Future {
            tokens: work,
            block: is_block.then_some(AsyncBlock { around, tokens }),
        })
    }

    /// Returns where the work begins.
    pub(super) fn span(&self) -> Span {
        match self {
            Work::Future { tokens, .. } => first_span(tokens),
            Work::Makes(closure) | Work::Blocks(closure) => {
                if closure.head.is_empty() {
                    closure.bars[0].spans[0]
                } else {
                    first_span(&closure.head)
                }
            }
        }
    }
}

/// Checks that the input is one expression.
fn check_expression(input: ParseStream<'_>) -> syn::Result<()> {
    input.parse::<Expr>()?;
    check_is_empty(input)
}

/// Checks that the input is the type of an output and a block.
fn check_output(input: ParseStream<'_>) -> syn::Result<()> {
    input.parse::<ReturnType>()?;
    input.parse::<Block>()?;
    check_is_empty(input)
}

fn check_is_empty(input: ParseStream<'_>) -> syn::Result<()> {
    if input.is_empty() {
        return Ok(());
    }
    let span = input.span();
    // This is an error already, so the rest is skipped.
    input.parse::<TokenStream>()?;
    Err(not_one(span))
}

fn not_one(span: Span) -> syn::Error {
    syn::Error::new(
        span,
        "`spawn!` runs one future or one closure, which ends before this",
    )
}

impl Closure {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut head = TokenStream::new();
        while !input.peek(Token![|]) {
            // `async` or `move`.
            input.parse::<TokenTree>()?.to_tokens(&mut head);
        }
        let first = input.parse()?;
        let mut parameters = Punctuated::<ClosureParameter, Token![,]>::new();
        while !input.peek(Token![|]) {
            parameters.push_value(input.parse()?);
            if input.peek(Token![|]) {
                break;
            }
            parameters.push_punct(input.parse()?);
        }
        let second = input.parse()?;
        let closure = Self {
            around: None,
            head,
            bars: [first, second],
            parameters: parameters.into_iter().collect(),
            behind: input.parse()?,
        };
        closure.check_end()?;
        Ok(closure)
    }

    /// Checks that nothing follows the body. A body that is a block is not parsed.
    fn check_end(&self) -> syn::Result<()> {
        let behind: Vec<TokenTree> = self.behind.clone().into_iter().collect();
        let is_block = |body: &TokenTree| braces(body).is_some();
        match &behind[..] {
            [] => Err(syn::Error::new(
                self.bars[1].spans[0],
                "this closure has no body",
            )),
            [body] if is_block(body) => Ok(()),
            all if async_block_at(all) == Some(all.len()) => Ok(()),
            // The type of the output, and a block.
            [.., body] if starts_with_arrow(&behind) && is_block(body) => Ok(()),
            _ if starts_with_arrow(&behind) => check_output.parse2(self.behind.clone()),
            _ => check_expression.parse2(self.behind.clone()),
        }
    }

    fn is_async(&self) -> bool {
        let mut head = self.head.clone().into_iter();
        matches!(head.next(), Some(TokenTree::Ident(keyword)) if keyword == "async")
    }

    /// Returns whether a call of the closure runs none of the user's code: all of it is in the future.
    pub(super) fn makes_at_once(&self) -> bool {
        let body: Vec<TokenTree> = peel(self.behind.clone()).into_iter().collect();
        self.is_async() || async_block_at(&body) == Some(body.len())
    }

    /// Returns where the body begins.
    pub(super) fn body_span(&self) -> Span {
        let behind: Vec<TokenTree> = self.behind.clone().into_iter().collect();
        match &behind[..] {
            [.., body] if starts_with_arrow(&behind) => body.span(),
            _ => first_span(&self.behind),
        }
    }

    pub(super) fn token(&self) -> Option<&ClosureParameter> {
        self.parameters
            .iter()
            .find(|parameter| parameter.is_token())
    }

    /// Returns the types of the states that the runtime fills in.
    pub(super) fn states(&self) -> impl Iterator<Item = &Type> {
        let types = self
            .parameters
            .iter()
            .filter_map(|parameter| parameter.ty.as_ref());
        types.filter(|ty| is_state(ty))
    }

    /// Returns the closure with the type of its token, if the user left that out.
    pub(super) fn to_tokens(&self, token: &TokenStream) -> TokenStream {
        let Self {
            head,
            bars: [first, second],
            behind,
            ..
        } = self;
        let parameters = self.parameters.iter().map(|parameter| {
            let ClosureParameter {
                attributes,
                pattern,
                ty,
            } = parameter;
            let ty = ty
                .as_ref()
                .map_or_else(|| token.clone(), ToTokens::to_token_stream);
            quote::quote!(#(#attributes)* #pattern: #ty)
        });
        let closure = quote::quote!(#head #first #(#parameters),* #second #behind);
        Around::wrap(self.around.as_ref(), closure)
    }
}

impl Parse for ClosureParameter {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        Ok(Self {
            attributes: input.call(Attribute::parse_outer)?,
            pattern: Pat::parse_single(input)?,
            ty: match input.parse::<Option<Token![:]>>()? {
                Some(_) => Some(input.parse()?).filter(|ty| !matches!(ty, Type::Infer(_))),
                None => None,
            },
        })
    }
}

/// Returns the tokens without the invisible group that a `$work:expr` of a `macro_rules!` puts around them.
fn peel(work: TokenStream) -> TokenStream {
    let mut tokens = work.clone().into_iter();
    match (tokens.next(), tokens.next()) {
        (Some(TokenTree::Group(group)), None) if group.delimiter() == Delimiter::None => {
            peel(group.stream())
        }
        _ => work,
    }
}

/// Splits a block before its last expression, if that is a closure or an `async` block, and follows a `;` or stands alone.
fn split_block(work: &TokenStream) -> Option<(Around, TokenStream)> {
    let mut tokens = work.clone().into_iter();
    let (first, second) = (tokens.next()?, tokens.next());
    let block = braces(&first).filter(|_| second.is_none())?;
    let inside: Vec<TokenTree> = block.stream().into_iter().collect();
    let ends_statement =
        |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ';');
    let from = inside
        .iter()
        .rposition(ends_statement)
        .map_or(0, |at| at + 1);
    let last = peel(inside[from..].iter().cloned().collect());
    let tokens: Vec<TokenTree> = last.clone().into_iter().collect();
    if !begins_closure(&tokens) && async_block_at(&tokens) != Some(tokens.len()) {
        return None;
    }
    let around = Around {
        statements: inside[..from].iter().cloned().collect(),
        span: block.span(),
    };
    Some((around, last))
}

/// Returns whether the tokens begin with `|`, `move |`, `async |` or `async move |`.
fn begins_closure(tokens: &[TokenTree]) -> bool {
    let mut tokens = tokens.iter().skip_while(|token| {
        matches!(token, TokenTree::Ident(keyword) if keyword == "async" || keyword == "move")
    });
    matches!(tokens.next(), Some(TokenTree::Punct(punct)) if punct.as_char() == '|')
}

/// Returns whether a closure returns an `async` block: as its body, or at the end of its body.
fn ends_in_async_block(behind: &TokenStream) -> bool {
    let tokens: Vec<TokenTree> = behind.clone().into_iter().collect();
    if async_block_at(&tokens).is_some() {
        return true;
    }
    let Some(TokenTree::Group(last)) = tokens.last() else {
        return false;
    };
    match braces(&tokens[tokens.len() - 1]) {
        Some(_) if ends_with_async_block(&tokens) => true,
        // The body is this block, possibly after the type of the output.
        Some(body) if tokens.len() == 1 || starts_with_arrow(&tokens) => {
            let statements: Vec<TokenTree> = body.stream().into_iter().collect();
            ends_in_async_block(&body.stream()) || ends_with_async_block(&statements)
        }
        None if tokens.len() == 1 && last.delimiter() == Delimiter::None => {
            ends_in_async_block(&last.stream())
        }
        _ => false,
    }
}

/// Returns whether the last tokens are an `async` block.
fn ends_with_async_block(tokens: &[TokenTree]) -> bool {
    (1..=3).any(|count| {
        let from = tokens.len().checked_sub(count);
        from.is_some_and(|from| async_block_at(&tokens[from..]) == Some(count))
    })
}

fn starts_with_arrow(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Punct(dash), TokenTree::Punct(tip), ..] if dash.as_char() == '-' && tip.as_char() == '>')
}

/// Returns the number of tokens of the `async` block that these begin with, or `None` if they begin with something else.
fn async_block_at(tokens: &[TokenTree]) -> Option<usize> {
    match tokens {
        [TokenTree::Ident(keyword), rest @ ..] if keyword == "async" => {
            let skipped = usize::from(
                matches!(rest.first(), Some(TokenTree::Ident(keyword)) if keyword == "move"),
            );
            let is_block = rest.get(skipped).and_then(braces).is_some();
            is_block.then_some(2 + skipped)
        }
        _ => None,
    }
}
