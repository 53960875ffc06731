//! The gate: whether calls are accepted, and the one step that closes it when no call runs.
//! Owns the order between counting a call and loading the gate; knows nothing of what is counted, or where.

use crate::util::sync::atomic::{AtomicU8, Ordering};
use crate::util::sync::{Mutex, MutexGuard, broken};

/// Calls are accepted, and no thread waits for their ends.
const OPEN: u8 = 0;
/// Calls are accepted, and a caller of `idle()` waits until none runs.
const WATCHED: u8 = 1;
/// Calls are accepted, and the drain waits until none runs.
const DRAINING: u8 = 2;
/// A thread checks whether a call runs. A new call waits for the result.
const CLOSING: u8 = 3;
/// Calls are refused.
const CLOSED: u8 = 4;

/// How calls and the drain agree on which of them came first, without a lock on the path of a call.
///
/// A call first counts itself and then loads the gate. A thread that closes the gate first sets it to closing and then loads the
/// counts. All four steps are sequentially consistent, so at least one of the two sees the other: either the call is in the sum and
/// the gate stays open, or the call finds the gate closing and waits for the result.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: AtomicU8,
    /// Held while the gate is [`CLOSING`], for a few loads per shard.
    deciding: Mutex<()>,
}

impl Gate {
    /// Returns whether a call is accepted. The caller has counted the call before, in a sequentially consistent write.
    #[inline]
    pub(crate) fn admits(&self) -> bool {
        // SeqCst: pairs with the swap in `close_if`; see `Gate`.
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

    /// Returns whether no thread waits for calls to end. The caller has counted an end before, in a sequentially consistent write:
    /// either this returns `false`, or the waiter finds the call ended.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        // SeqCst: pairs with the store in `start_draining` and in `watch`.
        self.state.load(Ordering::SeqCst) == OPEN
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.load(Ordering::SeqCst) == CLOSED
    }

    /// Has [`is_open`](Self::is_open) return `false` from now on.
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

    /// Returns whether `nothing_runs`, as one step: `nothing_runs` counts a call, or the call comes after it. Returns `false` if the
    /// gate has closed.
    pub(crate) fn ask(&self, nothing_runs: impl FnOnce() -> bool) -> bool {
        let mut answer = None;
        self.close_if(|| {
            answer = Some(nothing_runs());
            false
        });
        // `close_if` does not call `nothing_runs` if the gate has closed.
        answer.unwrap_or(false)
    }

    /// Closes the gate if `nothing_runs`, as one step: `nothing_runs` counts a call, or the call is refused.
    pub(crate) fn close_if(&self, nothing_runs: impl FnOnce() -> bool) -> bool {
        let _deciding = self.decide();
        if broken!("counts_before_closing") {
            let closes = nothing_runs();
            if closes {
                self.state.store(CLOSED, Ordering::SeqCst);
            }
            return closes;
        }
        // A closed gate stays closed: no thread may find it `CLOSING` even for a moment.
        if self.is_closed() && !broken!("closed_gate_asked_again") {
            return true;
        }
        let before = self.state.swap(CLOSING, Ordering::SeqCst);
        let closes = nothing_runs();
        let after = if closes { CLOSED } else { before };
        self.state.store(after, Ordering::SeqCst);
        closes
    }

    /// Closes the gate, whatever runs.
    pub(crate) fn close(&self) {
        let _deciding = self.decide();
        self.state.store(CLOSED, Ordering::SeqCst);
    }

    fn decide(&self) -> MutexGuard<'_, ()> {
        // The lock guards no data that a panic could leave half-changed.
        self.deciding.lock()
    }
}
