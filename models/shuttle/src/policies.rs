//! Permits, lines, keys, windows: what the policies promise however their callers come and go.

use super::model::{Model, holds};
use crate::policy::{Acquire, Limiter, Permit, Registry, Window};
use crate::policy::{
    Coalesce, Concurrency, Entry, KeyGroups, Overflow, Policies, Rate, SharedOutcome, key,
};
use shuttle::future::block_on;
use shuttle::thread::{self, JoinHandle};
use std::sync::Arc;
// The standard library's: what is noted here is no step of the model.
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

pub(super) const MODELS: &[Model] = &[
    Model {
        name: "permits",
        invariant: "no more bodies run than there are permits, and every permit is returned",
        run: permits,
        mistakes: &["permit_given_twice"],
        preemptions: None,
    },
    Model {
        name: "changed_limit",
        invariant: "a limit that is changed while calls wait is never exceeded beyond the highest it had, and loses no permit",
        run: changed_limit,
        mistakes: &["admitted_uncounted"],
        preemptions: None,
    },
    Model {
        name: "bounded_queue",
        invariant: "each waiting call gets a permit or is dropped from the wait queue, whatever calls arrive and leave concurrently",
        run: bounded_queue,
        mistakes: &["permit_lost"],
        preemptions: None,
    },
    Model {
        name: "coalesce_join",
        invariant: "at most one body per key runs at a time, and a joined call shares the outcome of a run that was in flight",
        run: coalesce_join,
        mistakes: &["leader_goes_after_its_end"],
        preemptions: None,
    },
    Model {
        name: "coalesce_trailing",
        invariant: "a trailing call shares the outcome of a run that began after the call",
        run: coalesce_trailing,
        mistakes: &["begin_not_noted"],
        preemptions: None,
    },
    Model {
        name: "coalesce_abort",
        invariant: "a joined call shares the outcome of the run, whether or not the leading call is aborted",
        run: coalesce_abort,
        mistakes: &["looked_before_closing"],
        preemptions: None,
    },
    Model {
        name: "coalesce_replace",
        invariant: "a call replaces only earlier calls: the last call of a key runs to its end",
        run: coalesce_replace,
        mistakes: &["later_replaced"],
        preemptions: None,
    },
    Model {
        name: "rate",
        invariant: "no window contains more starts than the rate allows, however many calls ask concurrently",
        run: rate,
        mistakes: &["reserved_in_two_steps"],
        preemptions: None,
    },
    Model {
        name: "registry",
        invariant: "all calls of a key share one limiter, whatever keys are swept concurrently",
        run: registry,
        mistakes: &["held_key_swept"],
        preemptions: None,
    },
];

/// How many bodies run.
#[derive(Debug, Default)]
struct Running(AtomicUsize);

impl Running {
    /// One body, of which at most `max` may run at once.
    fn body(&self, max: usize) {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        holds!(before < max, "{} bodies run at once", before + 1);
        thread::yield_now();
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn join_all<T>(threads: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    let joined = threads.into_iter().map(JoinHandle::join);
    joined
        .map(|joined| joined.expect("it has panicked, and so ended the model"))
        .collect()
}

fn limiter(max: usize, queue: Option<usize>, overflow: Overflow) -> Arc<Limiter> {
    Limiter::new(Concurrency {
        max,
        queue,
        overflow,
    })
}

/// Nobody has a permit or waits for one: the next is given one at once.
fn is_free(limiter: &Arc<Limiter>) {
    holds!(limiter.is_idle(), "a permit was lost: {limiter:?}");
    holds!(
        matches!(limiter.acquire(), Acquire::Ready(_)),
        "a permit was lost: {limiter:?}"
    );
}

fn permits() {
    const MAX: usize = 2;
    let limiter = limiter(MAX, None, Overflow::Refuse);
    let running = Arc::new(Running::default());
    let callers = (0..5).map(|number| {
        let (limiter, running) = (limiter.clone(), running.clone());
        thread::spawn(move || {
            let permit: Permit = match limiter.acquire() {
                Acquire::Ready(permit) => permit,
                // Some leave the line before it is their turn, or in the moment in which it is.
                Acquire::Queued { turn, .. } if number % 2 == 0 => return drop(turn),
                Acquire::Queued { turn, .. } => {
                    block_on(turn).expect("nobody is dropped from this line")
                }
                Acquire::Rejected => unreachable!("the line has no bound"),
            };
            running.body(MAX);
            drop(permit);
        })
    });
    join_all(callers.collect::<Vec<_>>());
    is_free(&limiter);
}

fn changed_limit() {
    let limiter = limiter(1, None, Overflow::Refuse);
    let running = Arc::new(Running::default());
    let callers = (0..3).map(|_| {
        let (limiter, running) = (limiter.clone(), running.clone());
        thread::spawn(move || {
            let permit = match limiter.acquire() {
                Acquire::Ready(permit) => permit,
                Acquire::Queued { turn, .. } => {
                    block_on(turn).expect("nobody is dropped from this line")
                }
                Acquire::Rejected => unreachable!("the line has no bound"),
            };
            running.body(2);
            drop(permit);
        })
    });
    let callers: Vec<_> = callers.collect();
    let limits = |max| Concurrency {
        max,
        queue: None,
        overflow: Overflow::Refuse,
    };
    limiter.set_limits(limits(2));
    limiter.set_limits(limits(1));
    limiter.set_limits(limits(2));
    join_all(callers);
    is_free(&limiter);
}

fn bounded_queue() {
    let limiter = limiter(1, Some(1), Overflow::DropOldest);
    let running = Arc::new(Running::default());
    let callers = (0..4).map(|number| {
        let (limiter, running) = (limiter.clone(), running.clone());
        thread::spawn(move || {
            let permit = match limiter.acquire() {
                Acquire::Ready(permit) => permit,
                Acquire::Queued { turn, .. } if number == 0 => return drop(turn),
                Acquire::Queued { turn, .. } => match block_on(turn) {
                    Ok(permit) => permit,
                    // It was the oldest of a line that was full.
                    Err(_) => return,
                },
                Acquire::Rejected => unreachable!("there is an oldest to be dropped"),
            };
            running.body(1);
            drop(permit);
        })
    });
    join_all(callers.collect::<Vec<_>>());
    is_free(&limiter);
}

/// One call of a function with `coalesce`, until it knows what it led to.
fn coalesced(policy: Coalesce, groups: &Arc<KeyGroups>, running: &Running, clock: &AtomicUsize) {
    let came = clock.fetch_add(1, Ordering::Relaxed);
    match groups.enter(key("one"), None) {
        Entry::Leads(mut leader) => {
            block_on(leader.wait_for_turn());
            leader.begin();
            let begun = clock.fetch_add(1, Ordering::Relaxed);
            running.body(1);
            // Asked when nobody can join it any more.
            leader.end(|| {
                let ended = clock.fetch_add(1, Ordering::Relaxed);
                SharedOutcome::Value(Box::new((begun, ended)))
            });
        }
        Entry::Joins(outcome) => match block_on(outcome) {
            Ok(SharedOutcome::Value(run)) => {
                let (begun, ended) = *run
                    .downcast::<(usize, usize)>()
                    .expect("as its caller received it");
                match policy {
                    Coalesce::Trailing => holds!(
                        begun > came,
                        "a call at {came} shares a run that began at {begun}"
                    ),
                    _ => holds!(
                        ended > came,
                        "a call at {came} shares a run that ended at {ended}"
                    ),
                }
            }
            other => holds!(false, "a call that has joined received {other:?}"),
        },
        Entry::Skipped => unreachable!("nobody skips here"),
    }
}

fn coalesce(policy: Coalesce) {
    let groups = KeyGroups::new(policy);
    let running = Arc::new(Running::default());
    let clock = Arc::new(AtomicUsize::new(0));
    let callers = (0..4).map(|_| {
        let (groups, running, clock) = (groups.clone(), running.clone(), clock.clone());
        thread::spawn(move || coalesced(policy, &groups, &running, &clock))
    });
    join_all(callers.collect::<Vec<_>>());
    let next = groups.enter(key("one"), None);
    holds!(
        matches!(&next, Entry::Leads(leader) if !leader.must_wait()),
        "a runner without flights is left: {next:?}"
    );
}

fn coalesce_join() {
    coalesce(Coalesce::Join);
}

fn coalesce_trailing() {
    coalesce(Coalesce::Trailing);
}

fn coalesce_abort() {
    let groups = KeyGroups::new(Coalesce::Join);
    let Entry::Leads(leader) = groups.enter(key("one"), None) else {
        unreachable!("it is the first");
    };
    let followers = leader.followers().expect("calls join it");
    let aborts = thread::spawn(move || followers.close_if_empty());
    let callers = (0..2).map(|_| {
        let groups = groups.clone();
        thread::spawn(move || match groups.enter(key("one"), None) {
            // It was aborted before: this one runs by itself.
            Entry::Leads(leader) => leader.end(|| SharedOutcome::Value(Box::new(()))),
            Entry::Joins(outcome) => {
                let outcome = block_on(outcome);
                holds!(
                    matches!(outcome, Ok(SharedOutcome::Value(_))),
                    "a call that has joined was outcome {outcome:?}"
                );
            }
            Entry::Skipped => unreachable!("nobody skips here"),
        })
    });
    let callers: Vec<_> = callers.collect();
    if join_all([aborts])[0] {
        drop(leader)
    } else {
        leader.end(|| SharedOutcome::Value(Box::new(())))
    }
    join_all(callers);
}

fn coalesce_replace() {
    let groups = KeyGroups::new(Coalesce::Replace);
    let running = Arc::new(Running::default());
    let callers = (0..3).map(|_| {
        let (groups, running) = (groups.clone(), running.clone());
        thread::spawn(move || {
            let Entry::Leads(mut leader) = groups.enter(key("one"), None) else {
                unreachable!("each call replaces the one before");
            };
            leader.replace_earlier();
            block_on(leader.wait_for_turn());
            if leader.replaced.is_cancelled() {
                return false;
            }
            leader.begin();
            running.body(1);
            !leader.replaced.is_cancelled()
        })
    });
    let has_finished = join_all(callers.collect::<Vec<_>>());
    holds!(has_finished.contains(&true), "all calls were replaced");
}

fn rate() {
    let per = Duration::from_secs(1);
    let limit = 2;
    let window = Arc::new(Window::new(Rate::new(limit, per)));
    let now = Instant::now();
    let callers = (0..3).map(|_| {
        let window = window.clone();
        thread::spawn(move || [window.try_reserve(now), window.try_reserve(now)])
    });
    let starts = join_all(callers.collect::<Vec<_>>()).concat();
    let count = starts.iter().filter(|has_start| **has_start).count();
    holds!(count == limit as usize, "{count} starts at once");
}

fn registry() {
    static POLICIES: Policies = Policies {
        concurrency: Some(Concurrency {
            max: 1,
            queue: None,
            overflow: Overflow::Refuse,
        }),
        ..Policies::NONE
    };
    let registry = Arc::new(Registry::new());
    let running = Arc::new(Running::default());
    let callers = (0..2).map(|_| {
        let (registry, running) = (registry.clone(), running.clone());
        thread::spawn(move || {
            let state = registry.handler_state("modelled", &POLICIES);
            let limiter = state.limiter(&key("busy")).expect("it has permits");
            let permit = match limiter.acquire() {
                Acquire::Ready(permit) => permit,
                Acquire::Queued { turn, .. } => block_on(turn).expect("nobody is dropped"),
                Acquire::Rejected => unreachable!("the line has no bound"),
            };
            running.body(1);
            drop(permit);
        })
    });
    let callers: Vec<_> = callers.collect();
    let state = registry.handler_state("modelled", &POLICIES);
    for other in 0..8 {
        drop(state.limiter(&key(&other)));
    }
    join_all(callers);
}
