//! One option with its tokens, and the kinds of values that it can have.
//! Knows nothing of what an option does with its value.

use super::values::{Choice, Literal, Value};
use super::{Arguments, OwnerOf};
use crate::errors::Errors;
use crate::literal::duration;
use proc_macro2::{Ident, TokenStream};
use std::time::Duration;
use syn::{Expr, LitBool, LitInt, LitStr, UnOp};

/// What a message about a wrong duration shows.
const EXAMPLES: &str = "\"30s\" or \"5m\"";

/// The tokens after a key.
#[derive(Clone)]
pub(super) enum Given {
    Nothing,
    /// `key = value`; without tokens, if the value was forgotten.
    Value(TokenStream),
    /// `key(…)`
    Nested(TokenStream),
}

pub(crate) struct Entry {
    pub(crate) key: Ident,
    pub(super) given: Given,
    pub(super) example: &'static str,
    pub(super) owner_of: OwnerOf,
}

impl Entry {
    pub(crate) fn is_nested(&self) -> bool {
        matches!(self.given, Given::Nested(_))
    }

    /// Returns the value, or nothing where there is none.
    pub(crate) fn tokens(&self) -> TokenStream {
        match &self.given {
            Given::Value(value) => value.clone(),
            Given::Nothing | Given::Nested(_) => TokenStream::new(),
        }
    }

    /// Returns an error at the value, or at the key where there is no value.
    pub(crate) fn wrong(&self, message: impl std::fmt::Display) -> syn::Error {
        let value = self.tokens();
        if value.is_empty() {
            return syn::Error::new(self.key.span(), message);
        }
        syn::Error::new_spanned(value, message)
    }

    /// Returns the error for parentheses that lack a required option.
    pub(crate) fn missing(&self, example: &str) -> syn::Error {
        let message = format!("`{}` needs `{example}`", self.key);
        syn::Error::new(self.key.span(), message)
    }

    /// Parses the value as a `noun`.
    fn parse<T: syn::parse::Parse>(&self, noun: &str) -> syn::Result<T> {
        self.require_value()?;
        syn::parse2(self.tokens())
            .map_err(|_| self.wrong(format!("`{}` takes {noun}: `{}`", self.key, self.example)))
    }

    fn require_value(&self) -> syn::Result<()> {
        if self.tokens().is_empty() {
            let message = format!("`{}` needs a value: `{}`", self.key, self.example);
            return Err(syn::Error::new(self.key.span(), message));
        }
        Ok(())
    }

    /// Returns the value, if it is an expression that the compiler can evaluate: a constant, or a call of a `const fn`. A lowercase
    /// name is none: it is a string without its quotes, or a parameter, whose value comes too late.
    pub(crate) fn constant(&self) -> Option<Expr> {
        let expression: Expr = syn::parse2(self.tokens()).ok()?;
        let mut inner = &expression;
        // What a `macro_rules!` was given.
        while let Expr::Group(group) = inner {
            inner = &group.expr;
        }
        let is_constant = match inner {
            Expr::Lit(_) => false,
            Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => false,
            Expr::Path(path) => {
                let last = path.path.segments.last();
                last.is_some_and(|last| last.ident.to_string().starts_with(char::is_uppercase))
            }
            _ => true,
        };
        is_constant.then_some(expression)
    }

    /// Returns the value as a constant that a function of `__private` checks, or as a literal.
    pub(crate) fn value<T: Literal>(
        &self,
        check: &'static str,
        wrong: &str,
        literal: impl FnOnce() -> syn::Result<T>,
    ) -> syn::Result<Value<T>> {
        match self.constant() {
            None => literal().map(Value::Literal),
            Some(expression) => Ok(Value::Constant {
                expression: Box::new(expression),
                check,
                message: format!("`{}` {wrong}", self.key),
            }),
        }
    }

    pub(crate) fn expression(&self) -> syn::Result<Expr> {
        self.require_value()?;
        syn::parse2(self.tokens())
    }

    pub(crate) fn string(&self) -> syn::Result<LitStr> {
        self.parse("a string")
    }

    /// Parses the string that stands where a constant may stand, too.
    pub(crate) fn string_or_constant(&self) -> syn::Result<LitStr> {
        self.parse("a string or a constant")
    }

    pub(crate) fn boolean(&self) -> syn::Result<LitBool> {
        self.parse("`true` or `false`")
    }

    /// Parses `true` or `false`. The key alone means `true`.
    pub(crate) fn switch(&self) -> syn::Result<bool> {
        match self.given {
            Given::Nothing => Ok(true),
            _ => self.boolean().map(|literal| literal.value),
        }
    }

    /// Sets the flag. The key alone does so, without a value.
    pub(crate) fn flag(&self, flag: &mut bool) -> syn::Result<()> {
        if !matches!(self.given, Given::Nothing) {
            let key = &self.key;
            let message = format!("`{key}` takes no value: write `{key}` alone");
            return Err(syn::Error::new(key.span(), message));
        }
        *flag = true;
        Ok(())
    }

    pub(crate) fn choice(&self, choices: &[(&str, &'static str)]) -> syn::Result<Choice> {
        self.require_value()?;
        let literal: Option<LitStr> = syn::parse2(self.tokens()).ok();
        let value = literal.as_ref().map(LitStr::value);
        let words = || choices.iter().map(|(word, _)| *word);
        let chosen = |value: &String| choices.iter().find(|(word, _)| word == value);
        if let (Some(literal), Some((_, variant))) = (&literal, value.as_ref().and_then(chosen)) {
            return Ok(Choice {
                variant,
                span: literal.span(),
            });
        }
        let allowed: Vec<_> = words().map(|word| format!("{word:?}")).collect();
        let near = value.and_then(|value| super::suggest::closest(&value, words()));
        let near = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
        let allowed = allowed.join(", ");
        Err(self.wrong(format!("`{}` is one of {allowed}{near}", self.key)))
    }

    /// Parses a number of at least zero.
    pub(crate) fn number(&self) -> syn::Result<Value<usize>> {
        self.value("number", "", || self.number_from(0))
    }

    /// Parses a number of at least one.
    pub(crate) fn count(&self) -> syn::Result<Value<usize>> {
        self.value("count", "must be at least 1", || self.number_from(1))
    }

    /// Parses a number of at least one that fits in 32 bits.
    pub(crate) fn small_count(&self) -> syn::Result<Value<u32>> {
        self.value("small_count", "must be at least 1", || {
            u32::try_from(self.number_from(1)?)
                .map_err(|_| self.wrong(format!("`{}` must be less than 2^32", self.key)))
        })
    }

    fn number_from(&self, least: usize) -> syn::Result<usize> {
        let literal: LitInt = self.parse("a number or a constant")?;
        let too_small = || self.wrong(format!("`{}` must be at least {least}", self.key));
        if literal.base10_digits().starts_with('-') {
            return Err(too_small());
        }
        match literal.base10_parse() {
            Ok(number) if number < least => Err(too_small()),
            // Only an overflow is left.
            number => number.map_err(|_| self.wrong(format!("`{}` is too large", self.key))),
        }
    }

    pub(crate) fn duration(&self) -> syn::Result<Value<Duration>> {
        self.value("duration", "", || self.duration_such_as(EXAMPLES))
    }

    fn duration_such_as(&self, examples: &str) -> syn::Result<Duration> {
        duration::parse(&self.string_or_constant()?.value()).ok_or_else(|| {
            let found = self.tokens();
            self.wrong(format!(
                "expected a duration such as {examples}, found {found}"
            ))
        })
    }

    /// Parses a duration that is longer than zero.
    pub(crate) fn positive(&self) -> syn::Result<Value<Duration>> {
        self.positive_such_as(EXAMPLES)
    }

    /// Parses a duration that is longer than zero, or returns `None` for this word.
    pub(crate) fn positive_or(&self, word: &str) -> syn::Result<Option<Value<Duration>>> {
        if self.constant().is_none() && self.string_or_constant()?.value() == word {
            return Ok(None);
        }
        let examples = format!("\"30s\", or {word:?}");
        self.positive_such_as(&examples).map(Some)
    }

    fn positive_such_as(&self, examples: &str) -> syn::Result<Value<Duration>> {
        self.value("positive", "must be longer than zero", || {
            self.longer_than_zero(self.duration_such_as(examples)?)
        })
    }

    fn longer_than_zero(&self, duration: Duration) -> syn::Result<Duration> {
        if duration.is_zero() {
            return Err(self.wrong(format!("`{}` must be longer than zero", self.key)));
        }
        Ok(duration)
    }

    /// Returns the tokens in parentheses. The key alone has none.
    pub(crate) fn in_parentheses(&self) -> syn::Result<TokenStream> {
        match &self.given {
            Given::Nothing => Ok(TokenStream::new()),
            Given::Nested(tokens) => Ok(tokens.clone()),
            Given::Value(_) => Err(self.wrong(format!(
                "`{}` takes its options in parentheses: `{}`",
                self.key, self.example
            ))),
        }
    }

    /// Reads the options in parentheses, as in `retry(max = 3)`. The key alone has none.
    pub(crate) fn nested(&self, fill: impl FnOnce(&mut Arguments)) -> syn::Result<()> {
        let tokens = self.in_parentheses()?;
        let mut arguments = Arguments::split(tokens, self.owner_of);
        fill(&mut arguments);
        let mut errors = Errors::default();
        arguments.finish(&mut errors);
        errors.into_result()
    }
}
