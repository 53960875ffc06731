//! The arguments of an attribute: options separated by commas, each read once by the table that has its name.
//! Owns the syntax and its errors; never knows which options there are.

pub(crate) mod crate_path;
mod entry;
mod suggest;
pub(crate) mod values;

use crate::errors::Errors;
pub(crate) use entry::Entry;
use entry::Given;
use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
pub(crate) use values::Choice;

/// One row of a table of options.
pub(crate) struct Keyword<O> {
    name: &'static str,
    example: &'static str,
    set: fn(&mut O, &Entry) -> syn::Result<()>,
}

impl<O> Keyword<O> {
    /// `example` is the option as a user writes it, and `set` reads its value.
    pub(crate) const fn new(
        name: &'static str,
        example: &'static str,
        set: fn(&mut O, &Entry) -> syn::Result<()>,
    ) -> Self {
        Self { name, example, set }
    }
}

/// Returns whether a row has this name.
pub(crate) fn has<O>(table: &[Keyword<O>], name: &str) -> bool {
    table.iter().any(|keyword| keyword.name == name)
}

/// Returns the attribute that has an option of this name.
pub(crate) type OwnerOf = fn(&str) -> Option<&'static str>;

/// The arguments of one attribute, or those in the parentheses of one option.
pub(crate) struct Arguments {
    parts: Vec<Part>,
    /// The names of all the options that can stand here.
    names: Vec<&'static str>,
    example: &'static str,
    owner_of: OwnerOf,
    /// Returns the options in whose parentheses an option of this name stands.
    inside: fn(&str) -> Option<String>,
}

/// The tokens between two commas.
enum Part {
    Option {
        key: Ident,
        given: Given,
        /// The result of the row that has this name, if one has.
        read: Option<syn::Result<()>>,
    },
    /// Tokens that do not begin with a name, and the end of the message about them.
    Nameless(Span, &'static str),
    Wrong(syn::Error),
}

impl Arguments {
    pub(crate) fn split(tokens: TokenStream, owner_of: OwnerOf) -> Self {
        Self {
            parts: split_at_commas(tokens).into_iter().map(part).collect(),
            names: Vec::new(),
            example: "",
            owner_of,
            inside: |_| None,
        }
    }

    /// Names, for options that stand by themselves by mistake, the option whose parentheses they go inside.
    pub(crate) fn suggest_inside(&mut self, inside: fn(&str) -> Option<String>) {
        self.inside = inside;
    }

    /// Rejects some options, each with a message of its own, in which `{key}` stands for the option.
    pub(crate) fn refuse(&mut self, refused: &[(&str, &str)]) {
        for part in &mut self.parts {
            if let Part::Option { key, .. } = part
                && let Some((_, message)) = refused.iter().find(|(name, _)| key == name)
            {
                let message = message.replace("{key}", &key.to_string());
                *part = Part::Wrong(syn::Error::new(key.span(), message));
            }
        }
    }

    /// Reads the options of this table.
    pub(crate) fn fill<O>(&mut self, table: &[Keyword<O>], options: &mut O) {
        if self.names.is_empty() {
            self.example = table[0].example;
        }
        self.names.extend(table.iter().map(|keyword| keyword.name));
        let mut keys = Vec::new();
        for part in &mut self.parts {
            let Part::Option { key, given, read } = part else {
                continue;
            };
            let Some(keyword) = table.iter().find(|keyword| key == keyword.name) else {
                continue;
            };
            if keys.contains(key) {
                let message = format!("`{key}` is set twice");
                *read = Some(Err(syn::Error::new(key.span(), message)));
                continue;
            }
            keys.push(key.clone());
            let entry = Entry {
                key: key.clone(),
                given: given.clone(),
                example: keyword.example,
                owner_of: self.owner_of,
            };
            *read = Some((keyword.set)(options, &entry));
        }
    }

    /// Reports the errors, in the order of the arguments, and returns the names of the options that were set.
    pub(crate) fn finish(self, errors: &mut Errors) -> Vec<Ident> {
        let mut keys = Vec::new();
        for part in &self.parts {
            match part {
                Part::Option {
                    key,
                    read: Some(read),
                    ..
                } => {
                    if let Err(error) = read {
                        errors.push(error.clone());
                    }
                    if !keys.contains(key) {
                        keys.push(key.clone());
                    }
                }
                Part::Option { key, .. } => errors.at(key.span(), self.unknown(&key.to_string())),
                Part::Nameless(span, end) => {
                    let example = self.example;
                    errors.at(
                        *span,
                        format!("expected an option such as `{example}`{end}"),
                    );
                }
                Part::Wrong(error) => errors.push(error.clone()),
            }
        }
        keys
    }

    fn unknown(&self, key: &str) -> String {
        if let Some(inside) = (self.inside)(key) {
            return format!("`{key}` is not an option by itself: it goes inside {inside}");
        }
        if let Some(name) = suggest::closest(key, self.names.iter().copied()) {
            return format!("unknown option `{key}`; did you mean `{name}`?");
        }
        let names: Vec<_> = self.names.iter().map(|name| format!("`{name}`")).collect();
        let names = names.join(", ");
        match (self.owner_of)(key) {
            Some(owner) => format!("`{key}` is an option of `#[{owner}]`; here there are {names}"),
            None => format!("unknown option `{key}`; there are {names}"),
        }
    }
}

/// Returns the tokens between the commas, each with the span of the comma that ends them.
fn split_at_commas(arguments: TokenStream) -> Vec<(Vec<TokenTree>, Span)> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    for token in arguments {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == ',' => {
                parts.push((std::mem::take(&mut part), punct.span()));
            }
            _ => part.push(token),
        }
    }
    // Nothing is left after a trailing comma, or if there are no arguments at all.
    if !part.is_empty() {
        parts.push((part, Span::call_site()));
    }
    parts
}

fn part((tokens, comma): (Vec<TokenTree>, Span)) -> Part {
    let mut tokens = tokens.into_iter();
    let key = match tokens.next() {
        Some(TokenTree::Ident(key)) => key,
        Some(other) => return Part::Nameless(other.span(), ""),
        None => return Part::Nameless(comma, " before this comma"),
    };
    let no_comma = |token: &TokenTree| {
        Part::Wrong(syn::Error::new(
            token.span(),
            "expected `,` between two options",
        ))
    };
    let given = match tokens.next() {
        None => Given::Nothing,
        // Where a value is required, the message about the missing one shows how to write it.
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => {
            if let Some(second) = tokens.next() {
                return no_comma(&second);
            }
            Given::Nested(group.stream())
        }
        Some(TokenTree::Punct(punct)) if punct.as_char() == '=' => {
            let value: Vec<_> = tokens.collect();
            if let [TokenTree::Literal(_), second, ..] = &value[..]
                && !continues(second)
            {
                return no_comma(second);
            }
            Given::Value(value.into_iter().collect())
        }
        Some(other) => {
            let message = format!("expected `=` and a value after `{key}`");
            return Part::Wrong(syn::Error::new(other.span(), message));
        }
    };
    Part::Option {
        key,
        given,
        read: None,
    }
}

/// Returns whether an expression that begins with a literal can continue with this token.
fn continues(second: &TokenTree) -> bool {
    match second {
        TokenTree::Punct(punct) => punct.as_char() != ';',
        TokenTree::Ident(ident) => ident == "as",
        TokenTree::Literal(_) | TokenTree::Group(_) => false,
    }
}
