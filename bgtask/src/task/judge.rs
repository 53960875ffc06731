//! Whether an output is a failure, and the text of its error: resolved by the compiler for each output type.
//! Stable Rust has no specialisation, so this uses method resolution: the probes dereference into each other, and the compiler
//! picks the first one that has the method for the type.

use crate::util::panic::catch;
use std::error::Error;
use std::fmt::{self, Debug, Display, Write};
use std::marker::PhantomData;
use std::ops::Deref;

/// Judges outputs of type `T`. Implemented by zero-sized types, so that a task stores nothing for it.
pub trait Judge<T>: Send + 'static {
    /// Whether an output of this type can be an error.
    const CAN_FAIL: bool;
    /// Returns the text of the error, if the output is one.
    fn failure(output: &T) -> Option<String>;
}

/// Finds the judge for an output of type `T`, the most informative first: `Probe::<T>::NEW.classify()`. The methods are inherent,
/// because generated code would have to import a trait.
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

impl<T> DisplayProbe<T> {
    pub(crate) const NEW: Self = Self(PhantomData);
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

macro_rules! judges {
    ($($(#[$doc:meta])* $probe:ident, $judge:ident, [$($bound:ident)?], $text:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $judge;

        impl<T, E $(: $bound)?> $probe<Result<T, E>> {
            pub fn classify(&self) -> $judge {
                $judge
            }
        }

        impl<T, E $(: $bound)?> Judge<Result<T, E>> for $judge {
            const CAN_FAIL: bool = true;
            fn failure(output: &Result<T, E>) -> Option<String> {
                let text: fn(&E) -> String = $text;
                output.as_ref().err().map(text)
            }
        }
    )+};
}
judges! {
    /// A `Result` whose error has sources.
    Probe, ByError, [Error], |error| text(&Chain(error));
    /// A `Result` whose error has `Display`. Uses `{:#}`, with which error types such as anyhow's show their sources.
    DisplayProbe, ByDisplay, [Display], |error| text(error);
    /// A `Result` whose error has only `Debug`.
    DebugProbe, ByDebug, [Debug], |error| text(&format_args!("{error:?}"));
    /// Any other `Result`.
    ResultProbe, ByType, [], |_| format!("an error of type {}", std::any::type_name::<E>());
}

/// Judges every output of any other type as a success.
#[derive(Debug)]
pub struct Always;

impl<T> ValueProbe<T> {
    pub fn classify(&self) -> Always {
        Always
    }
}

impl<T> Judge<T> for Always {
    const CAN_FAIL: bool = false;
    fn failure(_: &T) -> Option<String> {
        None
    }
}

/// Returns the error's text. A `Display` that fails or panics must not change the outcome.
fn text(error: &dyn Display) -> String {
    let mut text = String::new();
    match catch(|| write!(text, "{error:#}")) {
        Ok(Ok(())) => text,
        Ok(Err(fmt::Error)) => "(the error's Display failed)".to_owned(),
        Err(caught) => format!("(the error's Display panicked: {})", caught.message),
    }
}

/// Displays an error and its sources.
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
