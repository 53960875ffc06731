//! `concurrency = n`: at most n bodies at once, the rest in a line that may be bounded.
//! Owns the permits and the line of one key; knows nothing of tasks, keys or what a permit is for.
//!
//! Not tokio's `Semaphore`: its line cannot be looked at, so nothing could be refused for its length or dropped from its front,
//! and a call would stand in it only from its first poll on, not from the call on.

use crate::util::sync::{Mutex, broken};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::oneshot;

/// `concurrency(…)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// How many bodies may run at once.
    pub max: usize,
    /// How many calls may wait; any number if absent.
    pub queue: Option<usize>,
    pub overflow: Overflow,
}

/// What becomes of a call that finds the line full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// `"refuse"`: the call is refused.
    Refuse,
    /// `"drop_oldest"`: the call that has waited longest makes room.
    DropOldest,
    /// `"wait"`: the call waits as long as its caller does, that is as long as the handle lives.
    Wait,
}

/// A line shorter than that is not swept for the room alone.
const SWEEP_FROM: usize = 64;

/// The permits of one key and the line before them.
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: Concurrency,
    /// Locked for a few moves of the wait queue.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    running: usize,
    /// Those whose receiver is gone are passed over.
    line: VecDeque<oneshot::Sender<Permit>>,
    /// When the line is that long, those who left are swept out of it.
    sweep_at: usize,
}

/// What a call gets that wants a permit.
#[derive(Debug)]
pub(crate) enum Acquire {
    Ready(Permit),
    Queued {
        turn: oneshot::Receiver<Permit>,
        /// Past the bound of the line: it may wait only as long as its caller does.
        past_bound: bool,
    },
    /// The line is full.
    Rejected,
}

/// The right to run one body; given on to the next in line when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Option<Arc<Limiter>>);

impl Limiter {
    pub(crate) fn new(limits: Concurrency) -> Arc<Self> {
        Arc::new(Self {
            limits,
            inner: Mutex::default(),
        })
    }

    /// Takes a permit, or a place in the line.
    pub(crate) fn enter(self: &Arc<Self>) -> Acquire {
        self.enter_within(self.limits.queue)
    }

    /// Takes a permit, or a place in the line however long that is: for a call that was accepted before it came here, and that
    /// another one may already have made way for.
    pub(crate) fn enter_anyway(self: &Arc<Self>) -> Acquire {
        self.enter_within(None)
    }

    fn enter_within(self: &Arc<Self>, queue: Option<usize>) -> Acquire {
        let mut dropped = None;
        let mut inner = self.inner.lock();
        if inner.running < self.limits.max {
            inner.running += 1;
            return Acquire::Ready(Permit(Some(self.clone())));
        }
        let is_full = |inner: &Inner| queue.is_some_and(|queue| inner.line.len() >= queue);
        // Those who left are swept out where their places are wanted, and else so seldom that it does not count: a line may be
        // long, and going through it at each call would have its length squared.
        if is_full(&inner) || inner.line.len() >= inner.sweep_at {
            inner.line.retain(|waiting| !waiting.is_closed());
            inner.sweep_at = SWEEP_FROM.max(2 * inner.line.len());
        }
        let is_full = is_full(&inner);
        let mut past_bound = false;
        if is_full {
            match self.limits.overflow {
                Overflow::Refuse => return Acquire::Rejected,
                // With a line of no places there is no oldest but the newcomer.
                Overflow::DropOldest => match inner.line.pop_front() {
                    Some(oldest) => dropped = Some(oldest),
                    None => return Acquire::Rejected,
                },
                Overflow::Wait => past_bound = true,
            }
        }
        let (give, turn) = oneshot::channel();
        inner.line.push_back(give);
        drop(inner);
        // After the lock: this wakes the task that is dropped from the line, and that may run anybody's code.
        drop(dropped);
        Acquire::Queued { turn, past_bound }
    }

    /// Whether nothing runs and nothing waits.
    #[cfg(any(test, bgtask_shuttle))]
    pub(crate) fn is_idle(&self) -> bool {
        let inner = self.inner.lock();
        inner.running == 0 && inner.line.iter().all(oneshot::Sender::is_closed)
    }

    /// Gives the permit that came back to the next in line who still wants it.
    fn give_on(self: Arc<Self>) {
        loop {
            let next = {
                let mut inner = self.inner.lock();
                match inner.line.pop_front() {
                    Some(next) => next,
                    None => {
                        inner.running -= 1;
                        return;
                    }
                }
            };
            // After the lock: sending wakes a task.
            match next.send(Permit(Some(self.clone()))) {
                Ok(()) => return,
                Err(back) if broken!("permit_lost") => return std::mem::forget(back),
                // It waits no more. The permit comes back, and must not be given on by its own drop as well.
                Err(mut back) if !broken!("permit_given_twice") => back.0 = None,
                Err(_) => {}
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(limiter) = self.0.take() {
            limiter.give_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(max: usize, queue: Option<usize>, overflow: Overflow) -> Arc<Limiter> {
        Limiter::new(Concurrency {
            max,
            queue,
            overflow,
        })
    }

    fn now(turn: Acquire) -> Permit {
        match turn {
            Acquire::Ready(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    fn later(turn: Acquire) -> oneshot::Receiver<Permit> {
        match turn {
            Acquire::Queued { turn, .. } => turn,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn permits_go_on_in_the_order_of_the_line() {
        let limiter = limiter(1, None, Overflow::Refuse);
        let first = now(limiter.enter());
        let mut second = later(limiter.enter());
        let mut third = later(limiter.enter());
        assert!(second.try_recv().is_err());
        drop(first);
        let second = second.try_recv().unwrap();
        assert!(third.try_recv().is_err());
        drop(second);
        drop(third.try_recv().unwrap());
        assert!(limiter.is_idle());
    }

    #[test]
    fn a_permit_passes_over_those_who_left_and_is_not_lost_on_the_way() {
        let limiter = limiter(1, None, Overflow::Refuse);
        let first = now(limiter.enter());
        let gone = later(limiter.enter());
        // Given its permit, and dropped before it looked.
        let given = later(limiter.enter());
        let mut last = later(limiter.enter());
        drop(gone);
        drop(first);
        assert!(last.try_recv().is_err());
        drop(given);
        drop(last.try_recv().unwrap());
        drop(now(limiter.enter()));
        assert!(limiter.is_idle());
    }

    #[test]
    fn a_full_line_refuses_or_drops_its_oldest() {
        let refusing = limiter(1, Some(1), Overflow::Refuse);
        let _running = now(refusing.enter());
        let _waiting = later(refusing.enter());
        assert!(matches!(refusing.enter(), Acquire::Rejected));

        let dropping = limiter(1, Some(1), Overflow::DropOldest);
        let running = now(dropping.enter());
        let mut oldest = later(dropping.enter());
        let mut newest = later(dropping.enter());
        assert_eq!(
            oldest.try_recv().unwrap_err(),
            oneshot::error::TryRecvError::Closed
        );
        drop(running);
        assert!(newest.try_recv().is_ok());

        let no_line = limiter(1, Some(0), Overflow::DropOldest);
        let _running = now(no_line.enter());
        assert!(matches!(no_line.enter(), Acquire::Rejected));
    }

    #[test]
    fn those_who_left_take_no_places_in_the_line() {
        let limiter = limiter(1, Some(1), Overflow::Refuse);
        let _running = now(limiter.enter());
        drop(later(limiter.enter()));
        drop(later(limiter.enter()));
    }

    #[test]
    fn those_who_left_are_swept_out_of_a_line_without_a_bound_too() {
        let limiter = limiter(1, None, Overflow::Refuse);
        let _running = now(limiter.enter());
        let waiting: Vec<_> = (0..100).map(|_| later(limiter.enter())).collect();
        for _ in 0..10_000 {
            drop(later(limiter.enter()));
        }
        let length = limiter.inner.lock().line.len();
        assert!(
            (waiting.len()..=4 * waiting.len()).contains(&length),
            "{length}"
        );
    }

    #[test]
    fn past_the_bound_a_call_is_told_that_it_waits_only_as_long_as_its_caller() {
        let limiter = limiter(1, Some(0), Overflow::Wait);
        let _running = now(limiter.enter());
        assert!(matches!(
            limiter.enter(),
            Acquire::Queued {
                past_bound: true,
                ..
            }
        ));
    }
}
