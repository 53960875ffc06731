//! What is noted of one test's calls, which of them are held back, and the verdict at the end.
//! Written by the manager's hooks and read by the test; knows nothing of runtimes, or of how tasks run.

use crate::SourceLocation;
use crate::hooks::{Dispatcher, FailedTask, FinishedTask, Launch, PanickedTask};
use crate::identity::Identity;
use crate::ledger::Ledger;
use crate::panic_site::contain;
use crate::report::ShutdownReport;
use crate::stats::{Outcome, TaskId};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::panic::Location;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use tokio::sync::Notify;
use tokio::task::yield_now;

/// What belongs to one kit.
#[derive(Default)]
pub(super) struct State {
    /// Weak, since the manager's hooks lead here.
    ledger: OnceLock<Weak<Ledger>>,
    noted: Mutex<Noted>,
    /// Something that somebody may wait for has been noted.
    changed: Notify,
}

#[derive(Default)]
struct Noted {
    /// In the order they were made.
    calls: Vec<CallNote>,
    /// Where a call stands among them.
    at: HashMap<TaskId, usize>,
    failures: Vec<Failure>,
    /// Every `Err`, whether or not somebody looked at it.
    errors: Vec<(TaskId, &'static str)>,
    expected_panics: Vec<&'static str>,
    expected_errors: Vec<&'static str>,
    held: VecDeque<Held>,
    pauses: usize,
    /// The test has the report in which those are named that did not finish.
    late_is_reported: bool,
}

/// A call as it was accepted, and how far it has come.
struct CallNote {
    id: TaskId,
    name: &'static str,
    called_at: &'static Location<'static>,
    has_begun: bool,
    ended: Option<Outcome>,
}

impl fmt::Display for CallNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} (id {}, ", self.called_at, self.id)?;
        match (self.ended, self.has_begun) {
            (Some(outcome), _) => write!(f, "{outcome})"),
            (None, true) => f.write_str("running)"),
            (None, false) => f.write_str("queued)"),
        }
    }
}

struct Held {
    id: TaskId,
    name: &'static str,
    launch: Launch,
}

/// Something that fails the test unless it was declared.
struct Failure {
    id: TaskId,
    name: &'static str,
    called_at: &'static Location<'static>,
    kind: Kind,
    message: String,
}

enum Kind {
    Panic(Option<SourceLocation>),
    Unseen,
}

impl Failure {
    fn panic(task: &PanickedTask<'_>) -> Self {
        Self {
            id: task.id,
            name: task.name,
            called_at: task.called_at,
            kind: Kind::Panic(task.location.cloned()),
            message: task.message.to_owned(),
        }
    }

    fn unseen(task: &FailedTask<'_>) -> Self {
        Self {
            id: task.id,
            name: task.name,
            called_at: task.called_at,
            kind: Kind::Unseen,
            message: task.error.to_owned(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            name,
            called_at,
            message,
            ..
        } = self;
        match &self.kind {
            Kind::Panic(Some(location)) => write!(f, "`{name}` panicked at {location}: {message}")?,
            Kind::Panic(None) => write!(f, "`{name}` panicked: {message}")?,
            Kind::Unseen => write!(
                f,
                "`{name}` returned an `Err` that nobody looked at: {message}"
            )?,
        }
        let (cure, declaration) = match self.kind {
            Kind::Panic(_) => ("", "expect_panic"),
            Kind::Unseen => ("await its handle, or ", "expect_error"),
        };
        write!(
            f,
            "\n      called at {called_at} (id {id}); if it is meant: {cure}`bgtask::testing::{declaration}(\"{}\")`",
            last_segment(name)
        )
    }
}

/// Why a test fails.
#[derive(Debug)]
pub(super) struct Verdict(Vec<String>);

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("background work failed this test:")?;
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl Noted {
    fn calls_of(&self, name: &'static str) -> impl Iterator<Item = &CallNote> {
        self.calls.iter().filter(move |call| call.name == name)
    }
}

impl State {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        lock(&self.noted)
    }

    /// The calls that have not been struck out of the books.
    fn live(&self) -> BTreeSet<TaskId> {
        let ledger = self.ledger.get().and_then(Weak::upgrade);
        let tasks = ledger.map(|ledger| ledger.live_tasks());
        let tasks = tasks.into_iter().flatten();
        tasks.map(|task| task.id).collect()
    }

    pub(super) fn belongs_to(&self, ledger: &Arc<Ledger>) {
        // Set once, before the first call.
        let _ = self.ledger.set(Arc::downgrade(ledger));
    }

    pub(super) fn note_panic(&self, task: &PanickedTask<'_>) {
        self.noted().failures.push(Failure::panic(task));
    }

    pub(super) fn note_error(&self, task: &FailedTask<'_>) {
        self.noted().errors.push((task.id, task.name));
    }

    pub(super) fn note_unseen(&self, task: &FailedTask<'_>) {
        self.noted().failures.push(Failure::unseen(task));
    }

    pub(super) fn note_end(&self, task: &FinishedTask) {
        self.change(task.id, |call| call.ended = Some(task.outcome));
    }

    fn change(&self, id: TaskId, change: impl FnOnce(&mut CallNote)) {
        let mut noted = self.noted();
        if let Some(&at) = noted.at.get(&id) {
            change(&mut noted.calls[at]);
        }
        drop(noted);
        self.changed.notify_waiters();
    }

    pub(super) fn calls(&self, name: &'static str) -> usize {
        self.noted().calls_of(name).count()
    }

    pub(super) fn expect_panic(&self, name: &'static str) {
        self.noted().expected_panics.push(name);
    }

    pub(super) fn expect_error(&self, name: &'static str) {
        self.noted().expected_errors.push(name);
    }

    /// The test has the report, and names in it what did not finish.
    pub(super) fn report_goes_to_the_test(&self) {
        self.noted().late_is_reported = true;
    }

    pub(super) fn pause(&self) {
        self.noted().pauses += 1;
    }

    /// Ends one pause; if it was the last one, releases what is held back.
    pub(super) fn resume(&self) {
        let mut noted = self.noted();
        // It is zero if the test's end has released everything before.
        noted.pauses = noted.pauses.saturating_sub(1);
        let is_over = noted.pauses == 0;
        drop(noted);
        if is_over {
            self.resume_all();
        }
    }

    pub(super) fn waiting(&self) -> Vec<&'static str> {
        let live = self.live();
        let noted = self.noted();
        let waiting = noted.held.iter().filter(|held| live.contains(&held.id));
        waiting.map(|held| held.name).collect()
    }

    pub(super) fn release_next(&self) -> Option<&'static str> {
        loop {
            let held = self.noted().held.pop_front()?;
            let is_waiting = self.live().contains(&held.id);
            (held.launch)();
            // One that was aborted meanwhile has nothing left to run.
            if is_waiting {
                return Some(held.name);
            }
        }
    }

    pub(super) fn abort_held(&self) {
        // Taken out first: with a call its arguments are dropped, which are the user's.
        let held = std::mem::take(&mut self.noted().held);
        for Held { launch, .. } in held {
            contain(|| drop(launch));
        }
    }

    /// Ends every pause. Calls of those that are released are not held back any more.
    pub(super) fn resume_all(&self) {
        self.noted().pauses = 0;
        while let Some(held) = { self.noted().held.pop_front() } {
            (held.launch)();
        }
    }

    pub(super) async fn until_begun(&self, name: &'static str) {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before the look: a change that comes after it is not missed.
            changed.as_mut().enable();
            if self.noted().calls_of(name).any(|call| call.has_begun) {
                return;
            }
            changed.await;
        }
    }

    pub(super) async fn idle(&self, own: Option<TaskId>) {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before the look: a change that comes after it is not missed.
            changed.as_mut().enable();
            let mut live = self.live();
            if let Some(own) = own {
                live.remove(&own);
            }
            if live.is_empty() {
                return;
            }
            let mut held = Vec::new();
            {
                let noted = self.noted();
                held.extend(
                    noted
                        .held
                        .iter()
                        .filter_map(|held| live.remove(&held.id).then_some(held.name)),
                );
                for call in noted.calls.iter().filter(|call| call.ended.is_some()) {
                    live.remove(&call.id);
                }
            }
            if !live.is_empty() {
                changed.await;
            } else if held.is_empty() {
                // The hook is told of an end before it is written down; that follows in a moment.
                yield_now().await;
            } else {
                panic!(
                    "`idle()` would wait for ever: `pause_dispatch()` holds back {}",
                    held.join(", ")
                );
            }
        }
    }

    #[track_caller]
    pub(super) fn assert_called(&self, name: &'static str, times: usize) {
        let noted = self.noted();
        let calls: Vec<_> = noted.calls_of(name).collect();
        if calls.len() == times {
            return;
        }
        let mut message = format!(
            "`{name}` was called {}, and {} expected",
            Times(calls.len()),
            match times {
                0 => "no call was".to_owned(),
                1 => "1 call was".to_owned(),
                _ => format!("{times} calls were"),
            }
        );
        for call in calls {
            message += &format!("\n  {call}");
        }
        drop(noted);
        panic!("{message}");
    }

    /// What fails the test, once the background work has been drained; without a report, what has failed so far.
    pub(super) fn verdict(&self, report: Option<&ShutdownReport>) -> Option<Verdict> {
        let noted = self.noted();
        let mut lines = Vec::new();
        let mut panics = noted.expected_panics.clone();
        let mut errors = noted.expected_errors.clone();
        // One call may panic twice: in its body, and when what that leaves is dropped.
        let mut declared = BTreeSet::new();
        for failure in &noted.failures {
            let expected = match failure.kind {
                Kind::Panic(_) => &mut panics,
                Kind::Unseen => &mut errors,
            };
            if declared.contains(&failure.id) {
                continue;
            }
            if take(expected, failure.name) {
                declared.insert(failure.id);
            } else {
                lines.push(failure.to_string());
            }
        }
        let Some(report) = report else {
            return (!lines.is_empty()).then_some(Verdict(lines));
        };
        if !noted.late_is_reported {
            lines.extend(report.stragglers.iter().map(|late| {
                let token = match late.takes_token {
                    true => "takes a `ShutdownToken`, which has fired",
                    false => "takes no `ShutdownToken`, so it could not know",
                };
                format!(
                    "`{}` had not ended {:?} after the test, and was {}\n      called at {} (id {}); {token}",
                    late.name,
                    report.grace,
                    late.outcome,
                    late.called_at,
                    late.id,
                )
            }));
        }
        let seen = noted.errors.iter().filter(|(id, _)| !declared.contains(id));
        for (id, name) in seen {
            let is_unseen = noted.failures.iter().any(|failure| failure.id == *id);
            // One that somebody looked at is what was declared, too.
            if !is_unseen {
                take(&mut errors, name);
            }
        }
        let undone = |what: &'static str| {
            move |name: &&str| {
                format!(
                    "`{name}` was expected to {what}, and did not: remove the declaration, or see why"
                )
            }
        };
        lines.extend(panics.iter().map(undone("panic")));
        lines.extend(errors.iter().map(undone("return an `Err`")));
        (!lines.is_empty()).then_some(Verdict(lines))
    }
}

impl Dispatcher for State {
    fn dispatch(&self, call: Identity, launch: Launch) {
        let mut noted = self.noted();
        let (id, name) = (call.id, call.handler.name());
        let at = noted.calls.len();
        noted.at.insert(id, at);
        noted.calls.push(CallNote {
            id,
            name,
            called_at: call.called_at,
            has_begun: false,
            ended: None,
        });
        let launch = if noted.pauses > 0 {
            noted.held.push_back(Held { id, name, launch });
            None
        } else {
            Some(launch)
        };
        drop(noted);
        if let Some(launch) = launch {
            launch();
        }
        self.changed.notify_waiters();
    }

    fn begun(&self, call: &Identity) {
        self.change(call.id, |call| call.has_begun = true);
    }
}

struct Times(usize);

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("never"),
            1 => f.write_str("once"),
            times => write!(f, "{times} times"),
        }
    }
}

/// Takes one such name out of the list; whether there was one.
fn take(names: &mut Vec<&'static str>, name: &str) -> bool {
    let found = names.iter().position(|own| *own == name);
    found.map(|at| names.remove(at)).is_some()
}

/// Held for a few reads or writes of what is noted; no code of the user's runs meanwhile.
fn lock(noted: &Mutex<Noted>) -> MutexGuard<'_, Noted> {
    noted.lock().unwrap_or_else(PoisonError::into_inner)
}

fn last_segment(name: &str) -> &str {
    name.rsplit("::").next().unwrap_or(name)
}
