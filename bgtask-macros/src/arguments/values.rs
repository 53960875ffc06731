//! The values of options, and their expressions in generated code.
//! Knows nothing of which options there are.

use super::Choice;
use crate::tokens::{first_span, respanned};
use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use std::time::Duration;
use syn::{Expr, LitStr};

/// The value of an option.
#[derive(Clone)]
pub(crate) enum Value<T> {
    /// A literal, whose value the macro checks.
    Literal(T),
    /// An expression, whose value only the compiler knows. It is passed to a function of `__private`, which checks it.
    Constant {
        expression: Box<Expr>,
        check: &'static str,
        /// What is wrong with a value that the check refuses.
        message: String,
    },
}

/// A type of values that the macro can write down.
pub(crate) trait Literal: Clone {
    fn tokens(self, private: &TokenStream) -> TokenStream;
}

impl<T: Literal> Value<T> {
    /// Returns the value, unless only the compiler knows it.
    pub(crate) fn literal(&self) -> Option<T> {
        match self {
            Self::Literal(value) => Some(value.clone()),
            Self::Constant { .. } => None,
        }
    }

    pub(crate) fn is_constant(&self) -> bool {
        self.literal().is_none()
    }

    /// Has this function check the value, if only the compiler knows it.
    pub(crate) fn checked_by(self, function: &'static str, wrong: impl Into<String>) -> Self {
        match self {
            Self::Literal(_) => self,
            Self::Constant { expression, .. } => Self::Constant {
                expression,
                check: function,
                message: wrong.into(),
            },
        }
    }

    // Output:  30u32  or  count(MAX, "`max` must be at least 1")
    pub(crate) fn tokens(&self, private: &TokenStream) -> TokenStream {
        match self {
            Self::Literal(value) => value.clone().tokens(private),
            Self::Constant {
                expression,
                check,
                message,
            } => {
                // The compiler reports at the expression what is wrong with it.
                let at = first_span(&expression.to_token_stream());
                let private = respanned(private, at);
                let check = Ident::new(check, at);
                quote_spanned!(at=> #private::constant::#check(#expression, #message))
            }
        }
    }
}

impl Literal for Duration {
    fn tokens(self, _: &TokenStream) -> TokenStream {
        duration(self)
    }
}

impl Literal for usize {
    fn tokens(self, _: &TokenStream) -> TokenStream {
        self.into_token_stream()
    }
}

impl Literal for u32 {
    fn tokens(self, _: &TokenStream) -> TokenStream {
        self.into_token_stream()
    }
}

impl Literal for LitStr {
    fn tokens(self, _: &TokenStream) -> TokenStream {
        self.into_token_stream()
    }
}

impl Literal for u8 {
    fn tokens(self, _: &TokenStream) -> TokenStream {
        self.into_token_stream()
    }
}

pub(crate) fn duration(duration: Duration) -> TokenStream {
    let (seconds, nanoseconds) = (duration.as_secs(), duration.subsec_nanos());
    quote!(::core::time::Duration::new(#seconds, #nanoseconds))
}

pub(crate) fn variant(choice: Option<&Choice>, default: &str) -> Ident {
    let variant = choice.map_or(default, |choice| choice.variant);
    format_ident!("{variant}")
}

pub(crate) fn optional(value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}
