//! `retry(…)`: which failures are retried, and how often.
//! Owns the value, the predicate and the traits behind its messages; must never know tasks or how a call waits.

use super::backoff::Backoff;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// The longest pause that `retry(after = …)` makes: a year. An error may say anything.
const LONGEST_PAUSE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// `retry(…)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The number of attempts, including the first; at least 2.
    pub max: u32,
    pub backoff: Backoff,
    /// A panic is a failed attempt and does not end the task.
    pub panics: bool,
    /// A call that has not succeeded when the drain begins gets one more attempt.
    pub last_attempt: bool,
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "retry(max = {}{}", self.max, self.backoff)?;
        if self.panics {
            f.write_str(", panics")?;
        }
        if !self.last_attempt {
            f.write_str(", last_attempt = false")?;
        }
        f.write_str(")")
    }
}

/// `retry(when = …, after = …)`: decides what follows an output that is a failure.
pub struct RetryWhen<T>(Option<Decide<T>>);

type Decide<T> = Box<dyn Fn(&T) -> NextAttempt + Send>;

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextAttempt {
    /// No other attempt.
    None,
    /// One after the pause of the back-off.
    AfterBackoff,
    /// One after this pause.
    After(Duration),
}

impl<T> RetryWhen<T> {
    /// Another attempt follows every failure.
    pub const ALWAYS: Self = Self(None);

    /// Returns what follows this output.
    pub(crate) fn decide(&self, output: &T) -> NextAttempt {
        let decide = self.0.as_ref();
        decide.map_or(NextAttempt::AfterBackoff, |decide| decide(output))
    }

    /// Adds `retry(after = …)`: the pause that an error asks for.
    pub fn after<A>(self, after: A) -> Self
    where
        T: Fallible + 'static,
        A: Fn(&T::Error) -> Option<Duration> + Send + 'static,
    {
        Self(Some(Box::new(move |output| match self.decide(output) {
            NextAttempt::AfterBackoff => {
                let pause = output.error().and_then(&after);
                pause.map_or(NextAttempt::AfterBackoff, |pause| {
                    NextAttempt::After(pause.min(LONGEST_PAUSE))
                })
            }
            next => next,
        })))
    }
}

impl<T> fmt::Debug for RetryWhen<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RetryWhen").field(&self.0.is_some()).finish()
    }
}

/// An output that may be an error, which a predicate can inspect.
#[diagnostic::on_unimplemented(
    message = "`when` and `after` of `retry` inspect the error of a `Result`, but `{Self}` is not a `Result`",
    label = "expected a `Result`",
    note = "return a `Result`, or drop `when` and `after`"
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

/// Returns `retry(when = …)` for a predicate over the error of the output `T`.
pub fn retry_when<T, P>(predicate: P) -> RetryWhen<T>
where
    T: Fallible + 'static,
    P: Fn(&T::Error) -> bool + Send + 'static,
{
    RetryWhen(Some(Box::new(move |output: &T| {
        if output.error().is_some_and(&predicate) {
            NextAttempt::AfterBackoff
        } else {
            NextAttempt::None
        }
    })))
}

/// A parameter of a function with `retry`.
#[diagnostic::on_unimplemented(
    message = "with `retry` each attempt gets a copy of the arguments, so `{Self}` has to be `Clone`",
    label = "this parameter's type is not `Clone`",
    note = "derive `Clone`, or take an `Arc<_>` of it"
)]
pub trait RetryArgument: Clone {}

// Otherwise the compiler would only report that the type is not `Clone`.
#[diagnostic::do_not_recommend]
impl<T: Clone> RetryArgument for T {}

/// Requires that a receiver can be copied, without copying it.
pub struct Copied<T: RetryArgument>(PhantomData<fn() -> T>);

impl<T: RetryArgument> fmt::Debug for Copied<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Copied").finish()
    }
}

/// Returns the copy for one attempt.
pub fn cloned<T: RetryArgument>(argument: &T) -> T {
    argument.clone()
}
