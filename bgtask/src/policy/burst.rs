//! Log lines that may come in bursts: at most one a second is written, and the last of a burst always is.
//! Owns when each line is due; knows nothing of what a line says, or of who writes it.

use crate::util::panic::catch_and_ignore;
use crate::util::sync::unmodelled::Mutex;
use std::time::{Duration, Instant};

/// The least time between two lines.
pub(crate) const GAP: Duration = Duration::from_secs(1);

/// The lines of one kind. Locked for a few moves; no line is dropped under the lock.
#[derive(Debug)]
pub(crate) struct Burst<L>(Mutex<State<L>>);

#[derive(Debug)]
struct State<L> {
    written: Option<Instant>,
    /// The latest line that came too early.
    held_back: Option<L>,
}

/// When a line is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due<L> {
    Now(L),
    /// The line is held back, and none was before: the caller has to arrange for it to be written.
    Later,
    /// The line has replaced one that was held back, so its writing is already arranged.
    Scheduled,
}

impl<L> Default for Burst<L> {
    fn default() -> Self {
        Self(Mutex::new(State {
            written: None,
            held_back: None,
        }))
    }
}

impl<L> Burst<L> {
    /// Takes a line, and holds it back if it comes too early.
    pub(crate) fn take(&self, line: L, now: Instant) -> Due<L> {
        let mut state = self.0.lock();
        if state.held_back.is_none() && state.has_gap(now) {
            state.written = Some(now);
            return Due::Now(line);
        }
        let replaced = state.held_back.replace(line);
        drop(state);
        if replaced.is_none() {
            return Due::Later;
        }
        // Dropped after the lock: a line may be the last owner of the user's subscriber, whose drop may make calls. It may also
        // panic, and that must not reach the caller whose call is rejected.
        catch_and_ignore(|| drop(replaced));
        Due::Scheduled
    }

    /// Returns the held-back line if it is due.
    pub(crate) fn take_due(&self, now: Instant) -> Option<L> {
        let mut state = self.0.lock();
        if !state.has_gap(now) {
            return None;
        }
        let line = state.held_back.take()?;
        state.written = Some(now);
        Some(line)
    }

    /// Returns the held-back line, due or not.
    pub(crate) fn take_held_back(&self) -> Option<L> {
        self.0.lock().held_back.take()
    }

    /// Returns when the held-back line is due, or `None` if there is none.
    pub(crate) fn due(&self) -> Option<Instant> {
        let state = self.0.lock();
        state.held_back.as_ref()?;
        state.written.map(|written| written + GAP)
    }
}

impl<L> State<L> {
    fn has_gap(&self, now: Instant) -> bool {
        self.written
            .is_none_or(|written| now.saturating_duration_since(written) >= GAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_is_written_and_the_last_of_a_burst_is_held_back() {
        let (burst, now) = (Burst::default(), Instant::now());
        assert_eq!(burst.take(1, now), Due::Now(1));
        assert_eq!(burst.due(), None);
        assert_eq!(burst.take(2, now), Due::Later);
        assert_eq!(burst.take(3, now + GAP / 2), Due::Scheduled);
        assert_eq!(burst.take_due(now + GAP / 2), None);
        assert_eq!(burst.due(), Some(now + GAP));
        // A new line does not overtake the held-back one.
        assert_eq!(burst.take(4, now + GAP), Due::Scheduled);
        assert_eq!(burst.take_due(now + GAP), Some(4));
        assert_eq!(burst.take_due(now + 2 * GAP), None);
        assert_eq!(burst.take(5, now + GAP), Due::Later);
        assert_eq!(burst.take_held_back(), Some(5));
        assert_eq!(burst.take(6, now + 2 * GAP), Due::Now(6));
    }
}
