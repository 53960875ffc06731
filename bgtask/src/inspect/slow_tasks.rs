//! What takes long: looks at the books now and then, and reports each such task once.
//! Owns when it looks, and what it says; knows nothing of why a task takes long, and changes nothing but its own marks.

use crate::handler::{Handler, Registered};
use crate::handler::{Log, WarnAfter};
use crate::inspect::oldest::{Oldest, Others};
use crate::policy::Doing;
use crate::stats::TaskInfo;
use crate::tracker::Tracker;
use crate::tracker::state::ReportKind;
use crate::tracker::visit::Live;
use crate::util::log::{Time, report};
use crate::util::panic::catch_and_ignore;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// How many tasks one look names; the rest it sums up.
const NAMED: usize = 20;

/// Between two looks, at the least and at the most.
const SCAN_INTERVAL: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// From when on tasks are spoken of: what their functions say, or else what the manager does.
#[derive(Clone, Copy, Debug)]
struct Limits {
    default: Option<Duration>,
}

impl Limits {
    fn of(self, handler: &Handler) -> Option<Duration> {
        if handler.log() == Log::Off {
            return None;
        }
        match handler.warn_after() {
            WarnAfter::After(limit) => Some(limit),
            WarnAfter::Never => None,
            // To run for long is what it is for.
            WarnAfter::Unsaid if handler.is_started_once() => None,
            WarnAfter::Unsaid => self.default,
        }
    }

    /// The shortest of any function linked into the program. They never become more.
    fn shortest(self) -> Option<Duration> {
        let all = inventory::iter::<Registered>.into_iter();
        all.filter_map(|registered| self.of(registered.0)).min()
    }
}

/// Starts the watch, if any function wants it: a thread, which is not the runtime's, since that may be what is stuck. It waits
/// by the clock of the operating system, and ends with the manager.
pub(crate) fn start(tracker: &Arc<Tracker>, default: Option<Duration>) {
    let limits = Limits { default };
    let Some(shortest) = limits.shortest() else {
        return;
    };
    let (watched, is_over) = channel();
    let books = Arc::downgrade(tracker);
    let spawned = thread::Builder::new()
        .name("bgtask-watch".to_owned())
        .spawn(move || watch(&books, &is_over, limits, shortest));
    match spawned {
        Ok(_) => tracker.shared.shutdown.keep_watch(watched),
        Err(error) => {
            report!(warn, "no thread to watch for tasks that take long: `warn_after` goes unheeded"; error = error);
        }
    }
}

fn watch<N>(books: &Weak<Tracker>, is_over: &Receiver<N>, limits: Limits, shortest: Duration) {
    // What is called from now on takes long in so much time at the earliest.
    let mut nap = shortest;
    while let Err(RecvTimeoutError::Timeout) = is_over.recv_timeout(nap) {
        let Some(tracker) = books.upgrade() else {
            return;
        };
        let look = Look::at(&tracker, ReportKind::Slow, |live| {
            limits
                .of(live.identity.handler)
                .map(|limit| (live.identity.called(), limit))
        });
        // It may be the last owner by now, and with the manager go its hooks.
        catch_and_ignore(|| drop(tracker));
        nap = look.until_next(shortest);
        look.tell(
            |found| {
                let (task, limit) = (&found.task, Time(found.limit));
                report!(warn, "task takes long"; name = task.name, id: task.id.as_u64(), called_at = task.called_at,
                    age = Time(task.age), warn_after = limit, state = task.state, attempt: task.attempt);
            },
            |count, others| {
                report!(warn, "further tasks take long"; count: count, tasks = others);
            },
        );
    }
}

/// What the drain looks at: tasks that run on although their tokens have fired.
pub(crate) struct Drained {
    fired: Instant,
    deadline: Instant,
    /// Half of the grace period.
    limit: Duration,
}

impl Drained {
    /// The tokens have fired just now.
    pub(crate) fn new(grace: Duration, deadline: Instant) -> Self {
        Self {
            fired: Instant::now(),
            deadline,
            limit: grace / 2,
        }
    }

    /// When to look for the first time.
    pub(crate) fn first_look(&self) -> Option<Instant> {
        self.fired.checked_add(self.limit)
    }

    /// Looks once: what there is to say, and when to look again.
    pub(crate) fn look(
        &self,
        tracker: &Tracker,
    ) -> (impl FnOnce() + Send + 'static, Option<Instant>) {
        let look = Look::at(tracker, ReportKind::Overdue, |live| {
            let handler = live.identity.handler;
            // One that finishes has not been told; one that is to be silent is named at the deadline alone.
            let concerns = !handler.finishes() && handler.log() != Log::Off;
            let since = live.identity.called().max(self.fired);
            concerns.then_some((since, self.limit))
        });
        let next = look.now.checked_add(look.until_next(self.limit));
        let left = Time(self.deadline.saturating_duration_since(look.now));
        let tell = move || {
            look.tell(
                |found| {
                    let task = &found.task;
                    report!(warn, "task still runs long after its token fired"; name = task.name, id: task.id.as_u64(),
                        called_at = task.called_at, age = Time(task.age), left = left, state = task.state,
                        takes_token: found.handler.takes_token());
                },
                |count, others| {
                    report!(warn, "further tasks still run long after their tokens fired"; count: count,
                        tasks = others);
                },
            );
        };
        (tell, next)
    }
}

struct Found {
    handler: &'static Handler,
    task: TaskInfo,
    limit: Duration,
}

/// What one look has found.
struct Look {
    now: Instant,
    named: Vec<Found>,
    others: Others,
    /// When the next task that was seen will have taken long.
    due: Option<Instant>,
}

impl Look {
    /// `limit` says from when on a call's time counts, and how much of it is long; nothing if it does not matter.
    fn at(
        tracker: &Tracker,
        telling: ReportKind,
        limit: impl Fn(&Live<'_>) -> Option<(Instant, Duration)>,
    ) -> Self {
        let now = Instant::now();
        let mut oldest = Oldest::new(NAMED);
        let mut due: Option<Instant> = None;
        let mut is_due = |since: Instant, limit| {
            // What is too far off for the clock is never.
            let Some(own) = since.checked_add(limit) else {
                return false;
            };
            if own > now {
                due = Some(due.map_or(own, |due| due.min(own)));
            }
            own <= now
        };
        tracker.for_each_live(Some(telling), |live| {
            let Some((since, limit)) = limit(&live) else {
                return;
            };
            if !is_due(since, limit) {
                return;
            }
            let (id, handler) = (live.identity.id, live.identity.handler);
            let progress = || tracker.shared.policies.progress(handler.policies()?, id);
            // In the drain the limit does not depend on the policies, and there is no time to look up each of a million calls.
            if telling == ReportKind::Slow && handler.policies().is_some() {
                let Some(progress) = progress() else {
                    // It has just ended.
                    return;
                };
                // What waits in a line does so as it was told to: its time begins when it is let through.
                let begun = match progress.doing() {
                    Doing::Waiting => now,
                    _ => progress.let_through().unwrap_or(since),
                };
                if !is_due(begun, limit) {
                    return;
                }
            }
            if live.claim(telling) {
                oldest.see(&live.identity, || {
                    let mut task = live.info(now);
                    if let Some(progress) = progress() {
                        task.state = progress.state();
                        task.attempt = progress.attempt();
                    }
                    Found {
                        handler,
                        task,
                        limit,
                    }
                });
            }
        });
        let (named, others) = oldest.finish();
        Self {
            now,
            named: named.into_iter().map(|(_, found)| found).collect(),
            others,
            due,
        }
    }

    /// How long until the next look: what was not there yet needs `shortest` at the least. Not too often, however many tasks
    /// come to take long one after the other.
    fn until_next(&self, shortest: Duration) -> Duration {
        let gap = (shortest / 10).clamp(SCAN_INTERVAL.0, SCAN_INTERVAL.1);
        let due = self.due.map(|due| due.saturating_duration_since(self.now));
        due.map_or(shortest, |due| due.min(shortest)).max(gap)
    }

    fn tell(&self, name: impl Fn(&Found), sum_up: impl Fn(u64, &Others)) {
        self.named.iter().for_each(name);
        match self.others.count() {
            0 => {}
            count => sum_up(count, &self.others),
        }
    }
}
