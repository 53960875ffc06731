//! `coalesce`: what becomes of a call while another one with the same key is in flight.
//! Owns who leads, who has joined and who waits, per key; knows nothing of tasks, of outcomes only that they are outcome, and of
//! groups only whether they end.

use super::key::Key;
use crate::TaskError;
use crate::util::sync::atomic::{AtomicU32, Ordering};
use crate::util::sync::{Mutex, MutexGuard, broken};
use std::any::Any;
use std::collections::HashMap;
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
    /// `"replace"`: the one in flight is dropped, and the call takes its place.
    Replace,
    /// `"trailing"`: one more run after the one in flight, however many calls come meanwhile.
    Trailing,
}

/// What those who joined are outcome: the outcome's copy, or why there is none.
#[derive(Debug)]
pub(crate) enum SharedOutcome {
    /// A `Result<T, TaskError>` of the function's `T`.
    Value(Box<dyn Any + Send>),
    Error(TaskError),
}

/// All keys of one function.
#[derive(Debug)]
pub(crate) struct KeyGroups {
    policy: Coalesce,
    runners: Mutex<HashMap<Key, SlotRunner>>,
}

/// One key with calls in flight.
#[derive(Debug)]
struct SlotRunner {
    /// One permit: of the flights of a runner, one has its body running.
    serial: Arc<Semaphore>,
    /// In the order in which they came; only the first may have begun.
    flights: Vec<Flight>,
    next_number: u64,
}

#[derive(Debug)]
struct Flight {
    number: u64,
    /// Its body has begun: a call that comes now may have something to say that it has not seen.
    begun: bool,
    joined: Vec<oneshot::Sender<SharedOutcome>>,
    followers: Arc<Followers>,
    /// The group of the call that leads. Not to be dropped under the lock: it may be the last owner of a manager's state.
    group: Option<Arc<dyn Scope>>,
    replaced: CancellationToken,
}

/// How many calls have joined a flight, and whether more may: not once whoever leads it has told it to end.
#[derive(Debug, Default)]
pub(crate) struct Followers(AtomicU32);

impl Followers {
    /// Beside the count.
    const CLOSED: u32 = 1 << 31;

    // Relaxed, in all of these: what it says decides alone, and nothing else is read on its account.

    /// One more call joins, if it may.
    fn join(&self) -> bool {
        self.change(|state| (state & Self::CLOSED == 0).then_some(state + 1))
    }

    /// From now on nobody joins.
    pub(crate) fn close(&self) {
        self.0.fetch_or(Self::CLOSED, Ordering::Relaxed);
    }

    /// The same, unless somebody has joined: `false`.
    pub(crate) fn close_if_empty(&self) -> bool {
        if broken!("looked_before_closing") {
            let is_empty = self.0.load(Ordering::Relaxed) & !Self::CLOSED == 0;
            self.close();
            return is_empty;
        }
        self.change(|state| (state & !Self::CLOSED == 0).then_some(Self::CLOSED))
    }

    fn change(&self, change: impl FnMut(u32) -> Option<u32>) -> bool {
        let changed = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
        changed.is_ok()
    }
}

/// What a call is made in, such as a group of calls, as far as it matters here.
pub(crate) trait Scope: std::fmt::Debug + Send + Sync {
    /// Returns whether the calls made in it are about to end without an outcome, so that no call joins them from now on.
    fn is_ending(&self) -> bool;
}

/// What a call comes to.
#[derive(Debug)]
pub(crate) enum Entry {
    Leads(Leader),
    Joins(oneshot::Receiver<SharedOutcome>),
    Skipped,
}

/// A call that runs. When it goes, however it goes, the runner is free for the next.
#[derive(Debug)]
pub(crate) struct Leader {
    runners: Arc<KeyGroups>,
    key: Key,
    number: u64,
    serial: Arc<Semaphore>,
    turn: Option<OwnedSemaphorePermit>,
    followers: Arc<Followers>,
    pub(crate) replaced: CancellationToken,
    /// What those who joined are told if nothing better is known.
    otherwise: TaskError,
}

impl KeyGroups {
    pub(crate) fn new(policy: Coalesce) -> Arc<Self> {
        Arc::new(Self {
            policy,
            runners: Mutex::default(),
        })
    }

    /// Decides what becomes of a call, which is made in `group`.
    pub(crate) fn enter(self: &Arc<Self>, key: Key, group: Option<Arc<dyn Scope>>) -> Entry {
        // Held for the whole decision: of two calls at once, one leads. Nothing of the user's runs in here.
        let mut runners = self.lock();
        let runner = runners.entry(key.clone()).or_insert_with(|| SlotRunner {
            serial: Arc::new(Semaphore::new(1)),
            flights: Vec::new(),
            next_number: 0,
        });
        if let Some(newest) = runner.flights.last_mut() {
            let joins = match self.policy {
                Coalesce::Skip => return Entry::Skipped,
                Coalesce::Join => true,
                Coalesce::Trailing => !newest.begun,
                Coalesce::Replace => false,
            };
            // A run whose group was cancelled, drained or aborted is about to end without its outcome.
            let ends = newest.group.as_ref().is_some_and(|own| own.is_ending());
            if joins && !ends && newest.followers.join() {
                return newest.join();
            }
        }
        let flight = Flight {
            number: runner.next_number,
            begun: false,
            joined: Vec::new(),
            followers: Arc::default(),
            group,
            replaced: CancellationToken::new(),
        };
        runner.next_number += 1;
        let mut leader = Leader {
            runners: self.clone(),
            key,
            number: flight.number,
            serial: runner.serial.clone(),
            turn: None,
            followers: flight.followers.clone(),
            replaced: flight.replaced.clone(),
            otherwise: TaskError::Aborted,
        };
        // If it is the only one, it need not wait; a call that comes later finds it here and cannot overtake it.
        if runner.flights.is_empty() {
            leader.turn = runner.serial.clone().try_acquire_owned().ok();
        }
        runner.flights.push(flight);
        Entry::Leads(leader)
    }

    /// Locks the groups for a few moves. No user code runs under the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, SlotRunner>> {
        self.runners.lock()
    }
}

impl Flight {
    fn join(&mut self) -> Entry {
        let (tell, outcome) = oneshot::channel();
        self.joined.push(tell);
        Entry::Joins(outcome)
    }
}

impl Leader {
    /// Whether an earlier flight of the runner has to end first.
    pub(crate) fn must_wait(&self) -> bool {
        self.turn.is_none()
    }

    /// Where calls replace one another: tells all that came before it to end. Only once it is sure to run itself: a call that is
    /// turned away takes nobody's place.
    pub(crate) fn replace_earlier(&self) {
        if self.runners.policy != Coalesce::Replace {
            return;
        }
        let earlier: Vec<_> = {
            let runners = self.runners.lock();
            let flights = runners.get(&self.key).map(|runner| &runner.flights);
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

    /// Who has joined it, where calls do.
    pub(crate) fn followers(&self) -> Option<Arc<Followers>> {
        let joins = matches!(self.runners.policy, Coalesce::Join | Coalesce::Trailing);
        joins.then(|| self.followers.clone())
    }

    /// Waits until the earlier flights of the runner have ended.
    pub(crate) async fn wait_for_turn(&mut self) {
        if self.must_wait() {
            // It is never closed.
            self.turn = self.serial.clone().acquire_owned().await.ok();
        }
    }

    /// The body begins: whoever comes from now on comes after it.
    pub(crate) fn begin(&self) {
        let mut runners = self.runners.lock();
        let flight = runners.get_mut(&self.key).and_then(|runner| {
            let mut flights = runner.flights.iter_mut();
            flights.find(|flight| flight.number == self.number)
        });
        if let Some(flight) = flight {
            flight.begun = !broken!("begin_not_noted");
        }
    }

    /// What those who joined are told if it goes without a word.
    pub(crate) fn otherwise(&mut self, error: TaskError) {
        self.otherwise = error;
    }

    /// Ends the flight; each of those who joined and still wait is told what `tell` says.
    pub(crate) fn end(&self, mut tell: impl FnMut() -> SharedOutcome) {
        let (joined, group) = self.take_off();
        drop(group);
        // After the lock: `tell` clones the user's value, and sending wakes tasks.
        for joined in joined.into_iter().filter(|joined| !joined.is_closed()) {
            // Nobody may wait any more.
            let _ = joined.send(tell());
        }
    }

    /// How many calls have joined it so far.
    #[cfg(test)]
    fn joined(&self) -> usize {
        let runners = self.runners.lock();
        let flights = runners.get(&self.key).map(|runner| &runner.flights);
        flights
            .into_iter()
            .flatten()
            .filter(|flight| flight.number == self.number)
            .map(|flight| flight.joined.len())
            .sum()
    }

    /// Removes the flight. Returns those who have joined, and its group, which the caller drops after the lock.
    fn take_off(&self) -> (Vec<oneshot::Sender<SharedOutcome>>, Option<Arc<dyn Scope>>) {
        let none = (Vec::new(), None);
        let mut runners = self.runners.lock();
        let Some(runner) = runners.get_mut(&self.key) else {
            return none;
        };
        // A runner whose last flight has gone is another one when it comes back, and counts its flights from zero: its semaphore
        // tells it from the one this flight belonged to.
        if !Arc::ptr_eq(&runner.serial, &self.serial) {
            return none;
        }
        let position = runner
            .flights
            .iter()
            .position(|flight| flight.number == self.number);
        let Some(position) = position else {
            return none;
        };
        if broken!("leader_goes_after_its_end") && !runner.flights[position].joined.is_empty() {
            return (std::mem::take(&mut runner.flights[position].joined), None);
        }
        let flight = runner.flights.remove(position);
        if runner.flights.is_empty() {
            runners.remove(&self.key);
            // After a flood of keys, return the memory; only the few remaining entries have to move.
            if runners.capacity() > SMALL && runners.len() < runners.capacity() / 8 {
                let room = 2 * runners.len();
                runners.shrink_to(room);
            }
        }
        (flight.joined, flight.group)
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.end(|| SharedOutcome::Error(self.otherwise.clone()));
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
    fn a_call_joins_the_one_in_flight_with_its_key_and_no_other() {
        let runners = KeyGroups::new(Coalesce::Join);
        let leader = leads(runners.enter(key("a"), None));
        let mut joined = joins(runners.enter(key("a"), None));
        let other = leads(runners.enter(key("b"), None));
        assert_eq!((leader.joined(), other.joined()), (1, 0));
        leader.end(|| SharedOutcome::Value(Box::new(7)));
        match joined.try_recv().unwrap() {
            SharedOutcome::Value(value) => assert_eq!(*value.downcast::<i32>().unwrap(), 7),
            other => panic!("{other:?}"),
        }
        // The flight has ended, though its leader still stands there.
        let next = leads(runners.enter(key("a"), None));
        drop(leader);
        assert!(matches!(runners.enter(key("a"), None), Entry::Joins(_)));
        drop((next, other));
        assert!(runners.lock().is_empty());
    }

    #[test]
    fn a_flight_that_is_closed_is_joined_by_nobody_and_goes_on_for_those_who_have() {
        let runners = KeyGroups::new(Coalesce::Join);
        let first = leads(runners.enter(key("a"), None));
        assert!(first.followers.close_if_empty() && first.followers.close_if_empty());
        let second = leads(runners.enter(key("a"), None));
        assert!(second.must_wait());
        drop(joins(runners.enter(key("a"), None)));
        assert!(!second.followers.close_if_empty());
        second.followers.close();
        assert!(!second.followers.close_if_empty());
        let third = leads(runners.enter(key("a"), None));
        drop((first, second, third));
        assert!(runners.lock().is_empty());
    }

    #[test]
    fn a_leader_that_goes_without_a_word_leaves_nobody_waiting() {
        let runners = KeyGroups::new(Coalesce::Join);
        let leader = leads(runners.enter(key("a"), None));
        let mut joined = joins(runners.enter(key("a"), None));
        drop(leader);
        assert!(matches!(
            joined.try_recv().unwrap(),
            SharedOutcome::Error(TaskError::Aborted)
        ));
        drop(leads(runners.enter(key("a"), None)));
    }

    #[test]
    fn trailing_calls_are_one_run_after_the_one_that_has_begun() {
        let runners = KeyGroups::new(Coalesce::Trailing);
        let first = leads(runners.enter(key("a"), None));
        drop(joins(runners.enter(key("a"), None)));
        first.begin();
        let second = leads(runners.enter(key("a"), None));
        assert!(second.must_wait());
        drop(joins(runners.enter(key("a"), None)));
        drop(joins(runners.enter(key("a"), None)));
        second.begin();
        assert!(leads(runners.enter(key("a"), None)).must_wait());
        drop((first, second));
        assert!(runners.lock().is_empty());
    }

    #[tokio::test]
    async fn a_replacement_waits_until_what_it_replaces_has_ended() {
        let runners = KeyGroups::new(Coalesce::Replace);
        let first = leads(runners.enter(key("a"), None));
        let turned_away = leads(runners.enter(key("a"), None));
        drop(turned_away);
        assert!(!first.replaced.is_cancelled());
        let second = leads(runners.enter(key("a"), None));
        let mut third = leads(runners.enter(key("a"), None));
        third.replace_earlier();
        assert!(first.replaced.is_cancelled());
        assert!(second.replaced.is_cancelled() && !third.replaced.is_cancelled());
        drop(second);
        {
            let mut turn = std::pin::pin!(third.wait_for_turn());
            assert!(futures_poll(turn.as_mut()).is_pending());
            drop(first);
            turn.await;
        }
        assert!(!third.must_wait());
    }

    fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn the_map_shrinks_when_most_keys_are_gone() {
        let runners = KeyGroups::new(Coalesce::Join);
        let leads: Vec<_> = (0..4 * SMALL)
            .map(|number| leads(runners.enter(key(&number.to_string()), None)))
            .collect();
        assert!(runners.lock().capacity() >= 4 * SMALL);
        drop(leads);
        assert!(runners.lock().capacity() <= 2 * SMALL);
    }

    #[test]
    fn a_call_is_skipped_while_one_is_in_flight_and_not_after() {
        let runners = KeyGroups::new(Coalesce::Skip);
        let first = leads(runners.enter(key("a"), None));
        assert!(matches!(runners.enter(key("a"), None), Entry::Skipped));
        drop(first);
        drop(leads(runners.enter(key("a"), None)));
    }
}
