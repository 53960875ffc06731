//! `coalesce`: what happens to a call while another call with the same key is in flight.
//! Owns, for each key, which call leads, which calls have joined it and which wait; must never know tasks.

use super::key::Key;
use crate::TaskError;
use crate::util::sync::atomic::{AtomicU32, Ordering};
use crate::util::sync::{Mutex, MutexGuard, broken};
use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

/// The map of keys is not shrunk below this capacity, some 2 MB: if calls come in waves, it would grow again each time.
const SMALL: usize = 1 << 14;

/// `coalesce(policy = "…")`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coalesce {
    /// `"join"`: the call shares the outcome of the one in flight.
    Join,
    /// `"skip"`: the call does nothing.
    Skip,
    /// `"replace"`: the one in flight is dropped, and the call runs instead.
    Replace,
    /// `"trailing"`: one more run after the one in flight, however many calls arrive meanwhile.
    Trailing,
}

impl fmt::Display for Coalesce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Coalesce::Join => "coalesce(policy = join)",
            Coalesce::Skip => "coalesce(policy = skip)",
            Coalesce::Replace => "coalesce(policy = replace)",
            Coalesce::Trailing => "coalesce(policy = trailing)",
        })
    }
}

/// The outcome that a joined call receives: a copy of the output, or the reason why there is none.
#[derive(Debug)]
pub(crate) enum SharedOutcome {
    /// A `Result<T, TaskError>` of the function's `T`.
    Value(Box<dyn Any + Send>),
    Error(TaskError),
}

/// The keys of one function that have calls in flight.
#[derive(Debug)]
pub(crate) struct KeyGroups {
    policy: Coalesce,
    groups: Mutex<HashMap<Key, KeyGroup>>,
}

/// The flights of one key.
#[derive(Debug)]
struct KeyGroup {
    /// Has one permit, so only one flight of the key runs its body at a time.
    serial: Arc<Semaphore>,
    /// In the order of the calls. Only the first may have begun.
    flights: Vec<Flight>,
    next_number: u64,
}

/// A call that runs, and the calls that have joined it.
#[derive(Debug)]
struct Flight {
    number: u64,
    /// The body has begun, so it may not have seen what a later call is about.
    has_begun: bool,
    joined: Vec<oneshot::Sender<SharedOutcome>>,
    followers: Arc<Followers>,
    /// The group of the leading call. Dropped only after the lock: it may be the last owner of a manager's state.
    scope: Option<Arc<dyn Scope>>,
    replaced: CancellationToken,
}

/// How many calls have joined a flight, and whether more may: none may after the leading call was cancelled or aborted.
#[derive(Debug, Default)]
pub(crate) struct Followers(AtomicU32);

// Relaxed, in all methods: the value alone decides, and orders no other memory.
impl Followers {
    /// A flag beside the count.
    const CLOSED: u32 = 1 << 31;

    /// Adds a call, unless the flight is closed. Returns whether the call has joined.
    fn join(&self) -> bool {
        self.update(|state| (state & Self::CLOSED == 0).then_some(state + 1))
    }

    /// Closes the flight: no call joins it from now on.
    pub(crate) fn close(&self) {
        self.0.fetch_or(Self::CLOSED, Ordering::Relaxed);
    }

    /// Closes the flight if no call has joined it. Returns whether none has.
    pub(crate) fn close_if_empty(&self) -> bool {
        if broken!("looked_before_closing") {
            let is_empty = self.0.load(Ordering::Relaxed) & !Self::CLOSED == 0;
            self.close();
            return is_empty;
        }
        self.update(|state| (state & !Self::CLOSED == 0).then_some(Self::CLOSED))
    }

    fn update(&self, update: impl FnMut(u32) -> Option<u32>) -> bool {
        let updated = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
        updated.is_ok()
    }
}

/// The group that a call is made in.
pub(crate) trait Scope: fmt::Debug + Send + Sync {
    /// Returns whether the scope's calls are about to end without an outcome. From then on, no call joins them.
    fn is_ending(&self) -> bool;
}

/// The result of [`KeyGroups::enter`].
#[derive(Debug)]
pub(crate) enum Entry {
    Leads(Leader),
    Joins(oneshot::Receiver<SharedOutcome>),
    Skipped,
}

/// A call that runs. Dropping it ends the flight and lets the next flight of the key begin.
#[derive(Debug)]
pub(crate) struct Leader {
    groups: Arc<KeyGroups>,
    key: Key,
    number: u64,
    serial: Arc<Semaphore>,
    turn: Option<OwnedSemaphorePermit>,
    followers: Arc<Followers>,
    pub(crate) replaced: CancellationToken,
    /// The outcome of the joined calls if the leader is dropped without [`end`](Self::end).
    fallback: TaskError,
}

impl KeyGroups {
    pub(crate) fn new(policy: Coalesce) -> Arc<Self> {
        Arc::new(Self {
            policy,
            groups: Mutex::default(),
        })
    }

    /// Decides what happens to a call that is made in `scope`.
    pub(crate) fn enter(self: &Arc<Self>, key: Key, scope: Option<Arc<dyn Scope>>) -> Entry {
        // Held for the whole decision, so that of two concurrent calls one leads. No user code runs under it.
        let mut groups = self.lock();
        let group = groups.entry(key.clone()).or_insert_with(|| KeyGroup {
            serial: Arc::new(Semaphore::new(1)),
            flights: Vec::new(),
            next_number: 0,
        });
        if let Some(newest) = group.flights.last_mut() {
            let joins = match self.policy {
                Coalesce::Skip => return Entry::Skipped,
                Coalesce::Join => true,
                Coalesce::Trailing => !newest.has_begun,
                Coalesce::Replace => false,
            };
            // A run whose group was cancelled, drained or aborted is about to end without its outcome.
            let is_ending = newest.scope.as_ref().is_some_and(|scope| scope.is_ending());
            if joins && !is_ending && newest.followers.join() {
                let (sender, outcome) = oneshot::channel();
                newest.joined.push(sender);
                return Entry::Joins(outcome);
            }
        }
        let flight = Flight {
            number: group.next_number,
            has_begun: false,
            joined: Vec::new(),
            followers: Arc::default(),
            scope,
            replaced: CancellationToken::new(),
        };
        group.next_number += 1;
        let mut leader = Leader {
            groups: self.clone(),
            key,
            number: flight.number,
            serial: group.serial.clone(),
            turn: None,
            followers: flight.followers.clone(),
            replaced: flight.replaced.clone(),
            fallback: TaskError::Aborted,
        };
        // The only flight need not wait. A later call finds it here, so it cannot overtake.
        if group.flights.is_empty() {
            leader.turn = group.serial.clone().try_acquire_owned().ok();
        }
        group.flights.push(flight);
        Entry::Leads(leader)
    }

    /// Held for a few moves. No user code runs under it, and nothing panics.
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, KeyGroup>> {
        self.groups.lock()
    }
}

impl Leader {
    /// Returns whether an earlier flight of the key has to end first.
    pub(crate) fn must_wait(&self) -> bool {
        self.turn.is_none()
    }

    /// Under `Replace`, cancels all earlier flights of the key. Called only once the new call is sure to run, so that a rejected
    /// call replaces none.
    pub(crate) fn replace_earlier(&self) {
        if self.groups.policy != Coalesce::Replace {
            return;
        }
        let earlier: Vec<_> = {
            let groups = self.groups.lock();
            let flights = groups.get(&self.key).map(|group| &group.flights);
            let earlier = flights
                .into_iter()
                .flatten()
                .filter(|flight| flight.number < self.number || broken!("later_replaced"));
            earlier.map(|flight| flight.replaced.clone()).collect()
        };
        // After the lock: this wakes tasks.
        for replaced in earlier {
            replaced.cancel();
        }
    }

    /// Returns the calls that have joined, if the policy lets calls join.
    pub(crate) fn followers(&self) -> Option<Arc<Followers>> {
        let joins = matches!(self.groups.policy, Coalesce::Join | Coalesce::Trailing);
        joins.then(|| self.followers.clone())
    }

    /// Waits until the earlier flights of the key have ended.
    pub(crate) async fn wait_for_turn(&mut self) {
        if self.must_wait() {
            // The semaphore is never closed.
            self.turn = self.serial.clone().acquire_owned().await.ok();
        }
    }

    /// Notes that the body begins: under `Trailing`, no call joins this flight any more.
    pub(crate) fn begin(&self) {
        let mut groups = self.groups.lock();
        let flight = groups.get_mut(&self.key).and_then(|group| {
            let mut flights = group.flights.iter_mut();
            flights.find(|flight| flight.number == self.number)
        });
        if let Some(flight) = flight {
            flight.has_begun = !broken!("begin_not_noted");
        }
    }

    /// Sets the outcome that the joined calls receive if the leader is dropped. Default: [`TaskError::Aborted`].
    pub(crate) fn set_fallback(&mut self, error: TaskError) {
        self.fallback = error;
    }

    /// Ends the flight. Each joined call that is still awaited receives an outcome from `share`.
    pub(crate) fn end(&self, mut share: impl FnMut() -> SharedOutcome) {
        let (joined, scope) = self.remove();
        drop(scope);
        // After the lock: `share` clones the user's value, and sending wakes tasks.
        for joined in joined.into_iter().filter(|joined| !joined.is_closed()) {
            // Its receiver may be gone by now.
            let _ = joined.send(share());
        }
    }

    #[cfg(test)]
    fn joined(&self) -> usize {
        let groups = self.groups.lock();
        let flights = groups.get(&self.key).map(|group| &group.flights);
        flights
            .into_iter()
            .flatten()
            .filter(|flight| flight.number == self.number)
            .map(|flight| flight.joined.len())
            .sum()
    }

    /// Removes the flight. Returns the calls that have joined, and its scope, which the caller drops after the lock.
    fn remove(&self) -> (Vec<oneshot::Sender<SharedOutcome>>, Option<Arc<dyn Scope>>) {
        let none = (Vec::new(), None);
        let mut groups = self.groups.lock();
        let Some(group) = groups.get_mut(&self.key) else {
            return none;
        };
        // A key whose last flight has ended gets a new group later, with numbers from zero. Its semaphore tells the two apart.
        if !Arc::ptr_eq(&group.serial, &self.serial) {
            return none;
        }
        let position = group
            .flights
            .iter()
            .position(|flight| flight.number == self.number);
        let Some(position) = position else {
            return none;
        };
        if broken!("leader_goes_after_its_end") && !group.flights[position].joined.is_empty() {
            return (std::mem::take(&mut group.flights[position].joined), None);
        }
        let flight = group.flights.remove(position);
        if group.flights.is_empty() {
            groups.remove(&self.key);
            // After a flood of keys, return the memory; only the few remaining entries have to move.
            if groups.capacity() > SMALL && groups.len() < groups.capacity() / 8 {
                let room = 2 * groups.len();
                groups.shrink_to(room);
            }
        }
        (flight.joined, flight.scope)
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.end(|| SharedOutcome::Error(self.fallback.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        super::super::key::key(text)
    }

    fn leads(entry: Entry) -> Leader {
        match entry {
            Entry::Leads(leader) => leader,
            other => panic!("{other:?}"),
        }
    }

    fn joins(entry: Entry) -> oneshot::Receiver<SharedOutcome> {
        match entry {
            Entry::Joins(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_call_joins_only_a_flight_of_its_key() {
        let groups = KeyGroups::new(Coalesce::Join);
        let leader = leads(groups.enter(key("a"), None));
        let mut joined = joins(groups.enter(key("a"), None));
        let other = leads(groups.enter(key("b"), None));
        assert_eq!((leader.joined(), other.joined()), (1, 0));
        leader.end(|| SharedOutcome::Value(Box::new(7)));
        match joined.try_recv().unwrap() {
            SharedOutcome::Value(value) => assert_eq!(*value.downcast::<i32>().unwrap(), 7),
            other => panic!("{other:?}"),
        }
        // The flight has ended, although its leader is still alive.
        let next = leads(groups.enter(key("a"), None));
        drop(leader);
        assert!(matches!(groups.enter(key("a"), None), Entry::Joins(_)));
        drop((next, other));
        assert!(groups.lock().is_empty());
    }

    #[test]
    fn no_call_joins_a_closed_flight_and_it_goes_on_for_those_that_have() {
        let groups = KeyGroups::new(Coalesce::Join);
        let first = leads(groups.enter(key("a"), None));
        assert!(first.followers.close_if_empty() && first.followers.close_if_empty());
        let second = leads(groups.enter(key("a"), None));
        assert!(second.must_wait());
        drop(joins(groups.enter(key("a"), None)));
        assert!(!second.followers.close_if_empty());
        second.followers.close();
        assert!(!second.followers.close_if_empty());
        let third = leads(groups.enter(key("a"), None));
        drop((first, second, third));
        assert!(groups.lock().is_empty());
    }

    #[test]
    fn a_dropped_leader_leaves_no_call_waiting() {
        let groups = KeyGroups::new(Coalesce::Join);
        let leader = leads(groups.enter(key("a"), None));
        let mut joined = joins(groups.enter(key("a"), None));
        drop(leader);
        assert!(matches!(
            joined.try_recv().unwrap(),
            SharedOutcome::Error(TaskError::Aborted)
        ));
        drop(leads(groups.enter(key("a"), None)));
    }

    #[test]
    fn trailing_calls_share_one_run_after_the_one_that_has_begun() {
        let groups = KeyGroups::new(Coalesce::Trailing);
        let first = leads(groups.enter(key("a"), None));
        drop(joins(groups.enter(key("a"), None)));
        first.begin();
        let second = leads(groups.enter(key("a"), None));
        assert!(second.must_wait());
        drop(joins(groups.enter(key("a"), None)));
        drop(joins(groups.enter(key("a"), None)));
        second.begin();
        assert!(leads(groups.enter(key("a"), None)).must_wait());
        drop((first, second));
        assert!(groups.lock().is_empty());
    }

    #[tokio::test]
    async fn a_replacement_waits_until_the_replaced_flights_have_ended() {
        let groups = KeyGroups::new(Coalesce::Replace);
        let first = leads(groups.enter(key("a"), None));
        let rejected = leads(groups.enter(key("a"), None));
        drop(rejected);
        assert!(!first.replaced.is_cancelled());
        let second = leads(groups.enter(key("a"), None));
        let mut third = leads(groups.enter(key("a"), None));
        third.replace_earlier();
        assert!(first.replaced.is_cancelled());
        assert!(second.replaced.is_cancelled() && !third.replaced.is_cancelled());
        drop(second);
        {
            let mut turn = std::pin::pin!(third.wait_for_turn());
            assert!(poll_once(turn.as_mut()).is_pending());
            drop(first);
            turn.await;
        }
        assert!(!third.must_wait());
    }

    fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn the_map_shrinks_when_most_keys_are_gone() {
        let groups = KeyGroups::new(Coalesce::Join);
        let leads: Vec<_> = (0..4 * SMALL)
            .map(|number| leads(groups.enter(key(&number.to_string()), None)))
            .collect();
        assert!(groups.lock().capacity() >= 4 * SMALL);
        drop(leads);
        assert!(groups.lock().capacity() <= 2 * SMALL);
    }

    #[test]
    fn a_call_is_skipped_while_one_is_in_flight_and_not_after() {
        let groups = KeyGroups::new(Coalesce::Skip);
        let first = leads(groups.enter(key("a"), None));
        assert!(matches!(groups.enter(key("a"), None), Entry::Skipped));
        drop(first);
        drop(leads(groups.enter(key("a"), None)));
    }
}
