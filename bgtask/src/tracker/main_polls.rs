//! The polls of `main`, which decide whether an essential task that ends now ends early.
//! Owns the order between polls and ends; knows nothing of runtimes, or of what follows from an early end.

use crate::handler::Handler;
use crate::util::sync::{Mutex, MutexGuard, broken};

/// The polls of one manager's `main`. For a manager without a `main`, no poll ever begins.
///
/// `main` may own what an essential task depends on, such as the sender of the channel that the task reads. The locals of `main`
/// are dropped within its last poll, so the task can end before that poll returns. Such an end is a consequence of `main`'s own
/// end and no failure. Therefore an end that comes during a poll is judged after the poll.
///
/// Locked to read and change the state, and by [`EarlyEnd`] for the request that follows. No user code runs under the lock.
#[derive(Debug, Default)]
pub(crate) struct MainPolls(Mutex<Main>);

#[derive(Debug, Default)]
enum Main {
    /// `main` is pending: an essential task that ends now ends early.
    #[default]
    Pending,
    /// `main` is being polled. Holds the first essential task that has ended since the poll began.
    Polled(Option<&'static Handler>),
    /// `main` has ended: no later end is early.
    Ended,
}

/// An essential task that has ended early. While this value is held, `main` is not polled, so either this end or the next poll of
/// `main`, whichever comes first, gives the reason for the shutdown.
#[derive(Debug)]
pub(crate) struct EarlyEnd<'a> {
    pub(crate) handler: &'static Handler,
    _main: MutexGuard<'a, Main>,
}

impl MainPolls {
    /// Notes that a poll of `main` begins.
    pub(crate) fn begin_poll(&self) {
        *self.0.lock() = Main::Polled(None);
    }

    /// Notes that the poll has returned and `main` is pending. Returns the first end that came during the poll, which is early.
    pub(crate) fn end_poll(&self) -> Option<EarlyEnd<'_>> {
        let mut main = self.0.lock();
        match std::mem::take(&mut *main) {
            Main::Polled(Some(handler)) => Some(EarlyEnd {
                handler,
                _main: main,
            }),
            _ => None,
        }
    }

    /// Notes that `main` has ended.
    pub(crate) fn main_ended(&self) {
        *self.0.lock() = Main::Ended;
    }

    /// Notes that an essential task has ended. Returns `None` if that is not early, or will be judged after the current poll.
    pub(crate) fn task_ended(&self, handler: &'static Handler) -> Option<EarlyEnd<'_>> {
        let mut main = self.0.lock();
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
}
