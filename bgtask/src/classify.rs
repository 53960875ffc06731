//! Whether an output is a failure, and how to say so: found out by the compiler, for each output type.
//! Works by method resolution, since stable Rust has no specialisation: the compiler takes the first of the probes, in
//! the order in which they dereference into each other, that has the method for this type.

use crate::panic_site::catch;
use std::error::Error;
use std::fmt::{self, Debug, Display, Write};
use std::marker::PhantomData;
use std::ops::Deref;

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

/// Asks what an output of type `T` is, most telling answer first: `Probe::<T>::NEW.classify()`. Inherent methods
/// rather than those of traits, which generated code would have to import.
#[derive(Debug)]
pub struct Probe<T>(PhantomData<fn() -> T>);

#[derive(Debug)]
pub struct DisplayProbe<T>(PhantomData<fn() -> T>);

#[derive(Debug)]
pub struct DebugProbe<T>(PhantomData<fn() -> T>);

#[derive(Debug)]
pub struct ResultProbe<T>(PhantomData<fn() -> T>);

#[derive(Debug)]
pub struct ValueProbe<T>(PhantomData<fn() -> T>);

impl<T> Probe<T> {
    pub const NEW: Self = Self(PhantomData);
}

macro_rules! next {
    ($($probe:ident then $next:ident;)*) => {
        $(
            impl<T> Deref for $probe<T> {
                type Target = $next<T>;

                fn deref(&self) -> &$next<T> {
                    &$next(PhantomData)
                }
            }
        )*
    };
}
next! {
    Probe then DisplayProbe;
    DisplayProbe then DebugProbe;
    DebugProbe then ResultProbe;
    ResultProbe then ValueProbe;
}

fn result<T, E>(failure: fn(&Result<T, E>) -> Option<String>) -> Classify<Result<T, E>> {
    Classify {
        failure: Some(failure),
    }
}

impl<T, E: Error> Probe<Result<T, E>> {
    /// A `Result` whose error has sources.
    pub fn classify(&self) -> Classify<Result<T, E>> {
        result(|output| output.as_ref().err().map(|error| text(&Chain(error))))
    }
}

impl<T, E: Display> DisplayProbe<Result<T, E>> {
    /// A `Result` whose error can be displayed; `{:#}`, for error types such as anyhow's that show their sources so.
    pub fn classify(&self) -> Classify<Result<T, E>> {
        result(|output| output.as_ref().err().map(|error| text(error)))
    }
}

impl<T, E: Debug> DebugProbe<Result<T, E>> {
    /// A `Result` whose error has `Debug` only.
    pub fn classify(&self) -> Classify<Result<T, E>> {
        result(|output| {
            let error = output.as_ref().err()?;
            Some(text(&format_args!("{error:?}")))
        })
    }
}

impl<T, E> ResultProbe<Result<T, E>> {
    /// Any other `Result`.
    pub fn classify(&self) -> Classify<Result<T, E>> {
        result(|output| {
            output
                .is_err()
                .then(|| format!("an error of type {}", std::any::type_name::<E>()))
        })
    }
}

impl<T> ValueProbe<T> {
    /// Anything else is a success.
    pub fn classify(&self) -> Classify<T> {
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
