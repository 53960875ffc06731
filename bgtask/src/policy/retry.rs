//! `retry(…)`: which failures are tried again, and how often.
//! Knows nothing of waiting, tasks or what is tried.

use super::backoff::Backoff;
use std::fmt;
use std::marker::PhantomData;

/// `retry(…)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How many attempts there are in all; at least 2.
    pub max: u32,
    pub backoff: Backoff,
    /// A panic counts as a failed attempt instead of ending the task.
    pub panics: bool,
    /// Whether a call that has not succeeded when the drain begins gets one more attempt.
    pub last_attempt: bool,
}

/// `retry(when = …)`: whether an output is tried again.
pub struct RetryWhen<T>(pub(crate) Option<Predicate<T>>);

type Predicate<T> = Box<dyn Fn(&T) -> bool + Send>;

impl<T> RetryWhen<T> {
    /// Every failure is.
    pub const ALWAYS: Self = Self(None);
}

impl<T> fmt::Debug for RetryWhen<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RetryWhen").field(&self.0.is_some()).finish()
    }
}

/// An output that may be a failure, whose error a predicate can look at.
#[diagnostic::on_unimplemented(
    message = "`retry(when = …)` looks at the error of a `Result`, and `{Self}` is none",
    label = "expected a `Result`",
    note = "return a `Result`, or drop `when`"
)]
pub trait Fallible {
    #[doc(hidden)]
    type Error;

    #[doc(hidden)]
    fn error(&self) -> Option<&Self::Error>;
}

impl<T, E> Fallible for Result<T, E> {
    type Error = E;

    fn error(&self) -> Option<&E> {
        self.as_ref().err()
    }
}

/// The predicate of `retry(when = …)`, over the error of the output `T`.
pub fn retry_when<T, P>(predicate: P) -> RetryWhen<T>
where
    T: Fallible + 'static,
    P: Fn(&T::Error) -> bool + Send + 'static,
{
    RetryWhen(Some(Box::new(move |output: &T| {
        output.error().is_some_and(&predicate)
    })))
}

/// A parameter of a function that is tried again.
#[diagnostic::on_unimplemented(
    message = "with `retry` each attempt gets a copy of the arguments, so `{Self}` has to be `Clone`",
    label = "this parameter's type is not `Clone`",
    note = "derive `Clone`, or take an `Arc<_>` of it"
)]
pub trait RetryArgument: Clone {}

// Else the compiler would only say that the type is not `Clone`.
#[diagnostic::do_not_recommend]
impl<T: Clone> RetryArgument for T {}

/// Stands where only that a receiver can be copied is asked for.
pub struct Copied<T: RetryArgument>(PhantomData<fn() -> T>);

impl<T: RetryArgument> fmt::Debug for Copied<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Copied").finish()
    }
}

/// The copy for one attempt.
pub fn cloned<T: RetryArgument>(argument: &T) -> T {
    argument.clone()
}
