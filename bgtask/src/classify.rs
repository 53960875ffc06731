//! Whether an output is a failure, and how to say so: found out by the compiler, for each output type.
//! Works by method resolution over references, since stable Rust has no specialisation: of several traits with one
//! method the compiler takes the one that needs the fewest dereferences, so the most telling one stands outermost.

use crate::panic_site::catch;
use std::error::Error;
use std::fmt::{self, Debug, Display, Write};
use std::marker::PhantomData;

/// How an output of type `T` is judged.
#[derive(Debug)]
pub struct Classify<T> {
    /// The text of the error, if the output is one. Absent where no output of the type ever is.
    pub(crate) failure: Option<fn(&T) -> Option<String>>,
}

// Derived, these would ask the same of `T`.
impl<T> Clone for Classify<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Classify<T> {}

/// The value whose method resolution picks the trait.
#[derive(Debug)]
pub struct Probe<T>(PhantomData<fn() -> T>);

impl<T> Probe<T> {
    pub const NEW: Self = Self(PhantomData);
}

fn result<T, E>(failure: fn(&Result<T, E>) -> Option<String>) -> Classify<Result<T, E>> {
    Classify {
        failure: Some(failure),
    }
}

/// A `Result` whose error has sources.
pub trait ClassifyError<T> {
    fn classify(&self) -> Classify<T>;
}
impl<T, E: Error> ClassifyError<Result<T, E>> for &&&&Probe<Result<T, E>> {
    fn classify(&self) -> Classify<Result<T, E>> {
        result(|output| output.as_ref().err().map(|error| text(&Chain(error))))
    }
}

/// A `Result` whose error can be displayed; `{:#}`, for error types such as anyhow's that show their sources so.
pub trait ClassifyDisplay<T> {
    fn classify(&self) -> Classify<T>;
}
impl<T, E: Display> ClassifyDisplay<Result<T, E>> for &&&Probe<Result<T, E>> {
    fn classify(&self) -> Classify<Result<T, E>> {
        result(|output| output.as_ref().err().map(|error| text(error)))
    }
}

/// A `Result` whose error has `Debug` only.
pub trait ClassifyDebug<T> {
    fn classify(&self) -> Classify<T>;
}
impl<T, E: Debug> ClassifyDebug<Result<T, E>> for &&Probe<Result<T, E>> {
    fn classify(&self) -> Classify<Result<T, E>> {
        result(|output| {
            let error = output.as_ref().err()?;
            Some(text(&format_args!("{error:?}")))
        })
    }
}

/// Any other `Result`.
pub trait ClassifyResult<T> {
    fn classify(&self) -> Classify<T>;
}
impl<T, E> ClassifyResult<Result<T, E>> for &Probe<Result<T, E>> {
    fn classify(&self) -> Classify<Result<T, E>> {
        result(|output| {
            output
                .is_err()
                .then(|| format!("an error of type {}", std::any::type_name::<E>()))
        })
    }
}

/// Anything else is a success.
pub trait ClassifyValue<T> {
    fn classify(&self) -> Classify<T>;
}
impl<T> ClassifyValue<T> for Probe<T> {
    fn classify(&self) -> Classify<T> {
        Classify { failure: None }
    }
}

/// The error's text. A `Display` that fails or panics must not change what is counted.
fn text(error: &dyn Display) -> String {
    let mut text = String::new();
    match catch(|| write!(text, "{error:#}")) {
        Ok(Ok(())) => text,
        Ok(Err(fmt::Error)) => "(the error's Display failed)".to_owned(),
        Err(caught) => format!("(the error's Display panicked: {})", caught.message),
    }
}

/// An error, then what caused it, and what caused that.
struct Chain<'a, E>(&'a E);

impl<E: Error> Display for Chain<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not `{:#}`: an error that shows its sources in that form would show them twice.
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
