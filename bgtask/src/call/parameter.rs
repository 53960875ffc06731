//! Whether a parameter is a `ShutdownToken` under another name: macros see names, the compiler sees types.
//! Works as the probes of `classify` do. Knows nothing of what becomes of a parameter.

use crate::ShutdownToken;
use std::marker::PhantomData;
use std::ops::Deref;

/// Asks of a parameter's type: `Parameter::<T>::NEW.has_another_name()`.
#[derive(Debug)]
pub struct Parameter<T>(PhantomData<fn() -> T>);

/// A parameter like any other.
#[derive(Debug)]
pub struct Argument;

impl<T> Parameter<T> {
    pub const NEW: Self = Self(PhantomData);
}

impl Parameter<ShutdownToken> {
    /// A warning rather than an error: who passes a token of somebody else's to a task can write it this way.
    #[deprecated(
        note = "the attribute knows the token by the name of its type, so this one is an argument that callers have to \
                pass; write `ShutdownToken` to have it filled in"
    )]
    pub fn has_another_name(&self) {}
}

impl<T> Deref for Parameter<T> {
    type Target = Argument;

    fn deref(&self) -> &Argument {
        &Argument
    }
}

impl Argument {
    pub fn has_another_name(&self) {}
}
