//! How an output is copied for the calls that have joined a run. The compiler decides for each output type, by the same method
//! resolution as in `task::judge`. Must never know which calls join.

use crate::TaskError;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

/// How an output is copied for a joined call.
pub struct Share<T>(pub(crate) Option<Copier<T>>);

/// Takes the output, and the text of its error if it has one.
type Copier<T> = fn(&T, &str) -> Result<T, TaskError>;

impl<T> Share<T> {
    /// For functions whose calls never join a run.
    pub const NEVER: Self = Self(None);
}

impl<T> fmt::Debug for Share<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Share").field(&self.0.is_some()).finish()
    }
}

/// Selects how an output of type `T` is shared, the best way first: `ShareProbe::<T>::NEW.share()`. The methods are inherent,
/// because generated code would have to import a trait.
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
    /// Clones the output for every joined call.
    pub fn share(&self) -> Share<T> {
        Share(Some(|output, _| Ok(output.clone())))
    }
}

impl<T: Clone, E> ShareResultProbe<Result<T, E>> {
    /// Clones only the value of a `Result` whose error is not `Clone`: the leading call gets the error, and the joined calls get
    /// its text.
    pub fn share(&self) -> Share<Result<T, E>> {
        Share(Some(|output, failure| match output {
            Ok(value) => Ok(Ok(value.clone())),
            Err(_) => Err(TaskError::LeaderFailed {
                message: failure.to_owned(),
            }),
        }))
    }
}

/// An output that can be shared.
#[diagnostic::on_unimplemented(
    message = "calls that join one run share its output, so `{Self}` has to be `Clone`",
    label = "this output cannot be given to every caller that joins",
    note = "derive `Clone`, return an `Arc<_>`, or write `coalesce(policy = \"skip\")` or `\"replace\"`, where no output is \
            shared; of a `Result`, only the value has to be `Clone`"
)]
// No type implements this trait: the probes above select every output that can be shared.
pub trait SharedOutput {}

impl<T> ShareNothingProbe<T> {
    /// Rejects any other output: the compiler reports the trait's message.
    pub fn share(&self) -> Share<T>
    where
        T: SharedOutput,
    {
        Share::NEVER
    }
}
