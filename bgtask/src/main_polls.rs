//! Where the polls of `main` stand, and whether an essential task that ends now ends early.
//! Owns the order between the two; knows nothing of runtimes, or of what follows from an early end.

use crate::handler::Handler;
use crate::sync::{Mutex, MutexGuard, broken};
use std::sync::PoisonError;

/// The polls of one manager's `main`; those of a manager without a `main` never begin.
///
/// `main` may own what an essential task lives from, such as the sender of the channel that the task reads. Its locals are
/// dropped within its last poll, so the task can end before that poll has returned. Such an end follows from `main`'s own and
/// is no failure. An end that comes during a poll is therefore judged after it.
#[derive(Debug, Default)]
pub(crate) struct MainPolls(Mutex<Main>);

#[derive(Debug, Default)]
enum Main {
    /// It is pending: an essential task that ends, ends early.
    #[default]
    Pending,
    /// It is being polled. Holds the first essential task that has ended since the poll began.
    Polled(Option<&'static Handler>),
    /// It has ended: no end is early any more.
    Ended,
}

/// An essential task that has ended early. `main` is not polled while this is held, so whichever comes first of that end and the
/// next poll of `main` gives the reason of the shutdown.
#[derive(Debug)]
pub(crate) struct EarlyEnd<'a> {
    pub(crate) handler: &'static Handler,
    _main: MutexGuard<'a, Main>,
}

impl MainPolls {
    /// `main` is about to be polled.
    pub(crate) fn begin_poll(&self) {
        *self.lock() = Main::Polled(None);
    }

    /// The poll has returned, and `main` is pending.
    pub(crate) fn end_poll(&self) -> Option<EarlyEnd<'_>> {
        let mut main = self.lock();
        match std::mem::take(&mut *main) {
            Main::Polled(Some(handler)) => Some(EarlyEnd {
                handler,
                _main: main,
            }),
            _ => None,
        }
    }

    /// `main` has ended.
    pub(crate) fn main_ended(&self) {
        *self.lock() = Main::Ended;
    }

    /// An essential task has ended. `None` if that is not early, or is yet to be judged.
    pub(crate) fn task_ended(&self, handler: &'static Handler) -> Option<EarlyEnd<'_>> {
        let mut main = self.lock();
        match &mut *main {
            Main::Polled(first) if !broken!("essential_judged_at_once") => {
                first.get_or_insert(handler);
                None
            }
            Main::Ended => None,
            _ => Some(EarlyEnd {
                handler,
                _main: main,
            }),
        }
    }

    /// Locked for a look at the state and a change of it, and by [`EarlyEnd`] for the request that follows: no user code runs in
    /// there.
    fn lock(&self) -> MutexGuard<'_, Main> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
