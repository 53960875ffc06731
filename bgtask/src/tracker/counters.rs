//! The counters of one shard: its calls, their ends, and its freed slots.
//! Owns the order in which they are written and read, so that sums add up and no slot is lost; knows nothing of what is in a
//! slot.

use crate::stats::{Outcome, Stats};
use crate::tracker::shared::Shared;
use crate::util::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::util::sync::broken;
use std::sync::Arc;

/// No slot, where the index of one is expected.
pub(crate) const NONE: u32 = u32::MAX;

/// The counters of one shard, which its chunks share.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) shared: Arc<Shared>,
    calls: Calls,
    ends: Ends,
}

/// Written by the thread that makes the calls.
// On a cache line of its own; on two, because x86 fetches lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Calls {
    /// All calls, each counted before the gate decides.
    made: AtomicU64,
    accepted: AtomicU64,
    /// A call that is neither accepted nor refused has not been decided, and a drain waits for it.
    refused: AtomicU64,
}

/// Written by the threads on which the calls end.
#[derive(Debug)]
#[repr(align(128))]
struct Ends {
    /// One counter per [`Outcome`].
    outcomes: [AtomicU64; Outcome::ALL.len()],
    /// Live calls that wait for a policy.
    waiting: AtomicU64,
    /// The slots freed since the writer last took them, as two linked lists: the first warm slot, and the first cold one.
    first_freed: [AtomicU32; 2],
}

impl Counters {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            calls: Calls::default(),
            ends: Ends {
                outcomes: Default::default(),
                waiting: AtomicU64::new(0),
                first_freed: [AtomicU32::new(NONE), AtomicU32::new(NONE)],
            },
        }
    }

    /// Counts a call, and returns whether the gate admits it. Only for the thread that makes the shard's calls.
    #[inline]
    pub(crate) fn accept(&self) -> bool {
        let Calls {
            made,
            accepted,
            refused,
        } = &self.calls;
        if broken!("gate_before_count") {
            let is_accepted = self.shared.gate.admits();
            made.fetch_add(1, Ordering::SeqCst);
            let count = if is_accepted { accepted } else { refused };
            count.fetch_add(1, Ordering::Release);
            return is_accepted;
        }
        // SeqCst: pairs with the load in `running`. Counted before the gate is loaded; `Gate` gives the reason.
        made.fetch_add(1, Ordering::SeqCst);
        let is_accepted = self.shared.gate.admits();
        let count = if is_accepted { accepted } else { refused };
        // A load and a store, because no other thread writes. Release: pairs with the loads in `running`, `accepted` and `add_to`.
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Release);
        is_accepted
    }

    /// Counts a call as refused, whatever the state of the gate. Only for the thread that makes the shard's calls.
    #[cold]
    pub(crate) fn refuse(&self) {
        let Calls { made, refused, .. } = &self.calls;
        // The same steps as in `accept`, for the same reasons.
        made.fetch_add(1, Ordering::SeqCst);
        refused.store(refused.load(Ordering::Relaxed) + 1, Ordering::Release);
        // A waiter that checked between the two counts has seen the call run.
        if !self.shared.gate.is_open() {
            self.notify_waiters();
        }
    }

    /// Notes that an accepted call is going to wait for a policy.
    pub(crate) fn starts_waiting(&self) {
        // SeqCst, like all these counters. Counted after the call is accepted; see `add_to`.
        self.ends.waiting.fetch_add(1, Ordering::SeqCst);
    }

    /// Notes that the call no longer waits. Called before the end of the call is counted.
    pub(crate) fn stops_waiting(&self) {
        self.ends.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Takes all freed slots that are warm, or all that are cold. Returns the first one.
    pub(crate) fn take_freed(&self, is_warm: bool) -> u32 {
        let first_freed = self.first_freed(is_warm);
        if broken!("freed_taken_relaxed") {
            return first_freed.swap(NONE, Ordering::Relaxed);
        }
        // Acquire: pairs with the release in `give_back`, so that the links are visible.
        first_freed.swap(NONE, Ordering::Acquire)
    }

    #[inline]
    fn first_freed(&self, is_warm: bool) -> &AtomicU32 {
        &self.ends.first_freed[usize::from(!is_warm)]
    }

    /// Returns the number of calls that have not ended, including those that are neither accepted nor refused yet. Exact only
    /// while the gate is closing or closed.
    pub(crate) fn running(&self) -> u64 {
        // In this order, so that the difference is never negative: a call that has ended or was refused was counted before.
        let done = self.ended() + self.calls.refused.load(Ordering::SeqCst);
        self.calls.made.load(Ordering::SeqCst) - done
    }

    /// Returns the number of accepted calls that have not ended. Leaves out a call that is being accepted.
    pub(crate) fn accepted(&self) -> u64 {
        // In this order, so that the difference is never negative: a call is counted as accepted before it can end.
        let ended = self.ended();
        self.calls.accepted.load(Ordering::SeqCst) - ended
    }

    fn ended(&self) -> u64 {
        let counts = self.ends.outcomes.iter();
        // SeqCst: pairs with `end`; `Gate` gives the reason.
        counts.map(|count| count.load(Ordering::SeqCst)).sum()
    }

    /// Counts the end of a call, and notifies the drain and the callers of `idle()` if they must check again.
    #[inline]
    pub(crate) fn end(&self, outcome: Outcome) {
        if broken!("gate_before_end") && self.shared.gate.is_open() {
            self.ends.outcomes[outcome as usize].fetch_add(1, Ordering::SeqCst);
            return;
        }
        // SeqCst: pairs with the load in `ended`. Counted before the gate is loaded; see `Gate::is_open`.
        self.ends.outcomes[outcome as usize].fetch_add(1, Ordering::SeqCst);
        if !self.shared.gate.is_open() {
            self.notify_waiters();
        }
    }

    #[cold]
    fn notify_waiters(&self) {
        // While a call is not awaited, the drain may be complete although no shard is empty.
        let checks_not_awaited = !broken!("notified_only_when_empty");
        let running = self.running();
        if running == 0 || checks_not_awaited && self.shared.not_awaited.load(Ordering::SeqCst) > 0
        {
            self.shared.shutdown.progress(|_| ());
        }
        // The one call that is left may be the one that waits in `idle()`.
        if running <= 1 {
            self.shared.notify_idle();
        }
    }

    /// Adds the slot `index`, whose link is `link`, to the front of the freed ones. Slots are only ever taken all at once, so the
    /// exchange cannot mistake a slot that was taken and freed again for the same list.
    #[inline]
    pub(crate) fn give_back(&self, is_warm: bool, index: u32, link: &AtomicU32) {
        let first_freed = self.first_freed(is_warm);
        // Relaxed: the value is only stored in the link; nothing is read through it here.
        let mut first = first_freed.load(Ordering::Relaxed);
        loop {
            link.store(first, Ordering::Relaxed);
            // Release: pairs with the acquire in `take_freed`.
            match first_freed.compare_exchange_weak(
                first,
                index,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(_) if broken!("first_freed_overwritten") => {
                    first_freed.store(index, Ordering::Release);
                    return;
                }
                Err(now) => first = now,
            }
        }
    }

    /// Adds these counters to `totals`.
    pub(crate) fn add_to(&self, totals: &mut Stats) {
        if broken!("accepted_before_ended") {
            totals.accepted += self.calls.accepted.load(Ordering::SeqCst);
            totals.running += totals.accepted - self.ended();
            return;
        }
        let mut ended = 0;
        for (outcome, count) in Outcome::ALL.iter().zip(&self.ends.outcomes) {
            // SeqCst, like all these counters. Loaded before `accepted`, so that the sums add up.
            let count = count.load(Ordering::SeqCst);
            *totals.of(*outcome) += count;
            ended += count;
        }
        // Between the two loads: a call waits only after it is accepted and before its end is counted, so `waiting` is part of
        // `running`.
        totals.waiting += self.ends.waiting.load(Ordering::SeqCst);
        let accepted = self.calls.accepted.load(Ordering::SeqCst);
        totals.accepted += accepted;
        totals.running += accepted - ended;
        totals.refused += self.calls.refused.load(Ordering::SeqCst);
    }
}
