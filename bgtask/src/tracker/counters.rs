//! The counts of one shard: its calls, their ends, and the slots that have come free.
//! Owns the order in which they are written and read, so that sums add up and no slot is lost; knows nothing of what is in a
//! slot.

use crate::stats::{Outcome, Stats};
use crate::tracker::shared::Shared;
use crate::util::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::util::sync::broken;
use std::sync::Arc;

/// Stands for "no slot" where the index of one is expected.
pub(crate) const NONE: u32 = u32::MAX;

/// What the chunks of one shard have in common: the counts, and the slots that have come free.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) shared: Arc<Shared>,
    made: Made,
    ended: Ended,
}

/// On a cache line of its own (two, since x86 fetches lines in pairs): written by the thread that makes the calls.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Made {
    /// Every call, before the gate is asked.
    calls: AtomicU64,
    /// Those that it has let in.
    accepted: AtomicU64,
    /// Those that it has turned away. What is in neither count has not been decided yet, and a drain waits for it.
    refused: AtomicU64,
}

/// Written by the threads on which the calls end.
#[derive(Debug)]
#[repr(align(128))]
struct Ended {
    /// One count for each [`Outcome`].
    outcomes: [AtomicU64; Outcome::ALL.len()],
    /// Live calls that wait for a policy.
    waiting: AtomicU64,
    /// The slots that have come free since they were last taken, each linked to the next: the first of those that keep
    /// their runners, and the first of the others.
    first_freed: [AtomicU32; 2],
}

impl Counters {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            made: Made::default(),
            ended: Ended {
                outcomes: Default::default(),
                waiting: AtomicU64::new(0),
                first_freed: [AtomicU32::new(NONE), AtomicU32::new(NONE)],
            },
        }
    }

    /// Counts a call, and says whether the gate lets it in. For the one thread that makes the shard's calls.
    #[inline]
    pub(crate) fn accept(&self) -> bool {
        let Made {
            calls,
            accepted,
            refused,
        } = &self.made;
        if broken!("gate_before_count") {
            let is_accepted = self.shared.gate.admits();
            calls.fetch_add(1, Ordering::SeqCst);
            let count = if is_accepted { accepted } else { refused };
            count.fetch_add(1, Ordering::Release);
            return is_accepted;
        }
        // SeqCst: counted before the gate is looked at; see `Gate`.
        calls.fetch_add(1, Ordering::SeqCst);
        let is_accepted = self.shared.gate.admits();
        let count = if is_accepted { accepted } else { refused };
        // A load and a store, since nobody else writes. Release: pairs with the loads of those who add up.
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Release);
        is_accepted
    }

    /// Counts a call as refused, whatever the state of the gate. Only for the thread that makes the shard's calls.
    #[cold]
    pub(crate) fn refuse(&self) {
        let Made { calls, refused, .. } = &self.made;
        // The same steps as in `accept`, for the same reasons.
        calls.fetch_add(1, Ordering::SeqCst);
        refused.store(refused.load(Ordering::Relaxed) + 1, Ordering::Release);
        // A waiter that looked in between has seen it run.
        if !self.shared.gate.is_open() {
            self.tell_drain();
        }
    }

    /// Notes that an accepted call is going to wait for a policy.
    pub(crate) fn starts_waiting(&self) {
        // SeqCst, like all these counts. Counted after the call is accepted; see `add_to`.
        self.ended.waiting.fetch_add(1, Ordering::SeqCst);
    }

    /// Notes that the call no longer waits. Called before the end of the call is counted.
    pub(crate) fn stops_waiting(&self) {
        self.ended.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Takes all slots that have come free, of those that keep their runners or of the others: the first of them.
    pub(crate) fn take_freed(&self, near: bool) -> u32 {
        if broken!("freed_taken_relaxed") {
            return self.ended.first_freed[usize::from(!near)].swap(NONE, Ordering::Relaxed);
        }
        // Acquire: pairs with the release in `give_back`, so that the links are seen.
        self.ended.first_freed[usize::from(!near)].swap(NONE, Ordering::Acquire)
    }

    /// Calls that have not ended, or of which it has not been decided whether they are accepted. Exact only while the gate is
    /// closing or closed.
    pub(crate) fn running(&self) -> u64 {
        // In this order, so that the difference is never negative: whatever has ended or was refused had been counted before.
        let done = self.ended() + self.made.refused.load(Ordering::SeqCst);
        self.made.calls.load(Ordering::SeqCst) - done
    }

    /// Returns the number of accepted calls that have not ended. Leaves out a call that is being accepted.
    pub(crate) fn accepted(&self) -> u64 {
        // In this order, so that the difference is never negative: a call is counted as accepted before it can end.
        let ended = self.ended();
        self.made.accepted.load(Ordering::SeqCst) - ended
    }

    fn ended(&self) -> u64 {
        let counts = self.ended.outcomes.iter();
        // SeqCst: see `Gate`.
        counts.map(|count| count.load(Ordering::SeqCst)).sum()
    }

    /// Counts the end of a call, and tells the drain if it has to look again.
    #[inline]
    pub(crate) fn end(&self, outcome: Outcome) {
        if broken!("gate_before_end") && self.shared.gate.is_open() {
            self.ended.outcomes[outcome as usize].fetch_add(1, Ordering::SeqCst);
            return;
        }
        // SeqCst: counted before the gate is looked at; see `Gate::is_open`.
        self.ended.outcomes[outcome as usize].fetch_add(1, Ordering::SeqCst);
        if !self.shared.gate.is_open() {
            self.tell_drain();
        }
    }

    #[cold]
    fn tell_drain(&self) {
        // Where something is exempt, no shard of it need ever run empty.
        let may_be_exempt = !broken!("notified_only_when_empty");
        let running = self.running();
        if running == 0 || may_be_exempt && self.shared.not_awaited.load(Ordering::SeqCst) > 0 {
            self.shared.progress(|_| ());
        }
        // The one call that is left may be the one that waits in `idle()`.
        if running <= 1 {
            self.shared.notify_idle();
        }
    }

    /// Puts a slot before those that have come free. They are only ever taken all at once, so no slot can have come and gone
    /// between the look at the first one and the exchange.
    #[inline]
    pub(crate) fn give_back(&self, near: bool, index: u32, link: &AtomicU32) {
        let first_freed = &self.ended.first_freed[usize::from(!near)];
        // Relaxed: this value is only written on; the slot it names is nobody's business here.
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

    /// Adds these counts to `totals`.
    pub(crate) fn add_to(&self, totals: &mut Stats) {
        if broken!("accepted_before_ended") {
            totals.accepted += self.made.accepted.load(Ordering::SeqCst);
            totals.running += totals.accepted - self.ended();
            return;
        }
        let mut ended = 0;
        for (outcome, count) in Outcome::ALL.iter().zip(&self.ended.outcomes) {
            // SeqCst, as all these counts. The ended ones are read before the accepted ones, so that the sums add up.
            let count = count.load(Ordering::SeqCst);
            *totals.of(*outcome) += count;
            ended += count;
        }
        // Between the two loads: a call waits only after it is accepted and before its end is counted, so `waiting` is part of
        // `running`.
        totals.waiting += self.ended.waiting.load(Ordering::SeqCst);
        let accepted = self.made.accepted.load(Ordering::SeqCst);
        totals.accepted += accepted;
        totals.running += accepted - ended;
        totals.refused += self.made.refused.load(Ordering::SeqCst);
    }
}
