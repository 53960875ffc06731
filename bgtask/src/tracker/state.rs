//! The state word of a slot: the flags of its call, a count of drain waits, and the generation of the slot.
//! Owns every change of the word and the memory ordering of each; knows nothing of what else the slot holds.

use crate::stats::TaskState;
use crate::util::sync::atomic::AtomicU64;
use crate::util::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::util::sync::broken;
use std::fmt;

/// The call has been launched and not retired.
const LIVE: u64 = 1;

/// The call was retired before its end, and may still run.
const ABANDONED: u64 = 1 << 1;

/// The call has ended, and its output waits for the holder of the handle.
const DONE: u64 = 1 << 2;

/// The handle has been dropped.
const DETACHED: u64 = 1 << 3;

/// The entry holds a joiner or a token, which the end of the call must drop.
const HAS_EXTRAS: u64 = 1 << 4;

/// The drain does not wait for the call, because the call waits for the drain.
///
/// Set only while `LIVE` is set.
const NOT_AWAITED: u64 = 1 << 5;

/// The task must be dropped at its next await.
const ABORTED: u64 = 1 << 6;

/// Observers were notified of the start, and the slot stores how long the call waited for it.
const START_REPORTED: u64 = 1 << 7;

/// Observers were notified that the call is waiting; they must be notified again when it stops.
const WAIT_REPORTED: u64 = 1 << 8;

/// Observers were notified of the end, or one thread has claimed the right to notify them.
const END_REPORTED: u64 = 1 << 9;

/// The call was logged because it takes long.
const SLOW_REPORTED: u64 = 1 << 10;

/// The call was logged because it still runs long after its token fired.
const OVERDUE_REPORTED: u64 = 1 << 11;

/// The call has waited for the drain, and so may run on after it.
const MAY_OUTLIVE_DRAIN: u64 = 1 << 12;

/// The call is a member of a group, and the entry holds its membership until the call is retired.
const IN_GROUP: u64 = 1 << 13;

/// The holder of the handle awaited the call before it ended.
const HAS_JOINED: u64 = 1 << 14;

/// A policy makes the call wait, and its body has not begun. Counted in the shard's counters while the call is live.
const WAITS: u64 = 1 << 15;

/// The first instruction had not run when the deadline passed.
const QUEUED: u64 = 1 << 16;

/// The call slept between two attempts when the deadline passed.
const ASLEEP: u64 = 1 << 17;

/// One wait of the task for the drain.
const DRAIN_WAIT: u64 = 1 << 20;

/// The number of these waits.
const DRAIN_WAITS: u64 = 0xFFF << 20;

/// The position of the generation. It identifies the call among all calls that use the slot one after the other.
const GENERATION_SHIFT: u32 = 32;

/// The state word of one slot.
///
/// A slot goes through these states:
///
/// ```text
/// free ─▶ reserved ─▶ LIVE ─┬────────────▶ DONE ─▶ free, next generation    the handle is held at the end
///            │              ├─▶ ABANDONED ──┴────▶ free, next generation    retired at the deadline, ends later
///            │              └────────────────────▶ free, next generation    the handle was dropped before
///            └───────────────────────────────────▶ free, next generation    never launched
/// ```
///
/// Every transition of a launched call is a read-modify-write, so all threads agree on their order. Each takes the generation
/// of the caller's call and does nothing once the slot has another one.
#[derive(Debug)]
pub(crate) struct State(AtomicU64);

/// The value of a state word at one moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Snapshot(u64);

/// The result of the transition to `DONE`: the next step of the thread that ended the call.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ToDone {
    /// The output waits for the holder of the handle. The caller counts the end of the call, which was in this state.
    Done(Snapshot),
    /// The handle was dropped. The caller handles the output and then calls [`State::transition_to_free`].
    Detached,
}

/// The result of the transition to `DETACHED`: the next step of the thread that dropped the handle.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ToDetached {
    /// The call has not ended. Its end frees the slot.
    Running,
    /// The call has ended. The caller drops what is left and frees the slot.
    Done,
}

/// The result of one more wait for the drain: the next step of the waiting task.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AddDrainWait {
    /// The call waited already, and this wait is counted too.
    Added,
    /// The drain still waits for the call. The caller adds the call to the number of calls that are not awaited, and then
    /// calls [`State::transition_to_not_awaited`].
    IsAwaited,
    /// The call has been retired.
    Retired,
}

/// The reports of a live call that are logged at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReportKind {
    /// The call takes long.
    Slow,
    /// The call still runs long after its token fired.
    Overdue,
}

impl ReportKind {
    fn flag(self) -> u64 {
        match self {
            ReportKind::Slow => SLOW_REPORTED,
            ReportKind::Overdue => OVERDUE_REPORTED,
        }
    }
}

/// Free and reserved slots: only the caller knows the slot.
impl State {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Returns the generation for the next call in a free slot.
    #[inline]
    pub(crate) fn free_generation(&self) -> u32 {
        // Relaxed: the acquire in `Counters::take_freed` has made the last transition of the slot visible.
        Snapshot(self.0.load(Relaxed)).generation()
    }

    /// Makes the reserved call a member of a group.
    #[inline]
    pub(crate) fn set_in_group(&self) {
        // Relaxed: the release in `transition_to_live` publishes it.
        self.0.fetch_or(IN_GROUP, Relaxed);
    }

    /// Makes the reserved call wait for a policy. `is_reported`: observers are notified of it.
    pub(crate) fn set_waits(&self, is_reported: bool) {
        let report = if is_reported { WAIT_REPORTED } else { 0 };
        // Relaxed: the release in `transition_to_live` publishes it.
        self.0.fetch_or(WAITS | report, Relaxed);
    }

    /// Launches the reserved call. The caller has written the entry and holds its lock.
    #[inline]
    pub(crate) fn transition_to_live(&self) {
        // A load and a store, because nobody else changes the word of a reserved slot.
        let reserved = self.0.load(Relaxed);
        // Release: pairs with the acquire in `load`, so that a thread that finds the call live finds its entry written.
        self.0.store(reserved | LIVE, Release);
    }

    /// Frees a reserved slot whose call is not launched. Returns the state before.
    pub(crate) fn discard_reserved(&self, generation: u32) -> Snapshot {
        // AcqRel: as in `update`.
        Snapshot(self.0.swap(Snapshot::free_after(generation).0, AcqRel))
    }
}

/// Launched calls.
impl State {
    #[inline]
    pub(crate) fn load(&self) -> Snapshot {
        // Acquire: pairs with the release in `transition_to_live` and in `update`, so that this thread sees what led to the
        // state.
        Snapshot(self.0.load(Acquire))
    }

    /// Returns the state of the call with this `generation`, or `None` once the slot has another one.
    #[inline]
    pub(crate) fn load_of(&self, generation: u32) -> Option<Snapshot> {
        let state = self.load();
        (state.generation() == generation || broken!("any_generation")).then_some(state)
    }

    /// Ends the call: its output waits for the holder of the handle, unless the handle was dropped. The caller holds the lock of the
    /// entry, into which it has put the output.
    #[inline]
    pub(crate) fn transition_to_done(&self, generation: u32) -> ToDone {
        // A wait for the drain may outlive the call, and no longer matters.
        let retired = LIVE | ABANDONED | NOT_AWAITED | IN_GROUP | WAITS;
        let done = self.update(generation, |state| {
            let may_be_done = !state.has(DETACHED) || broken!("done_though_detached");
            may_be_done.then(|| state.without(retired).with(DONE))
        });
        done.map_or(ToDone::Detached, ToDone::Done)
    }

    /// Notes that the handle has been dropped.
    #[inline]
    pub(crate) fn transition_to_detached(&self, generation: u32) -> ToDetached {
        match self.update(generation, |state| Some(state.with(DETACHED))) {
            Some(before) if before.has(DONE) => ToDetached::Done,
            _ => ToDetached::Running,
        }
    }

    /// Ends a call whose handle was dropped: the slot is free. Returns the state before.
    #[inline]
    pub(crate) fn transition_to_free(&self, generation: u32) -> Option<Snapshot> {
        self.update(generation, |_| Some(Snapshot::free_after(generation)))
    }

    /// Frees the slot of a call that has ended and whose handle was dropped. No other thread changes the word any more.
    pub(crate) fn free_done(&self, generation: u32) {
        // Release: pairs with the acquire in `load` of the slot's next user.
        self.0.store(Snapshot::free_after(generation).0, Release);
    }

    /// Retires a call at the deadline, although it may still run. Returns the state before, or `None` if the drain does not wait
    /// for the call. The caller holds the lock of the entry; `is_queued`: the task is still in it.
    pub(crate) fn transition_to_abandoned(
        &self,
        generation: u32,
        is_queued: bool,
    ) -> Option<Snapshot> {
        let before = self.update(generation, |state| {
            // Checked again in this step: the call may wait for the drain by now, which is as good as an end.
            let may_be_retired = state.is_awaited() || broken!("retired_twice");
            let abandoned = ABANDONED | END_REPORTED;
            may_be_retired.then(|| state.without(LIVE | IN_GROUP | WAITS).with(abandoned))
        })?;
        Some(if is_queued {
            before.with(QUEUED)
        } else {
            before
        })
    }

    /// Has the task dropped at its next await. Returns `false` if the call has been retired.
    pub(crate) fn transition_to_aborted(&self, generation: u32) -> bool {
        self.set_while_live(generation, ABORTED)
    }

    /// The same for a call that is about to begin. The caller holds the lock of the entry, so the call is neither retired nor
    /// begun by another thread.
    pub(crate) fn abort_at_start(&self) {
        // AcqRel: as in `update`.
        self.0.fetch_or(ABORTED, AcqRel);
    }

    /// Admits a call that waits for a policy. Returns whether it waited.
    pub(crate) fn transition_to_admitted(&self, generation: u32) -> bool {
        let admitted = |state: Snapshot| state.has(WAITS).then(|| state.without(WAITS));
        self.update(generation, admitted).is_some()
    }

    /// Adds a wait for the drain to a call that waits for it already.
    pub(crate) fn add_drain_wait(&self, generation: u32) -> AddDrainWait {
        let added = self.update(generation, |state| {
            state.has(NOT_AWAITED).then(|| match state.drain_waits() {
                // A task never waits this often at once. If it does, we stop counting before the sum reaches the generation.
                DRAIN_WAITS => state,
                _ => Snapshot(state.0 + DRAIN_WAIT),
            })
        });
        match added {
            Some(_) => AddDrainWait::Added,
            None if self.load_of(generation).is_some_and(Snapshot::is_live) => {
                AddDrainWait::IsAwaited
            }
            None => AddDrainWait::Retired,
        }
    }

    /// Notes that the call waits for the drain, once. Returns `false` if the call has been retired.
    pub(crate) fn transition_to_not_awaited(&self, generation: u32) -> bool {
        let once = DRAIN_WAIT | NOT_AWAITED | MAY_OUTLIVE_DRAIN;
        let not_awaited =
            |state: Snapshot| (state.is_live()).then(|| state.without(DRAIN_WAITS).with(once));
        self.update(generation, not_awaited).is_some()
    }

    /// Removes a wait for the drain. Returns whether the drain waits for the call again.
    pub(crate) fn remove_drain_wait(&self, generation: u32) -> bool {
        let before = self.update(generation, |state| {
            state.has(NOT_AWAITED).then(|| match state.drain_waits() {
                0 | DRAIN_WAIT => state.without(DRAIN_WAITS | NOT_AWAITED),
                _ => Snapshot(state.0 - DRAIN_WAIT),
            })
        });
        before.is_some_and(|before| before.drain_waits() <= DRAIN_WAIT)
    }

    /// Notes that the entry holds a joiner. The caller holds the lock of the entry.
    pub(crate) fn set_joined(&self, generation: u32) {
        self.update(generation, |state| {
            Some(state.with(HAS_EXTRAS | HAS_JOINED))
        });
    }

    /// Notes that the entry holds a token. Returns `false` if the call has been retired. The caller holds the lock of the entry.
    pub(crate) fn set_has_token(&self, generation: u32) -> bool {
        self.set_while_live(generation, HAS_EXTRAS)
    }

    /// Notes for the report that the first instruction has not run.
    pub(crate) fn set_queued(&self, generation: u32) {
        self.set_while_live(generation, QUEUED);
    }

    /// Notes for the report that the call sleeps between two attempts.
    pub(crate) fn set_asleep(&self, generation: u32) {
        self.set_while_live(generation, ASLEEP);
    }

    /// Claims the right to notify observers of the start: for one thread, and only before the end is claimed.
    pub(crate) fn claim_start(&self, generation: u32) -> bool {
        let claimed = self.update(generation, |state| {
            let may_claim =
                state.is(LIVE | START_REPORTED | END_REPORTED, LIVE) || broken!("start_after_end");
            may_claim.then(|| state.with(START_REPORTED))
        });
        claimed.is_some()
    }

    /// Claims the right to notify observers that the call no longer waits: for one thread, if they know that it waits.
    pub(crate) fn claim_wait_end(&self, generation: u32) -> bool {
        let claimed = self.update(generation, |state| {
            let may_claim = state.is_live() && state.has(WAIT_REPORTED);
            may_claim.then(|| state.without(WAIT_REPORTED))
        });
        claimed.is_some()
    }

    /// Claims the right to notify observers of the end: for one thread, and not once the call has been retired. Returns the state
    /// before.
    pub(crate) fn claim_end(&self, generation: u32) -> Option<Snapshot> {
        self.update(generation, |state| {
            let may_claim = state.is(LIVE | END_REPORTED, LIVE);
            may_claim.then(|| state.without(WAIT_REPORTED).with(END_REPORTED))
        })
    }

    /// Claims the right to log a report of this `kind`: for one thread, while the call is live.
    pub(crate) fn claim_report(&self, generation: u32, kind: ReportKind) -> bool {
        let claimed = |state| {
            let state = Snapshot(state);
            let may_claim = state.generation() == generation && state.is_reportable(kind);
            may_claim.then(|| state.with(kind.flag()).0)
        };
        // Relaxed: nobody but this method reads these flags to act on them. As a read-modify-write it keeps what other
        // transitions have released.
        self.0.fetch_update(Relaxed, Relaxed, claimed).is_ok()
    }

    fn set_while_live(&self, generation: u32, flag: u64) -> bool {
        let set = |state: Snapshot| state.is_live().then(|| state.with(flag));
        self.update(generation, set).is_some()
    }

    /// Changes the word as long as the slot has this `generation` and `next` returns a state. Returns the state before.
    #[inline]
    fn update(
        &self,
        generation: u32,
        next: impl Fn(Snapshot) -> Option<Snapshot>,
    ) -> Option<Snapshot> {
        let mut before = self.load_of(generation)?;
        loop {
            let after = next(before)?;
            // AcqRel, in every transition: each acquires what the ones before it released, and `load` acquires from it.
            let exchanged = self
                .0
                .compare_exchange_weak(before.0, after.0, AcqRel, Acquire);
            match exchanged {
                Ok(_) => return Some(before),
                Err(_) => before = self.load_of(generation)?,
            }
        }
    }
}

impl Snapshot {
    /// Returns the state of the free slot that the call with this `generation` leaves.
    #[inline]
    fn free_after(generation: u32) -> Self {
        Self(u64::from(generation.wrapping_add(1)) << GENERATION_SHIFT)
    }

    #[inline]
    pub(crate) fn generation(self) -> u32 {
        (self.0 >> GENERATION_SHIFT) as u32
    }

    /// Returns whether the call has been launched and not retired.
    #[inline]
    pub(crate) fn is_live(self) -> bool {
        self.has(LIVE)
    }

    /// Returns whether the call is live and a drain waits for it.
    pub(crate) fn is_awaited(self) -> bool {
        self.is(LIVE | NOT_AWAITED, LIVE)
    }

    pub(crate) fn is_not_awaited(self) -> bool {
        self.has(NOT_AWAITED)
    }

    pub(crate) fn is_abandoned(self) -> bool {
        self.has(ABANDONED)
    }

    /// Returns whether the call has ended and its slot is not free yet.
    pub(crate) fn is_done(self) -> bool {
        self.has(DONE)
    }

    /// Returns whether the call has ended and its handle is still held: no thread frees the slot yet.
    pub(crate) fn is_unclaimed(self) -> bool {
        self.is(DONE | DETACHED, DONE)
    }

    /// Returns whether the handle was dropped.
    #[inline]
    pub(crate) fn is_detached(self) -> bool {
        self.has(DETACHED)
    }

    #[inline]
    pub(crate) fn is_aborted(self) -> bool {
        self.has(ABORTED)
    }

    #[inline]
    pub(crate) fn is_in_group(self) -> bool {
        self.has(IN_GROUP)
    }

    pub(crate) fn waits(self) -> bool {
        self.has(WAITS)
    }

    #[inline]
    pub(crate) fn has_extras(self) -> bool {
        self.has(HAS_EXTRAS)
    }

    pub(crate) fn has_joined(self) -> bool {
        self.has(HAS_JOINED)
    }

    /// Returns whether the call may run after the shutdown is over.
    pub(crate) fn may_outlive_drain(self) -> bool {
        self.has(MAY_OUTLIVE_DRAIN)
    }

    pub(crate) fn is_start_reported(self) -> bool {
        self.has(START_REPORTED)
    }

    pub(crate) fn is_wait_reported(self) -> bool {
        self.has(WAIT_REPORTED)
    }

    pub(crate) fn is_end_reported(self) -> bool {
        self.has(END_REPORTED)
    }

    /// Returns whether the call may begin: it is live or abandoned, so the slot has not been freed.
    #[inline]
    pub(crate) fn may_start(self) -> bool {
        self.has(LIVE | ABANDONED)
    }

    /// Returns whether the call may begin without a further check: it is live, and no member of a group.
    #[inline]
    pub(crate) fn starts_at_once(self) -> bool {
        self.is(LIVE | ABANDONED | IN_GROUP, LIVE)
    }

    /// Returns whether a poll needs a further check: the task is aborted or a member of a group.
    #[inline]
    pub(crate) fn is_special(self) -> bool {
        self.has(ABORTED | IN_GROUP)
    }

    /// Returns whether the call is a live member of a group and is not aborted.
    #[inline]
    pub(crate) fn is_running_member(self) -> bool {
        self.is(ABORTED | IN_GROUP, IN_GROUP)
    }

    /// Returns whether counting the end is all that retires the call: it is in no group and in no count of special calls.
    #[inline]
    pub(crate) fn retires_at_once(self) -> bool {
        self.is(LIVE | NOT_AWAITED | IN_GROUP | WAITS, LIVE)
    }

    /// Returns whether the call is live and in no count of special calls.
    #[inline]
    pub(crate) fn is_running(self) -> bool {
        self.is(LIVE | NOT_AWAITED | WAITS, LIVE)
    }

    /// Returns whether a report of this `kind` may still be logged.
    pub(crate) fn is_reportable(self, kind: ReportKind) -> bool {
        let excluded = match kind {
            ReportKind::Slow => SLOW_REPORTED,
            // A call that waits for the drain cannot end before it.
            ReportKind::Overdue => OVERDUE_REPORTED | NOT_AWAITED,
        };
        self.is(LIVE | excluded, LIVE)
    }

    /// Returns what the call was doing at the deadline.
    pub(crate) fn state_at_deadline(self) -> TaskState {
        if self.has(WAITS) {
            TaskState::Waiting
        } else if self.has(QUEUED) {
            TaskState::Queued
        } else if self.has(ASLEEP) {
            TaskState::BackingOff
        } else {
            TaskState::Running
        }
    }

    /// Returns whether the body of the call has not begun.
    pub(crate) fn has_not_begun(self) -> bool {
        self.has(QUEUED | WAITS)
    }

    /// The number of waits for the drain, in units of [`DRAIN_WAIT`].
    fn drain_waits(self) -> u64 {
        self.0 & DRAIN_WAITS
    }

    /// Returns whether any of these `flags` is set.
    #[inline]
    fn has(self, flags: u64) -> bool {
        self.0 & flags != 0
    }

    /// Returns whether exactly the flags `set` are set among `flags`.
    #[inline]
    fn is(self, flags: u64, set: u64) -> bool {
        self.0 & flags == set
    }

    #[inline]
    fn with(self, flags: u64) -> Self {
        Self(self.0 | flags)
    }

    #[inline]
    fn without(self, flags: u64) -> Self {
        Self(self.0 & !flags)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:#x} of generation {}",
            self.0 as u32,
            self.generation()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENERATION: u32 = 7;

    /// Returns a state word with these flags.
    fn word(flags: u64) -> State {
        State(AtomicU64::new(
            u64::from(GENERATION) << GENERATION_SHIFT | flags,
        ))
    }

    fn flags(state: &State) -> u64 {
        let state = state.load();
        assert_eq!(state.generation(), GENERATION);
        u64::from(state.0 as u32)
    }

    type Transition = (&'static str, fn(&State, u32) -> bool);

    /// Every transition of a launched call that leaves the slot to it, and whether it was made.
    const TRANSITIONS: &[Transition] = &[
        ("done", |state, own| {
            matches!(state.transition_to_done(own), ToDone::Done(_))
        }),
        ("detached", |state, own| {
            // Is made in any state, and returns whether the call is done.
            state.transition_to_detached(own) == ToDetached::Done
        }),
        ("abandoned", |state, own| {
            state.transition_to_abandoned(own, false).is_some()
        }),
        ("aborted", State::transition_to_aborted),
        ("admitted", State::transition_to_admitted),
        ("add drain wait", |state, own| {
            state.add_drain_wait(own) == AddDrainWait::Added
        }),
        ("not awaited", State::transition_to_not_awaited),
        ("remove drain wait", |state, own| {
            state.load_of(own).is_some_and(Snapshot::is_not_awaited)
                && (state.remove_drain_wait(own) || state.load().is_not_awaited())
        }),
        ("token", State::set_has_token),
        ("start", State::claim_start),
        ("wait end", State::claim_wait_end),
        ("end", |state, own| state.claim_end(own).is_some()),
        ("slow", |state, own| {
            state.claim_report(own, ReportKind::Slow)
        }),
        ("overdue", |state, own| {
            state.claim_report(own, ReportKind::Overdue)
        }),
    ];

    /// All states with at most three flags set.
    fn states() -> impl Iterator<Item = u64> {
        let bits = || (0..21).map(|bit| 1_u64 << bit);
        bits().flat_map(move |one| {
            bits().flat_map(move |two| bits().map(move |three| one | two | three))
        })
    }

    #[test]
    fn a_transition_of_an_earlier_call_changes_nothing() {
        for flags in states() {
            let state = word(flags);
            let before = state.load();
            for (name, transition) in TRANSITIONS {
                assert!(!transition(&state, GENERATION - 1), "{name} on {before:?}");
                assert_eq!(state.load(), before, "{name}");
            }
            state.set_joined(GENERATION - 1);
            state.set_queued(GENERATION - 1);
            state.set_asleep(GENERATION - 1);
            assert_eq!(state.transition_to_free(GENERATION - 1), None);
            assert_eq!(state.load(), before);
        }
    }

    #[test]
    fn a_transition_that_does_not_take_place_changes_nothing_and_none_changes_the_generation() {
        for flags in states() {
            for (name, transition) in TRANSITIONS {
                let state = word(flags);
                let before = state.load();
                let took_place = transition(&state, GENERATION);
                let after = state.load();
                assert_eq!(after.generation(), GENERATION, "{name} on {before:?}");
                let is_same = after == before || *name == "detached";
                assert!(took_place || is_same, "{name}: {before:?} to {after:?}");
            }
        }
    }

    /// Which transitions are possible from which state.
    #[test]
    fn only_the_transitions_of_a_state_take_place_in_it() {
        let live = [
            "done",
            "abandoned",
            "aborted",
            "not awaited",
            "token",
            "start",
            "end",
            "slow",
            "overdue",
        ];
        let without = |names: &[&str]| -> Vec<_> {
            let left = live.into_iter().filter(|name| !names.contains(name));
            left.collect()
        };
        let with = |mut names: Vec<&'static str>, more: &[&'static str]| {
            names.extend(more);
            names
        };
        let expected = [
            (0, vec!["done"]),
            (LIVE, without(&[])),
            (LIVE | DETACHED, without(&["done"])),
            (LIVE | START_REPORTED, without(&["start"])),
            (LIVE | END_REPORTED, without(&["start", "end"])),
            (LIVE | SLOW_REPORTED, without(&["slow"])),
            (LIVE | OVERDUE_REPORTED, without(&["overdue"])),
            (LIVE | WAITS, with(without(&[]), &["admitted"])),
            (LIVE | WAIT_REPORTED, with(without(&[]), &["wait end"])),
            (
                LIVE | NOT_AWAITED | DRAIN_WAIT,
                with(
                    without(&["abandoned", "overdue"]),
                    &["add drain wait", "remove drain wait"],
                ),
            ),
            (ABANDONED | END_REPORTED, vec!["done"]),
            (DONE, vec!["done", "detached"]),
        ];
        for (flags, mut expected) in expected {
            let takes_place = |(_, transition): &&Transition| transition(&word(flags), GENERATION);
            let names = TRANSITIONS
                .iter()
                .filter(takes_place)
                .map(|(name, _)| *name);
            let mut names: Vec<_> = names.collect();
            names.sort_unstable();
            expected.sort_unstable();
            assert_eq!(names, expected, "{:?}", word(flags).load());
        }
    }

    #[test]
    fn each_transition_leads_to_its_state() {
        let state = word(0);
        state.set_in_group();
        state.set_waits(true);
        state.transition_to_live();
        assert_eq!(flags(&state), LIVE | IN_GROUP | WAITS | WAIT_REPORTED);
        assert!(state.transition_to_admitted(GENERATION));
        assert!(state.claim_wait_end(GENERATION));
        assert!(state.claim_start(GENERATION));
        assert_eq!(flags(&state), LIVE | IN_GROUP | START_REPORTED);
        assert!(state.set_has_token(GENERATION));
        state.set_joined(GENERATION);
        let before = LIVE | IN_GROUP | START_REPORTED | HAS_EXTRAS | HAS_JOINED;
        let ToDone::Done(was) = state.transition_to_done(GENERATION) else {
            panic!("the handle is held");
        };
        assert_eq!(was, word(before).load());
        assert_eq!(
            flags(&state),
            DONE | START_REPORTED | HAS_EXTRAS | HAS_JOINED
        );
        assert_eq!(state.transition_to_detached(GENERATION), ToDetached::Done);
        state.free_done(GENERATION);
        assert_eq!(state.load(), Snapshot::free_after(GENERATION));
        assert_eq!(state.free_generation(), GENERATION + 1);
    }

    #[test]
    fn an_abandoned_call_is_retired_and_may_end() {
        let state = word(LIVE | IN_GROUP | WAITS | WAIT_REPORTED);
        let before = state.transition_to_abandoned(GENERATION, true).unwrap();
        assert!(before.has_not_begun() && before.is_wait_reported());
        assert_eq!(flags(&state), ABANDONED | END_REPORTED | WAIT_REPORTED);
        assert!(!state.claim_wait_end(GENERATION));
        assert_eq!(state.claim_end(GENERATION), None);
        assert_eq!(
            state.transition_to_detached(GENERATION),
            ToDetached::Running
        );
        assert_eq!(state.transition_to_done(GENERATION), ToDone::Detached);
        let before = state.transition_to_free(GENERATION).unwrap();
        assert!(before.is_abandoned() && !before.is_live());
        assert_eq!(state.load(), Snapshot::free_after(GENERATION));
    }

    #[test]
    fn waits_for_the_drain_are_counted_and_never_reach_the_generation() {
        let state = word(LIVE);
        assert_eq!(state.add_drain_wait(GENERATION), AddDrainWait::IsAwaited);
        assert!(state.transition_to_not_awaited(GENERATION));
        assert_eq!(state.add_drain_wait(GENERATION), AddDrainWait::Added);
        assert!(!state.remove_drain_wait(GENERATION));
        assert!(!state.load().is_awaited());
        assert!(state.remove_drain_wait(GENERATION));
        assert_eq!(flags(&state), LIVE | MAY_OUTLIVE_DRAIN);
        assert!(!state.remove_drain_wait(GENERATION));

        assert!(state.transition_to_not_awaited(GENERATION));
        for _ in 0..5000 {
            assert_eq!(state.add_drain_wait(GENERATION), AddDrainWait::Added);
        }
        let full = LIVE | MAY_OUTLIVE_DRAIN | NOT_AWAITED | DRAIN_WAITS;
        assert_eq!(flags(&state), full);
        assert_eq!(word(0).add_drain_wait(GENERATION), AddDrainWait::Retired);
    }

    #[test]
    fn generations_wrap_around() {
        let state = State(AtomicU64::new(u64::MAX << GENERATION_SHIFT | LIVE));
        assert!(state.transition_to_free(u32::MAX).is_some());
        assert_eq!(state.load(), Snapshot(0));
        assert_eq!(state.discard_reserved(0), Snapshot(0));
        assert_eq!(state.free_generation(), 1);
    }

    #[test]
    fn the_report_names_what_a_call_was_doing() {
        for (flags, expected) in [
            (LIVE, TaskState::Running),
            (LIVE | QUEUED, TaskState::Queued),
            (LIVE | ASLEEP, TaskState::BackingOff),
            (LIVE | WAITS | QUEUED, TaskState::Waiting),
        ] {
            assert_eq!(word(flags).load().state_at_deadline(), expected);
        }
    }
}
