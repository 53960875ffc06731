//! The gate: whether calls are accepted, and the one step that closes it in the moment in which nothing runs any more.
//! Owns the order between counting a call and looking at the gate; knows nothing of what is counted, or where.

use crate::util::sync::atomic::{AtomicU8, Ordering};
use crate::util::sync::{Mutex, MutexGuard, broken};

/// Calls are accepted, and nobody waits for their end.
const OPEN: u8 = 0;
/// Calls are accepted, and a caller of `idle()` waits for the moment in which nothing runs.
const WATCHED: u8 = 1;
/// Calls are accepted, and the drain is to be told when nothing runs any more.
const DRAINING: u8 = 2;
/// Whether something runs is being found out: a call waits for the answer.
const CLOSING: u8 = 3;
/// Calls are refused.
const CLOSED: u8 = 4;

/// How calls and the drain agree on which of them came first, without a lock on the path of a call.
///
/// A call first counts itself and then looks at the gate; whoever closes the gate first says that it is closing and then
/// looks at the counts. All four steps are sequentially consistent, so at least one of the two sees the other: either
/// the call is in the sum and the gate stays open, or the call finds the gate closing and waits for the answer.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: AtomicU8,
    /// Held from [`CLOSING`] until the answer is there, for a few loads a thread that makes calls.
    deciding: Mutex<()>,
}

impl Gate {
    /// Whether a call may go on. It has to have been counted before, by a sequentially consistent write.
    #[inline]
    pub(crate) fn admits(&self) -> bool {
        // SeqCst: see `Gate`.
        match self.state.load(Ordering::SeqCst) {
            OPEN | WATCHED | DRAINING => true,
            _ => self.admits_once_decided(),
        }
    }

    #[cold]
    fn admits_once_decided(&self) -> bool {
        let _decided = self.decide();
        self.state.load(Ordering::SeqCst) != CLOSED
    }

    /// Whether nobody waits yet for calls to end. A call that has ended has to have been counted as such before, by a
    /// sequentially consistent write: then either this tells it of the drain, or the drain sees it ended.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.state.load(Ordering::SeqCst) == OPEN
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.load(Ordering::SeqCst) == CLOSED
    }

    /// From now on [`is_open`](Self::is_open) says no.
    pub(crate) fn start_draining(&self) {
        let _deciding = self.decide();
        if let OPEN | WATCHED = self.state.load(Ordering::SeqCst) {
            self.state.store(DRAINING, Ordering::SeqCst);
        }
    }

    /// Sets whether a caller of `idle()` waits. If one does, [`is_open`](Self::is_open) returns `false`. Has no effect once the
    /// drain has begun.
    pub(crate) fn watch(&self, is_watched: bool) {
        let _deciding = self.decide();
        let (from, to) = if is_watched {
            (OPEN, WATCHED)
        } else {
            (WATCHED, OPEN)
        };
        if self.state.load(Ordering::SeqCst) == from {
            self.state.store(to, Ordering::SeqCst);
        }
    }

    /// Returns whether `nothing_runs`, as one step: a call is either seen by `nothing_runs`, or comes after it. Returns `false` if
    /// the gate has closed.
    pub(crate) fn ask(&self, nothing_runs: impl FnOnce() -> bool) -> bool {
        let mut answer = None;
        self.close_if(|| {
            answer = Some(nothing_runs());
            false
        });
        // `close_if` does not call `nothing_runs` if the gate has closed.
        answer.unwrap_or(false)
    }

    /// Closes the gate if `nothing_runs`, as one step: a call is either seen by `nothing_runs` or refused.
    pub(crate) fn close_if(&self, nothing_runs: impl FnOnce() -> bool) -> bool {
        let _deciding = self.decide();
        if broken!("counts_before_closing") {
            let closes = nothing_runs();
            if closes {
                self.state.store(CLOSED, Ordering::SeqCst);
            }
            return closes;
        }
        // A closed gate stays so: not even for a moment is it seen as one that may open again.
        if self.is_closed() && !broken!("closed_gate_asked_again") {
            return true;
        }
        let before = self.state.swap(CLOSING, Ordering::SeqCst);
        let closes = nothing_runs();
        let after = if closes { CLOSED } else { before };
        self.state.store(after, Ordering::SeqCst);
        closes
    }

    /// Closes the gate whatever runs.
    pub(crate) fn close(&self) {
        let _deciding = self.decide();
        self.state.store(CLOSED, Ordering::SeqCst);
    }

    fn decide(&self) -> MutexGuard<'_, ()> {
        // It guards no data that a panic could have left half-changed.
        self.deciding.lock()
    }
}
