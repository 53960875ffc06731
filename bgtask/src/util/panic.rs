//! What is known of a panic: its message from the payload, its place from the process's panic hook.
//! Knows nothing of what is done about it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// A place in source code, of a panic for instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SourceLocation {
    /// The file, as the compiler was given it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}:{}", self.file, self.line, self.column))
    }
}

thread_local! {
    /// Where this thread last panicked. Taken by whoever catches the panic.
    static LAST: RefCell<Option<SourceLocation>> = const { RefCell::new(None) };
    /// How many of this thread's panics the hook has seen: a payload that is thrown on with `resume_unwind` runs no hook, and
    /// must not be given the place of some earlier panic.
    static NOTED: Cell<u64> = const { Cell::new(0) };
}

/// A panic's payload does not say where it happened: only a panic hook is told. Ours notes the place and hands on to the
/// hook that was there before, so what a program prints of its panics stays as it was; but for those that come from the file
/// `reported`, whose cause is reported by itself.
pub(crate) fn install_hook(reported: &'static str) {
    static ONCE: Once = Once::new();
    if std::thread::panicking() {
        // The standard library refuses to change the hook here. The next manager's installation makes up for it.
        return;
    }
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            NOTED.set(NOTED.get() + 1);
            // A thread that is being torn down has nowhere to note it, and nothing of ours left to catch it.
            let _ = LAST.try_with(|last| {
                if let (Ok(mut last), Some(place)) = (last.try_borrow_mut(), info.location()) {
                    *last = Some(SourceLocation {
                        file: place.file().to_owned(),
                        line: place.line(),
                        column: place.column(),
                    });
                }
            });
            // With `panic = "abort"` nobody is left to report it.
            let is_reported = cfg!(panic = "unwind")
                && info
                    .location()
                    .is_some_and(|place| place.file() == reported);
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

/// Runs `work`; a panic comes back as what is known of it.
#[inline]
pub(crate) fn catch<R>(work: impl FnOnce() -> R) -> Result<R, Box<Caught>> {
    let noted = NOTED.get();
    // AssertUnwindSafe: what panicked is never used again, its owner drops it.
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| caught(payload, noted))
}

/// Runs `work` where nothing may go further. Its panic has been seen by the process's panic hook.
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

/// The payload's text. Consumes the payload, whose own drop may panic once more.
fn message(payload: Box<dyn Any + Send>) -> String {
    let message = if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "(the panic's payload is not a string)".to_owned()
    };
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // A payload that panics while it is dropped, from a drop that panicked: leaking it ends the chain.
        std::mem::forget(second);
    }
    message
}
