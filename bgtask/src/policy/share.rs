//! How the outcome of one run is given to all callers that have joined it: found out by the compiler, for each output type.
//! The same method resolution as in `classify`; knows nothing of who joins.

use crate::TaskError;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

/// How an output is copied for a caller that has joined.
pub struct Share<T>(pub(crate) Option<Copier<T>>);

/// Takes the output, and the text of its error if it is one.
type Copier<T> = fn(&T, &str) -> Result<T, TaskError>;

impl<T> Share<T> {
    /// For functions whose calls never join one another.
    pub const NEVER: Self = Self(None);
}

impl<T> fmt::Debug for Share<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Share").field(&self.0.is_some()).finish()
    }
}

/// Asks how an output of type `T` is shared, best answer first: `ShareProbe::<T>::NEW.share()`. Inherent methods rather
/// than those of traits, which generated code would have to import.
#[derive(Debug)]
pub struct ShareProbe<T>(PhantomData<fn() -> T>);

#[derive(Debug)]
pub struct ShareResultProbe<T>(PhantomData<fn() -> T>);

#[derive(Debug)]
pub struct ShareNothingProbe<T>(PhantomData<fn() -> T>);

impl<T> Deref for ShareProbe<T> {
    type Target = ShareResultProbe<T>;

    fn deref(&self) -> &ShareResultProbe<T> {
        &ShareResultProbe(PhantomData)
    }
}

impl<T> Deref for ShareResultProbe<T> {
    type Target = ShareNothingProbe<T>;

    fn deref(&self) -> &ShareNothingProbe<T> {
        &ShareNothingProbe(PhantomData)
    }
}

impl<T> ShareProbe<T> {
    pub const NEW: Self = Self(PhantomData);
}

impl<T: Clone> ShareProbe<T> {
    /// An output that every caller can have a copy of.
    pub fn share(&self) -> Share<T> {
        Share(Some(|output, _| Ok(output.clone())))
    }
}

impl<T: Clone, E> ShareResultProbe<Result<T, E>> {
    /// A `Result` whose error cannot be copied: it goes to the caller whose run it is, and the others get its text.
    pub fn share(&self) -> Share<Result<T, E>> {
        Share(Some(|output, failure| match output {
            Ok(value) => Ok(Ok(value.clone())),
            Err(_) => Err(TaskError::LeaderFailed {
                message: failure.to_owned(),
            }),
        }))
    }
}

/// An output that cannot be shared.
#[diagnostic::on_unimplemented(
    message = "calls that join one run share its output, so `{Self}` has to be `Clone`",
    label = "this output cannot be given to every caller that joins",
    note = "derive `Clone`, return an `Arc<_>`, or write `coalesce(policy = \"skip\")` or `\"replace\"`, where no output is \
            shared; of a `Result`, only the value has to be `Clone`"
)]
// Nothing has it: what can be shared was found above.
pub trait SharedOutput {}

impl<T> ShareNothingProbe<T> {
    /// Any other: named by the compiler.
    pub fn share(&self) -> Share<T>
    where
        T: SharedOutput,
    {
        Share::NEVER
    }
}
