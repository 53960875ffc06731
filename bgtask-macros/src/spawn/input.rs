//! The arguments of `spawn!`, split into their parts: the crate, the group, the name, the options, the work.
//! Knows where each part ends, and nothing of its content.

use crate::errors::Errors;
use crate::options::task::has_option;
use crate::tokens::first_span;
use proc_macro2::{Delimiter, Group, Ident, Literal, Span, TokenStream, TokenTree};
use syn::Expr;
use syn::parse::{ParseStream, Parser};

/// The parts of one call.
pub(super) struct Input {
    /// The path of the `bgtask` crate.
    pub(super) krate: TokenStream,
    pub(super) group: Option<TokenStream>,
    pub(super) name: TokenStream,
    pub(super) options: TokenStream,
    pub(super) work: TokenStream,
}

const GROUP_FIRST: &str = "the group comes before the name: `spawn!(in &group, \"sync\", …)`";

const FORM: &str = r#"`spawn!("refresh cache", async move { … })`"#;

impl Input {
    /// Splits the tokens. Returns `None` if there is no work among them.
    pub(super) fn read(tokens: TokenStream, errors: &mut Errors) -> Option<Self> {
        let mut tokens = tokens.into_iter();
        // The `macro_rules!` around this macro passes the crate, a `;` and the user's tokens.
        let krate = tokens
            .by_ref()
            .take_while(|token| !is(token, ';'))
            .collect();
        let mut rest: Vec<TokenTree> = tokens.collect();
        if rest.is_empty() {
            errors.at(
                Span::call_site(),
                format!("`spawn!` takes a name and what to run: {FORM}"),
            );
            return None;
        }
        let group = take_group(&mut rest, errors);
        let name = take_name(&mut rest, errors);
        let at_name = first_span(&name);
        let options = take_options(&mut rest, errors);
        let work = take_work(rest, errors);
        if work.is_empty() {
            let at = options.clone().into_iter().next();
            errors.at(
                at.map_or(at_name, |token| token.span()),
                "nothing to run: the last argument is a future or a closure, such as `async move { … }`",
            );
            return None;
        }
        Some(Self {
            krate,
            group,
            name,
            options,
            work: work.into_iter().collect(),
        })
    }
}

/// Takes `in &group,`.
fn take_group(rest: &mut Vec<TokenTree>, errors: &mut Errors) -> Option<TokenStream> {
    let keyword = match rest.first() {
        Some(TokenTree::Ident(ident)) if ident == "in" => ident.span(),
        Some(TokenTree::Ident(ident)) if ident == "group" && sets_something(rest) => {
            errors.at(
                ident.span(),
                "a group stands behind `in`: `spawn!(in &group, \"sync\", …)`",
            );
            rest.drain(..(comma(rest) + 1).min(rest.len()));
            return None;
        }
        _ => return None,
    };
    let end = comma(rest);
    let is_literal = |token: &TokenTree| matches!(token, TokenTree::Literal(_));
    if let Some(name) = rest[1..end].iter().position(is_literal)
        && name > 0
        && names_variable(&rest[1..=name])
    {
        errors.at(rest[name + 1].span(), "expected `,` after the group");
        rest.drain(..=name);
        return None;
    }
    let group: TokenStream = rest[1..end].iter().cloned().collect();
    rest.drain(..(end + 1).min(rest.len()));
    if group.is_empty() {
        errors.at(
            keyword,
            "`in` is followed by a group: `spawn!(in &group, \"sync\", …)`",
        );
        return None;
    }
    match syn::parse2::<Expr>(group.clone()) {
        Ok(_) => Some(group),
        Err(_) => {
            errors.at(
                first_span(&group),
                "expected a group: `spawn!(in &group, \"sync\", …)`",
            );
            None
        }
    }
}

/// Takes the name and the comma after it. Returns a placeholder if the name is missing or wrong.
fn take_name(rest: &mut Vec<TokenTree>, errors: &mut Errors) -> TokenStream {
    let placeholder = || TokenTree::from(Literal::string("unnamed")).into();
    let end = comma(rest);
    let Some(first) = rest.first() else {
        return placeholder();
    };
    let at = first.span();
    let comes_first = |errors: &mut Errors| {
        errors.at(at, format!("the name comes first: {FORM}"));
        placeholder()
    };
    if begins_work(first) {
        drop_name_behind(rest);
        return comes_first(errors);
    }
    if option_at(rest).is_some_and(|option| option != "name") {
        return comes_first(errors);
    }
    if option_at(rest).is_some() {
        errors.at(
            at,
            "the name is the first argument, without `name =`: `spawn!(\"sync\", …)`",
        );
        let name = rest[2..end].iter().cloned().collect::<TokenStream>();
        rest.drain(..(end + 1).min(rest.len()));
        return if name.is_empty() { placeholder() } else { name };
    }
    match &rest[..end] {
        [TokenTree::Literal(_), next, ..] if !is(next, '.') => {
            // The error about a group is reported where the group is dropped.
            if !is_in(next) {
                errors.at(next.span(), "expected `,` after the name");
            }
            return rest.remove(0).into();
        }
        [TokenTree::Literal(literal)] if literal.to_string() == "\"\"" => {
            errors.at(at, "the name must not be empty");
        }
        name if end < rest.len() && names_variable(name) => {
            let behind = &rest[end + 1..];
            let is_group = matches!(behind.first(), Some(TokenTree::Literal(_)))
                || option_at(behind).is_some_and(|option| option == "name");
            rest.drain(..=end);
            if is_group {
                errors.at(
                    at,
                    "the name comes first, and a group before it stands behind `in`: `spawn!(in &group, \"sync\", …)`",
                );
                return take_name(rest, errors);
            }
            errors.at(
                at,
                "the name is a const expression, since it is known before the call is made: write it as a string, or name a \
                 `const`",
            );
            return placeholder();
        }
        [TokenTree::Ident(format), ..] if format == "format" => {
            errors.at(
                at,
                "the name is a const expression, the same for each call: what differs belongs in an event or a span",
            );
            rest.drain(..(end + 1).min(rest.len()));
            return placeholder();
        }
        // The only argument is not a name, so it is the work.
        [..] if end >= rest.len() && !may_be_name(rest) => return comes_first(errors),
        [] => {
            errors.at(at, format!("the name comes before this comma: {FORM}"));
            rest.remove(0);
            return placeholder();
        }
        _ => {}
    }
    // Only the parser knows which commas belong to the name.
    let all: TokenStream = rest.iter().cloned().collect();
    let name = |input: ParseStream<'_>| {
        let name: Expr = input.parse()?;
        if !input.is_empty() {
            input.parse::<syn::Token![,]>()?;
        }
        Ok((
            quote::ToTokens::into_token_stream(name),
            input.parse::<TokenStream>()?,
        ))
    };
    match name.parse2(all) {
        Ok((name, behind)) => {
            *rest = behind.into_iter().collect();
            name
        }
        Err(error) => {
            errors.push(error);
            rest.drain(..(end + 1).min(rest.len()));
            placeholder()
        }
    }
}

/// Drops a name that follows the work: one error explains where it belongs.
fn drop_name_behind(rest: &mut Vec<TokenTree>) {
    let Some(comma) = rest.iter().rposition(|token| is(token, ',')) else {
        return;
    };
    let is_name = match &rest[comma + 1..] {
        [TokenTree::Literal(_)] => true,
        [TokenTree::Ident(key), equals, ..] => key == "name" && is(equals, '='),
        _ => false,
    };
    if is_name {
        rest.truncate(comma);
    }
}

/// Takes the options and the commas after them.
fn take_options(rest: &mut Vec<TokenTree>, errors: &mut Errors) -> TokenStream {
    let mut options = Vec::new();
    loop {
        if let Some(end) = end_without_comma(rest) {
            errors.at(
                rest[end].span(),
                "expected `,` between the options and the work",
            );
            options.extend(rest.drain(..end));
            return options.into_iter().collect();
        }
        let end = comma(rest);
        let is_last = end + 1 >= rest.len();
        if !is_last && names_group(&rest[..end]) {
            errors.at(rest[0].span(), GROUP_FIRST);
            rest.drain(..=end);
            continue;
        }
        let is_option = match &rest[..end] {
            // The reader of the options reports a comma too many.
            [] => end < rest.len(),
            [first, ..] if begins_work(first) => false,
            [TokenTree::Ident(_)] => !is_last,
            [TokenTree::Ident(key), TokenTree::Group(group)]
                if group.delimiter() == Delimiter::Parenthesis =>
            {
                !is_last || has_option(&key.to_string()) && holds_options(group)
            }
            all => sets_something(all),
        };
        if !is_option {
            return options.into_iter().collect();
        }
        options.extend(rest.drain(..(end + 1).min(rest.len())));
    }
}

/// Returns where an option ends and the work begins, if the comma between them was forgotten.
fn end_without_comma(tokens: &[TokenTree]) -> Option<usize> {
    let end = match tokens {
        [TokenTree::Ident(_), equals, TokenTree::Literal(_), ..] if is(equals, '=') => 3,
        [TokenTree::Ident(key), TokenTree::Group(_), ..] if has_option(&key.to_string()) => 2,
        _ => return None,
    };
    tokens
        .get(end)
        .filter(|next| begins_work(next))
        .map(|_| end)
}

/// Takes the work, up to a comma after it. Anything else there is an error.
fn take_work(mut work: Vec<TokenTree>, errors: &mut Errors) -> Vec<TokenTree> {
    let group_behind = work.iter().rposition(|token| is(token, ','));
    if let Some(comma) = group_behind
        && names_group(&work[comma + 1..])
    {
        errors.at(work[comma + 1].span(), GROUP_FIRST);
        work.truncate(comma);
    }
    let option_behind = (0..work.len()).find(|&at| {
        is(&work[at], ',')
            && option_at(&work[at + 1..]).is_some_and(|key| has_option(&key.to_string()))
    });
    if let Some(comma) = option_behind {
        errors.at(
            work[comma + 1].span(),
            "the work comes last: options stand before it",
        );
        work.truncate(comma);
    }
    if work.last().is_some_and(|last| is(last, ',')) {
        work.pop();
    }
    work
}

/// Returns the index of the first comma, or of the end if there is none.
fn comma(tokens: &[TokenTree]) -> usize {
    let found = tokens.iter().position(|token| is(token, ','));
    found.unwrap_or(tokens.len())
}

/// Returns the key if the tokens begin like an option: `key = …` or `key(a = …)`.
fn option_at(tokens: &[TokenTree]) -> Option<&Ident> {
    match tokens {
        [TokenTree::Ident(key), TokenTree::Group(group), ..] => {
            let known = has_option(&key.to_string());
            (known && group.delimiter() == Delimiter::Parenthesis && holds_options(group))
                .then_some(key)
        }
        [TokenTree::Ident(key), ..] => sets_something(tokens).then_some(key),
        _ => None,
    }
}

/// Returns whether the tokens begin with `key = …`.
fn sets_something(tokens: &[TokenTree]) -> bool {
    match tokens {
        [TokenTree::Ident(_), equals, behind @ ..] if is(equals, '=') => {
            // Neither `==` nor `=>`.
            !behind
                .first()
                .is_some_and(|second| is(second, '=') || is(second, '>'))
        }
        _ => false,
    }
}

/// Returns whether these may be the parentheses of an option rather than of a call.
fn holds_options(group: &Group) -> bool {
    let inside: Vec<TokenTree> = group.stream().into_iter().collect();
    inside.is_empty() || sets_something(&inside)
}

/// Returns whether only the work can begin with this token.
fn begins_work(first: &TokenTree) -> bool {
    match first {
        TokenTree::Ident(keyword) => keyword == "async" || keyword == "move",
        TokenTree::Punct(_) => is(first, '|'),
        _ => false,
    }
}

/// Returns whether a lone argument may be the name, so that the work is missing.
fn may_be_name(tokens: &[TokenTree]) -> bool {
    match tokens {
        [TokenTree::Literal(_)] => true,
        [TokenTree::Group(group)] => may_be_name(&group.stream().into_iter().collect::<Vec<_>>()),
        [TokenTree::Ident(name), ..] => name == "concat" || name == "stringify",
        _ => false,
    }
}

/// Returns whether these are a variable or a field of one, by their spelling: `name`, `&name`, `self.name`, `name.as_str()`.
fn names_variable(tokens: &[TokenTree]) -> bool {
    match tokens {
        [reference, rest @ ..] if is(reference, '&') => names_variable(rest),
        [TokenTree::Ident(name)] => is_variable(name),
        [TokenTree::Ident(name), dot, ..] => is_variable(name) && is(dot, '.'),
        _ => false,
    }
}

fn is_in(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Ident(keyword) if keyword == "in")
}

/// Returns whether these are a group, by their spelling: `in &group`, `group`, `group = …`, `&connections`, `self.connections`.
/// Nothing else where an option can stand is spelled like this.
fn names_group(tokens: &[TokenTree]) -> bool {
    let is_path = |tokens: &[TokenTree]| {
        tokens
            .iter()
            .all(|token| matches!(token, TokenTree::Ident(_)) || is(token, '.'))
    };
    match tokens {
        [keyword, _, ..] if is_in(keyword) => true,
        [TokenTree::Ident(word)] => word == "group",
        [TokenTree::Ident(word), equals, ..] if word == "group" && is(equals, '=') => true,
        [reference, path @ ..] if is(reference, '&') => !path.is_empty() && is_path(path),
        [_, dot, ..] => is(dot, '.') && is_path(tokens),
        _ => false,
    }
}

/// Returns whether the name is spelled like a variable and not like a constant.
fn is_variable(name: &Ident) -> bool {
    let name = name.to_string();
    name.starts_with(|first: char| first.is_lowercase())
}

fn is(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}
