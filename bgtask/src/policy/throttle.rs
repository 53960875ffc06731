//! A throttle for events that come in bursts: it lets one through per second, and always the last of a burst.
//! Owns when each event is due; must never know what an event is or who logs it.

use crate::util::panic::catch_and_ignore;
use crate::util::sync::unmodelled::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The minimum time between two events.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Throttle<E>(Mutex<State<E>>);

#[derive(Debug)]
struct State<E> {
    last: Option<Instant>,
    /// The latest event that came too early.
    held_back: Option<E>,
}

/// When an event is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due<E> {
    Now(E),
    /// The event is the first to be held back: the caller must schedule it.
    Later,
    /// The event has replaced one that was held back, and is already scheduled.
    Scheduled,
}

impl<E> Default for Throttle<E> {
    fn default() -> Self {
        Self(Mutex::new(State {
            last: None,
            held_back: None,
        }))
    }
}

impl<E> Throttle<E> {
    /// Takes an event, and holds it back if it comes too early.
    pub(crate) fn take(&self, event: E, now: Instant) -> Due<E> {
        let mut state = self.lock();
        if state.held_back.is_none() && state.is_due(now) {
            state.last = Some(now);
            return Due::Now(event);
        }
        let replaced = state.held_back.replace(event);
        drop(state);
        if replaced.is_none() {
            return Due::Later;
        }
        // After the lock: an event may be the last owner of the user's subscriber, whose drop may make calls. It may also panic,
        // and the panic must not reach the code whose call is rejected.
        catch_and_ignore(|| drop(replaced));
        Due::Scheduled
    }

    /// Returns the held-back event if it is due.
    pub(crate) fn take_due(&self, now: Instant) -> Option<E> {
        let mut state = self.lock();
        if !state.is_due(now) {
            return None;
        }
        let event = state.held_back.take()?;
        state.last = Some(now);
        Some(event)
    }

    /// Returns the held-back event, due or not.
    pub(crate) fn take_held_back(&self) -> Option<E> {
        self.lock().held_back.take()
    }

    /// Returns when the held-back event is due, if there is one.
    pub(crate) fn due(&self) -> Option<Instant> {
        let state = self.lock();
        state.held_back.as_ref()?;
        state.last.map(|last| last + INTERVAL)
    }

    /// Held for a few moves. Nothing under it panics, and no event is dropped under it.
    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.0.lock()
    }
}

impl<E> State<E> {
    fn is_due(&self, now: Instant) -> bool {
        self.last
            .is_none_or(|last| now.saturating_duration_since(last) >= INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_a_second_passes_and_the_last_of_a_burst_is_held_back() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        assert_eq!(throttle.take(1, now), Due::Now(1));
        assert_eq!(throttle.due(), None);
        assert_eq!(throttle.take(2, now), Due::Later);
        assert_eq!(throttle.take(3, now + INTERVAL / 2), Due::Scheduled);
        assert_eq!(throttle.take_due(now + INTERVAL / 2), None);
        assert_eq!(throttle.due(), Some(now + INTERVAL));
        // A new event does not overtake the held-back one.
        assert_eq!(throttle.take(4, now + INTERVAL), Due::Scheduled);
        assert_eq!(throttle.take_due(now + INTERVAL), Some(4));
        assert_eq!(throttle.take_due(now + 2 * INTERVAL), None);
        assert_eq!(throttle.take(5, now + INTERVAL), Due::Later);
        assert_eq!(throttle.take_held_back(), Some(5));
        assert_eq!(throttle.take(6, now + 2 * INTERVAL), Due::Now(6));
    }
}
