//! `concurrency = n`: at most n bodies run at once, and the other calls wait in a queue that may be bounded.
//! Owns the permits and the wait queue of one key; must never know tasks, keys or what a permit is for.

use super::postponed::Postponed;
use crate::util::sync::{Mutex, MutexGuard, broken};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// `concurrency(…)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// How many bodies may run at once.
    pub max: usize,
    /// How many calls may wait. `None` means any number.
    pub queue: Option<usize>,
    pub overflow: Overflow,
}

/// The treatment of a call that finds the wait queue full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// `"refuse"`: the call is refused.
    Refuse,
    /// `"drop_oldest"`: the call that has waited longest is dropped.
    DropOldest,
    /// `"wait"`: the call waits as long as its handle lives.
    Wait,
}

impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let max = self.max;
        let Some(queue) = self.queue else {
            return write!(f, "concurrency = {max}");
        };
        let overflow = match self.overflow {
            Overflow::Refuse => "refuse",
            Overflow::DropOldest => "drop_oldest",
            Overflow::Wait => "wait",
        };
        write!(
            f,
            "concurrency(max = {max}, queue = {queue}, overflow = {overflow})"
        )
    }
}

/// A shorter queue is swept only if it is full.
const SWEEP_FROM: usize = 64;

/// The permits of one key and their wait queue.
///
/// We do not use tokio's `Semaphore`: its queue has no length to compare with a bound and no front to drop from, and a call would
/// enter it only with its first poll.
#[derive(Debug)]
pub(crate) struct Limiter(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Concurrency,
    running: usize,
    /// Calls whose receiver is gone have left.
    queue: VecDeque<oneshot::Sender<Permit>>,
    /// A queue of this length is swept of the calls that have left.
    sweep_at: usize,
    /// The attempts of durable jobs that found no permit. Boxed, so that other functions pay a pointer.
    postponed: Option<Box<Postponed>>,
}

/// The result of acquiring a permit.
#[derive(Debug)]
pub(crate) enum Acquire {
    Ready(Permit),
    Queued {
        turn: oneshot::Receiver<Permit>,
        /// The call is beyond the bound, so it may wait only as long as its handle lives.
        past_bound: bool,
    },
    /// The wait queue is full.
    Rejected,
}

/// The right to run one body. Dropping it passes it on to the next waiting call.
#[derive(Debug)]
pub(crate) struct Permit(Option<Arc<Limiter>>);

impl Limiter {
    pub(crate) fn new(limits: Concurrency) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Inner {
            limits,
            running: 0,
            queue: VecDeque::new(),
            sweep_at: 0,
            postponed: None,
        })))
    }

    /// Changes the limits. Raised, they admit those calls at once that wait for a permit; lowered, they take no permit back.
    pub(crate) fn set_limits(self: &Arc<Self>, limits: Concurrency) {
        let admitted = {
            let mut inner = self.lock();
            inner.limits = limits;
            let free = limits.max.saturating_sub(inner.running);
            let admitted = free.min(inner.queue.len());
            if !broken!("admitted_uncounted") {
                inner.running += admitted;
            }
            admitted
        };
        for _ in 0..admitted {
            self.clone().pass_on();
        }
    }

    /// Takes a permit, or a position in the wait queue.
    pub(crate) fn acquire(self: &Arc<Self>) -> Acquire {
        self.acquire_bounded(true)
    }

    /// Takes a permit if one is free: for the attempt of a durable job, which waits in its queue.
    ///
    /// # Errors
    /// The pause before the next try, if none is free.
    pub(crate) fn try_acquire(self: &Arc<Self>, now: Instant) -> Result<Permit, Duration> {
        let mut inner = self.lock();
        let is_free = inner.running < inner.limits.max;
        let postponed = inner.postponed.get_or_insert_default();
        if !is_free {
            return Err(postponed.pause(now, Duration::ZERO));
        }
        postponed.start(now);
        inner.running += 1;
        Ok(Permit(Some(self.clone())))
    }

    /// Takes a permit, or a position in the wait queue however long it is: for a call that was accepted and has already waited
    /// for an earlier run.
    pub(crate) fn acquire_unbounded(self: &Arc<Self>) -> Acquire {
        self.acquire_bounded(false)
    }

    fn acquire_bounded(self: &Arc<Self>, is_bounded: bool) -> Acquire {
        let mut dropped = None;
        let mut inner = self.lock();
        let bound = inner.limits.queue.filter(|_| is_bounded);
        if inner.running < inner.limits.max {
            inner.running += 1;
            return Acquire::Ready(Permit(Some(self.clone())));
        }
        let is_full = |inner: &Inner| bound.is_some_and(|bound| inner.queue.len() >= bound);
        // Sweep where room is needed, and otherwise only after the queue has doubled: a sweep at each call would cost the square
        // of the queue's length.
        if is_full(&inner) || inner.queue.len() >= inner.sweep_at {
            inner.queue.retain(|waiting| !waiting.is_closed());
            inner.sweep_at = SWEEP_FROM.max(2 * inner.queue.len());
        }
        let is_full = is_full(&inner);
        let mut past_bound = false;
        if is_full {
            match inner.limits.overflow {
                Overflow::Refuse => return Acquire::Rejected,
                // In a queue of length zero, the new call is the oldest.
                Overflow::DropOldest => match inner.queue.pop_front() {
                    Some(oldest) => dropped = Some(oldest),
                    None => return Acquire::Rejected,
                },
                Overflow::Wait => past_bound = true,
            }
        }
        let (sender, turn) = oneshot::channel();
        inner.queue.push_back(sender);
        drop(inner);
        // After the lock: this wakes the task of the dropped call, and a waker may run user code.
        drop(dropped);
        Acquire::Queued { turn, past_bound }
    }

    /// Returns whether no permit is taken and no call waits.
    #[cfg(any(test, bgtask_shuttle))]
    pub(crate) fn is_idle(&self) -> bool {
        let inner = self.lock();
        inner.running == 0 && inner.queue.iter().all(oneshot::Sender::is_closed)
    }

    /// Passes a returned permit on to the next call that still waits.
    fn pass_on(self: Arc<Self>) {
        loop {
            let next = {
                let mut inner = self.lock();
                // More run than may since the limit was lowered: this one ends without a successor.
                let is_over = inner.running > inner.limits.max;
                let next = if is_over {
                    None
                } else {
                    inner.queue.pop_front()
                };
                match next {
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
                // The call has left. Its permit comes back, and this loop passes it on instead of the permit's drop.
                Err(mut back) if !broken!("permit_given_twice") => back.0 = None,
                Err(_) => {}
            }
        }
    }

    /// Held for a few moves of the queue. Nothing panics under it, so the data behind a poisoned lock is consistent.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(limiter) = self.0.take() {
            limiter.pass_on();
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

    fn ready(turn: Acquire) -> Permit {
        match turn {
            Acquire::Ready(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    fn queued(turn: Acquire) -> oneshot::Receiver<Permit> {
        match turn {
            Acquire::Queued { turn, .. } => turn,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn permits_are_passed_on_in_the_order_of_the_queue() {
        let limiter = limiter(1, None, Overflow::Refuse);
        let first = ready(limiter.acquire());
        let mut second = queued(limiter.acquire());
        let mut third = queued(limiter.acquire());
        assert!(second.try_recv().is_err());
        drop(first);
        let second = second.try_recv().unwrap();
        assert!(third.try_recv().is_err());
        drop(second);
        drop(third.try_recv().unwrap());
        assert!(limiter.is_idle());
    }

    #[test]
    fn a_permit_skips_the_calls_that_left_and_is_not_lost() {
        let limiter = limiter(1, None, Overflow::Refuse);
        let first = ready(limiter.acquire());
        let gone = queued(limiter.acquire());
        // Receives its permit and drops it unseen.
        let given = queued(limiter.acquire());
        let mut last = queued(limiter.acquire());
        drop(gone);
        drop(first);
        assert!(last.try_recv().is_err());
        drop(given);
        drop(last.try_recv().unwrap());
        drop(ready(limiter.acquire()));
        assert!(limiter.is_idle());
    }

    #[test]
    fn a_full_queue_refuses_or_drops_its_oldest() {
        let refusing = limiter(1, Some(1), Overflow::Refuse);
        let _running = ready(refusing.acquire());
        let _waiting = queued(refusing.acquire());
        assert!(matches!(refusing.acquire(), Acquire::Rejected));

        let dropping = limiter(1, Some(1), Overflow::DropOldest);
        let running = ready(dropping.acquire());
        let mut oldest = queued(dropping.acquire());
        let mut newest = queued(dropping.acquire());
        assert_eq!(
            oldest.try_recv().unwrap_err(),
            oneshot::error::TryRecvError::Closed
        );
        drop(running);
        assert!(newest.try_recv().is_ok());

        let no_queue = limiter(1, Some(0), Overflow::DropOldest);
        let _running = ready(no_queue.acquire());
        assert!(matches!(no_queue.acquire(), Acquire::Rejected));
    }

    #[test]
    fn calls_that_left_take_no_room_in_the_queue() {
        let limiter = limiter(1, Some(1), Overflow::Refuse);
        let _running = ready(limiter.acquire());
        drop(queued(limiter.acquire()));
        drop(queued(limiter.acquire()));
    }

    #[test]
    fn an_unbounded_queue_is_swept_of_the_calls_that_left() {
        let limiter = limiter(1, None, Overflow::Refuse);
        let _running = ready(limiter.acquire());
        let waiting: Vec<_> = (0..100).map(|_| queued(limiter.acquire())).collect();
        for _ in 0..10_000 {
            drop(queued(limiter.acquire()));
        }
        let length = limiter.lock().queue.len();
        assert!(
            (waiting.len()..=4 * waiting.len()).contains(&length),
            "{length}"
        );
    }

    #[test]
    fn a_call_past_the_bound_is_marked_as_such() {
        let limiter = limiter(1, Some(0), Overflow::Wait);
        let _running = ready(limiter.acquire());
        assert!(matches!(
            limiter.acquire(),
            Acquire::Queued {
                past_bound: true,
                ..
            }
        ));
    }
}
