//! Panics: the message from the payload, the location from the process's panic hook.
//! Must never know what a caller does about a panic.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// A location in source code, such as that of a panic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SourceLocation {
    /// The file, as it was passed to the compiler.
    pub file: String,
    /// The line, starting at 1.
    pub line: u32,
    /// The column, starting at 1.
    pub column: u32,
}

#[cfg(feature = "serde")]
impl serde::Serialize for SourceLocation {
    /// Serializes the location as text: `src/api.rs:40:9`.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::util::serialize::display(self, serializer)
    }
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}:{}", self.file, self.line, self.column))
    }
}

thread_local! {
    /// The location of this thread's last panic, until the panic is caught.
    static LAST: RefCell<Option<SourceLocation>> = const { RefCell::new(None) };
    /// How many panics of this thread have run the hook. `resume_unwind` runs no hook, so its panic must not get the location of an
    /// earlier one.
    static NOTED: Cell<u64> = const { Cell::new(0) };
}

/// Installs the panic hook that records locations, which a payload does not contain. It calls the previous hook, so a program's own
/// output about panics stays the same, except for panics in the file `reported`, which are reported as errors.
pub(crate) fn install_hook(reported: &'static str) {
    static ONCE: Once = Once::new();
    if std::thread::panicking() {
        // The standard library refuses to change the hook of a panicking thread. The next installation of a manager retries.
        return;
    }
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            NOTED.set(NOTED.get() + 1);
            // A thread that is shutting down has no thread-locals left, and no code of ours that would catch the panic.
            let _ = LAST.try_with(|last| {
                if let (Ok(mut last), Some(location)) = (last.try_borrow_mut(), info.location()) {
                    *last = Some(SourceLocation {
                        file: location.file().to_owned(),
                        line: location.line(),
                        column: location.column(),
                    });
                }
            });
            // With `panic = "abort"` the process ends before anything else could report it.
            let is_reported = cfg!(panic = "unwind")
                && info
                    .location()
                    .is_some_and(|location| location.file() == reported);
            if !is_reported {
                previous(info);
            }
        }));
    });
}

/// A panic that was caught.
#[derive(Clone, Debug)]
pub(crate) struct Caught {
    pub(crate) message: String,
    pub(crate) location: Option<SourceLocation>,
}

/// Runs `work`, and returns its panic as an error.
#[inline]
pub(crate) fn catch<R>(work: impl FnOnce() -> R) -> Result<R, Box<Caught>> {
    let noted = NOTED.get();
    // AssertUnwindSafe: a value whose code panicked is never used again, only dropped.
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| caught(payload, noted))
}

/// Runs `work` and ignores its panic, which the process's panic hook has reported.
pub(crate) fn catch_and_ignore(work: impl FnOnce()) {
    let _ = catch(work);
}

#[cold]
fn caught(payload: Box<dyn Any + Send>, noted: u64) -> Box<Caught> {
    let location = LAST
        .try_with(|last| last.try_borrow_mut().ok()?.take())
        .ok()
        .flatten()
        .filter(|_| NOTED.get() != noted);
    Box::new(Caught {
        message: message(payload),
        location,
    })
}

/// Returns the payload's text. Drops the payload, whose own drop may panic.
fn message(payload: Box<dyn Any + Send>) -> String {
    let message = if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "(the panic's payload is not a string)".to_owned()
    };
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Dropping this payload could panic again. Leaking it ends the chain.
        std::mem::forget(second);
    }
    message
}
