//! The tokens of option values.

pub(crate) mod tokens;
