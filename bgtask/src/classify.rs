//! Whether an output is a failure, and how to say so: found out by the compiler, for each output type.
//! Works by method resolution over references, since stable Rust has no specialisation: of several traits with one
//! method the compiler takes the one that needs the fewest dereferences, so the most telling one stands outermost.

use crate::panic_site::catch;
use std::error::Error;
use std::fmt::{self, Debug, Display, Write};
use std::marker::PhantomData;

/// How an output of type `T` is judged. Implemented by types without a value, so that a task carries nothing for it.
pub trait Judge<T>: Send + 'static {
    /// Whether an output of the type can be an error.
    const CAN_FAIL: bool;
    /// The text of the error, if the output is one.
    fn failure(output: &T) -> Option<String>;
}

/// The value whose method resolution picks the trait, and with it the judge.
#[derive(Debug)]
pub struct Probe<T>(PhantomData<fn() -> T>);

impl<T> Probe<T> {
    pub const NEW: Self = Self(PhantomData);
}

macro_rules! judge_results {
    ($($(#[$doc:meta])* $trait:ident, $judge:ident, $probe:ty, [$($bound:tt)*], $failure:expr;)+) => {$(
        $(#[$doc])*
        pub trait $trait<T> {
            type Judge: Judge<T>;
            fn classify(&self) -> Self::Judge;
        }

        #[derive(Debug)]
        pub struct $judge;

        impl<T, E: $($bound)* 'static> $trait<Result<T, E>> for $probe {
            type Judge = $judge;
            fn classify(&self) -> $judge {
                $judge
            }
        }

        impl<T, E: $($bound)* 'static> Judge<Result<T, E>> for $judge {
            const CAN_FAIL: bool = true;
            fn failure(output: &Result<T, E>) -> Option<String> {
                let failure: fn(&E) -> String = $failure;
                output.as_ref().err().map(failure)
            }
        }
    )+};
}

judge_results! {
    /// A `Result` whose error has sources.
    ClassifyError, ByError, &&&&Probe<Result<T, E>>, [Error +], |error| text(&Chain(error));
    /// A `Result` whose error can be displayed; `{:#}`, for error types such as anyhow's that show their sources so.
    ClassifyDisplay, ByDisplay, &&&Probe<Result<T, E>>, [Display +], |error| text(error);
    /// A `Result` whose error has `Debug` only.
    ClassifyDebug, ByDebug, &&Probe<Result<T, E>>, [Debug +], |error| text(&format_args!("{error:?}"));
    /// Any other `Result`.
    ClassifyResult, ByType, &Probe<Result<T, E>>, [], |_| format!("an error of type {}", std::any::type_name::<E>());
}

/// Anything else is a success.
pub trait ClassifyValue {
    fn classify(&self) -> Always;
}

#[derive(Debug)]
pub struct Always;

impl<T> ClassifyValue for Probe<T> {
    fn classify(&self) -> Always {
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
