//! Whether an output is a failure, and how to say so: found out by the compiler, for each output type.
//! Works by method resolution, since stable Rust has no specialisation: the compiler takes the first of the probes, in
//! the order in which they dereference into each other, that has the method for this type.

use crate::util::panic::catch;
use std::error::Error;
use std::fmt::{self, Debug, Display, Write};
use std::marker::PhantomData;
use std::ops::Deref;

/// How an output of type `T` is judged. Implemented by types without a value, so that a task carries nothing for it.
pub trait Judge<T>: Send + 'static {
    /// Whether an output of the type can be an error.
    const CAN_FAIL: bool;
    /// The text of the error, if the output is one.
    fn failure(output: &T) -> Option<String>;
}

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
    /// A `Result` whose error can be displayed; `{:#}`, for error types such as anyhow's that show their sources so.
    DisplayProbe, ByDisplay, [Display], |error| text(error);
    /// A `Result` whose error has `Debug` only.
    DebugProbe, ByDebug, [Debug], |error| text(&format_args!("{error:?}"));
    /// Any other `Result`.
    ResultProbe, ByType, [], |_| format!("an error of type {}", std::any::type_name::<E>());
}

/// Anything else is a success.
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
