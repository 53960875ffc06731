//! What is noted of one test's calls, which of them are held back, and the verdict at the end.
//! Written by the manager's hooks and read by the test; knows nothing of runtimes, or of how tasks run.

use super::function::Function;
use super::inline;
use super::wait::within;
use crate::handler::Handler;
use crate::observe::Coalesced;
use crate::observe::call_info::CallInfo;
use crate::observe::hooks::{Dispatcher, FinishedTask, Launch, NotStarted, PanickedTask};
use crate::report::ShutdownReport;
use crate::stats::{Outcome, TaskId, TaskInfo};
use crate::task::End;
use crate::tracker::Tracker;
use crate::util::log::to_stderr;
use crate::util::panic::{Caught, catch, catch_and_ignore};
use crate::util::text::Indented;
use crate::{RefusedReason, SourceLocation, TaskError};
use std::any::Any;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::yield_now;

/// What belongs to one kit.
pub(super) struct State {
    /// Weak, since the manager's hooks lead here.
    tracker: OnceLock<Weak<Tracker>>,
    noted: Mutex<Noted>,
    /// Something that somebody may wait for has been noted.
    changed: Notify,
}

struct Noted {
    /// In the order they were made.
    calls: Vec<CallNote>,
    /// Where a call stands among them.
    at: HashMap<TaskId, usize>,
    failures: Vec<Failure>,
    expected: Vec<Expected>,
    held: VecDeque<Held>,
    pauses: usize,
    /// How many ask for calls to run where they are made.
    inlines: usize,
    /// How long a wait may take.
    limit: Duration,
    /// Values that are dropped after the drain.
    kept: Vec<Kept>,
    /// Durable calls that were dropped without being awaited, as the verdict states them.
    #[cfg(feature = "durable")]
    not_stored: Vec<String>,
    /// The test has the report in which those are named that did not finish.
    late_is_reported: bool,
}

/// A call as it was made, and how far it has come.
struct CallNote {
    id: TaskId,
    handler: &'static Handler,
    called_at: &'static Location<'static>,
    has_begun: bool,
    /// The holder of its handle has received the refusal.
    refusal_is_seen: bool,
    fate: Fate,
}

#[derive(Clone, Copy)]
enum Fate {
    Live,
    Ended(Outcome),
    NotStarted(NotStarted),
}

impl CallNote {
    fn new(call: CallInfo, fate: Fate) -> Self {
        Self {
            id: call.id,
            handler: call.handler,
            called_at: call.called_at,
            has_begun: false,
            refusal_is_seen: false,
            fate,
        }
    }

    /// Returns why the call lacks a state, if nobody has received that. Other refusals fail no test: a policy, a closed group or
    /// the shutdown has asked for them.
    fn unseen_lack(&self) -> Option<RefusedReason> {
        match self.fate {
            Fate::NotStarted(NotStarted::Refused(reason @ RefusedReason::MissingState(_)))
                if !self.refusal_is_seen =>
            {
                Some(reason)
            }
            _ => None,
        }
    }

    /// Refused ones are none.
    fn is_call(&self) -> bool {
        !matches!(self.fate, Fate::NotStarted(NotStarted::Refused(_)))
    }
}

impl fmt::Display for CallNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} (id {}, ", self.called_at, self.id)?;
        match self.fate {
            Fate::Ended(outcome) if self.has_begun => write!(f, "{outcome})"),
            Fate::Ended(outcome) => write!(f, "{outcome} before it began)"),
            Fate::NotStarted(NotStarted::Coalesced(Coalesced::Joined)) => {
                f.write_str("joined a run in flight)")
            }
            Fate::NotStarted(NotStarted::Coalesced(Coalesced::Skipped)) => {
                f.write_str("skipped, for one was in flight)")
            }
            Fate::NotStarted(NotStarted::Refused(reason)) => write!(f, "refused: {reason})"),
            Fate::Live if self.has_begun => f.write_str("running)"),
            Fate::Live => f.write_str("not begun)"),
        }
    }
}

/// A value of the test's that outlives the drain.
pub(super) type Kept = Box<dyn Any + Send>;

struct Held {
    id: TaskId,
    name: &'static str,
    called_at: &'static Location<'static>,
    launch: Launch,
}

/// A failure that was declared.
#[derive(Clone, Copy)]
struct Expected {
    kind: Kind,
    of: Function,
}

/// What fails a test unless it was declared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Panic,
    Error,
    Timeout,
}

impl Kind {
    /// What a call that somebody has looked at comes to.
    fn of(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::Failed => Some(Self::Error),
            Outcome::TimedOut => Some(Self::Timeout),
            _ => None,
        }
    }
}

/// Something that fails the test unless it was declared.
struct Failure {
    id: TaskId,
    name: &'static str,
    called_at: &'static Location<'static>,
    kind: Kind,
    /// What happened, with its message.
    what: String,
}

impl Failure {
    fn panic(task: &PanickedTask<'_>) -> Self {
        let at = |location: &SourceLocation| format!(" at {location}");
        let at = task.location.map_or_else(String::new, at);
        Self {
            id: task.id,
            name: task.name,
            called_at: task.called_at,
            kind: Kind::Panic,
            what: format!("panicked{at}: {}", Indented(task.message)),
        }
    }

    /// Returns the failure of a call at whose end nobody has looked; `is_held` if something still holds its handle.
    fn unseen(call: CallInfo, outcome: Outcome, message: &str, is_held: bool) -> Self {
        let limit = call.handler.policies().and_then(|own| own.timeout);
        let (kind, what) = match (outcome, limit) {
            (Outcome::TimedOut, Some(limit)) => (
                Kind::Timeout,
                match is_held {
                    false => format!("ran out of time after {limit:?}, and nobody looked at that"),
                    true => format!(
                        "ran out of time after {limit:?}, and nobody looked at that: its handle is still held"
                    ),
                },
            ),
            _ => (
                Kind::Error,
                format!(
                    "returned an `Err` that nobody looked at{}: {}",
                    if is_held {
                        ", and its handle is still held"
                    } else {
                        ""
                    },
                    Indented(message)
                ),
            ),
        };
        Self {
            id: call.id,
            name: call.handler.name(),
            called_at: call.called_at,
            kind,
            what,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            name,
            called_at,
            kind,
            what,
        } = self;
        let (cure, declaration) = match kind {
            Kind::Panic => ("", "expect_panic"),
            Kind::Error => ("await its handle, or ", "expect_error"),
            Kind::Timeout => ("await its handle, or ", "expect_timeout"),
        };
        write!(
            f,
            "`{name}` {what}\n      called at {called_at} (id {id}); if it is meant: {cure}`bgtask::testing::{declaration}(\"{}\")`",
            last_segment(name)
        )
    }
}

/// Why a test fails.
#[derive(Debug, Default)]
pub(super) struct Verdict(Vec<String>);

impl Verdict {
    /// Adds the panics of values that were kept until the drain was over.
    pub(super) fn add_panics_of_kept(&mut self, panics: &[Caught]) {
        self.0.extend(panics.iter().map(|caught| {
            format!(
                "a value that was kept until the drain was over panicked while it was dropped: {}",
                Indented(&caught.message)
            )
        }));
    }
}

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
    fn new(limit: Duration) -> Self {
        Self {
            calls: Vec::new(),
            at: HashMap::new(),
            failures: Vec::new(),
            #[cfg(feature = "durable")]
            not_stored: Vec::new(),
            expected: Vec::new(),
            held: VecDeque::new(),
            pauses: 0,
            inlines: 0,
            limit,
            kept: Vec::new(),
            late_is_reported: false,
        }
    }

    fn note(&mut self, call: CallInfo, fate: Fate) {
        self.at.insert(call.id, self.calls.len());
        self.calls.push(CallNote::new(call, fate));
    }

    /// Refused ones among them.
    fn calls_of(&self, function: Function) -> impl Iterator<Item = &CallNote> {
        self.calls
            .iter()
            .filter(move |call| function.is(call.handler))
    }
}

impl State {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            tracker: OnceLock::new(),
            noted: Mutex::new(Noted::new(limit)),
            changed: Notify::new(),
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        lock(&self.noted)
    }

    pub(super) fn set_limit(&self, limit: Duration) {
        self.noted().limit = limit;
    }

    /// The calls that have not been struck out of the books.
    fn live_tasks(&self) -> Vec<TaskInfo> {
        let tracker = self.tracker.get().and_then(Weak::upgrade);
        let tasks = tracker.map(|tracker| tracker.live_tasks());
        tasks.unwrap_or_default()
    }

    fn live(&self) -> BTreeSet<TaskId> {
        self.live_tasks().iter().map(|task| task.id).collect()
    }

    pub(super) fn belongs_to(&self, tracker: &Arc<Tracker>) {
        // Set once, before the first call.
        let _ = self.tracker.set(Arc::downgrade(tracker));
    }

    pub(super) fn note_panic(&self, task: &PanickedTask<'_>) {
        self.noted().failures.push(Failure::panic(task));
    }

    pub(super) fn note_end(&self, task: &FinishedTask) {
        self.change(task.id, |call| call.fate = Fate::Ended(task.outcome));
    }

    fn change(&self, id: TaskId, change: impl FnOnce(&mut CallNote)) {
        let mut noted = self.noted();
        if let Some(&at) = noted.at.get(&id) {
            change(&mut noted.calls[at]);
        }
        drop(noted);
        self.changed.notify_waiters();
    }

    pub(super) fn calls(&self, function: Function) -> usize {
        let noted = self.noted();
        let calls = noted.calls_of(function).filter(|call| call.is_call());
        calls.count()
    }

    pub(super) fn runs(&self, function: Function) -> usize {
        let noted = self.noted();
        let runs = noted.calls_of(function).filter(|call| call.has_begun);
        runs.count()
    }

    pub(super) fn expect(&self, kind: Kind, of: Function) {
        self.noted().expected.push(Expected { kind, of });
    }

    /// Keeps a value of the test's until the drain is over.
    pub(super) fn keep(&self, value: Kept) {
        self.noted().kept.push(value);
    }

    /// Drops the values that the test has kept, the latest first. Returns their panics.
    pub(super) fn drop_kept(&self) -> Vec<Caught> {
        let mut panics = Vec::new();
        // One by one, and not under the lock: the drop is the user's, and may keep another one.
        while let Some(value) = { self.noted().kept.pop() } {
            if let Err(caught) = catch(|| drop(value)) {
                panics.push(*caught);
            }
        }
        panics
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

    pub(super) fn inline(&self) {
        self.noted().inlines += 1;
    }

    pub(super) fn end_inline(&self) {
        self.noted().inlines -= 1;
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
            self.run(held.launch, held.name, held.called_at);
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
            catch_and_ignore(|| drop(launch));
        }
    }

    /// Ends every pause. Calls of those that are released are not held back any more.
    pub(super) fn resume_all(&self) {
        self.noted().pauses = 0;
        while let Some(held) = { self.noted().held.pop_front() } {
            self.run(held.launch, held.name, held.called_at);
        }
    }

    /// Runs a call as they are run at present.
    fn run(&self, launch: Launch, name: &'static str, called_at: &'static Location<'static>) {
        let (is_inline, limit) = {
            let noted = self.noted();
            (noted.inlines > 0, noted.limit)
        };
        if !is_inline {
            launch.run();
            return;
        }
        let says = move || {
            format!(
                "`{name}`, called at {called_at}, runs inline and has not ended within {limit:?}. It may wait for what comes \
                 after the call only; under the guard of `testing::inline()`, nothing does until it has ended"
            )
        };
        if inline::run(launch, limit, says).is_err() {
            if thread::panicking() {
                to_stderr(format_args!("{}", says()));
            } else {
                panic!("{}", says());
            }
        }
    }

    /// Awaits `work`, as long as the test may wait at the most.
    ///
    /// # Errors
    /// If it takes longer: `what` was asked for at `place`, and `missing` says what has not come. The panic is left to whoever
    /// knows the test's own line.
    async fn wait<F: Future>(
        self: &Arc<Self>,
        what: String,
        place: &'static Location<'static>,
        missing: impl Fn(&Self) -> String + Send + Clone + 'static,
        work: F,
    ) -> Result<F::Output, String> {
        let limit = self.noted().limit;
        let says = {
            let (state, missing) = (self.clone(), missing.clone());
            move || {
                format!(
                    "{what} at {place} has waited {limit:?}: {}\n  to give it longer: `#[bgtask::test(wait = \"1m\")]` or \
                     `Kit::wait_within`",
                    missing(&state)
                )
            }
        };
        let unheard = {
            let says = says.clone();
            move || {
                format!(
                    "{}\n  the test does not hear of it: something blocks its thread",
                    says()
                )
            }
        };
        within(limit, unheard, work).await.ok_or_else(says)
    }

    pub(super) async fn started(
        self: Arc<Self>,
        function: Function,
        place: &'static Location<'static>,
    ) -> Result<(), String> {
        let missing = move |state: &Self| {
            let calls = state.list(function);
            match calls.is_empty() {
                true => "it was not called".to_owned(),
                false => format!("no call of it has begun{calls}"),
            }
        };
        let what = format!("`started(\"{}\")`", last_segment(function.name));
        self.wait(what, place, missing, self.until_begun(function))
            .await
    }

    async fn until_begun(&self, function: Function) {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before the look: a change that comes after it is not missed.
            changed.as_mut().enable();
            if self.runs(function) > 0 {
                return;
            }
            changed.await;
        }
    }

    pub(super) async fn idle(
        self: Arc<Self>,
        own: Option<TaskId>,
        place: &'static Location<'static>,
    ) -> Result<(), String> {
        let missing = move |state: &Self| {
            let live = state.live_tasks();
            let mut missing = "this has not ended".to_owned();
            for task in live.iter().filter(|task| Some(task.id) != own) {
                missing += &format!(
                    "\n  `{}`, {}, called at {} (id {}) {:.1?} ago",
                    task.name, task.state, task.called_at, task.id, task.age
                );
            }
            missing
        };
        self.wait("`idle()`".to_owned(), place, missing, self.until_idle(own))
            .await?
    }

    async fn until_idle(&self, own: Option<TaskId>) -> Result<(), String> {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before the look: a change that comes after it is not missed.
            changed.as_mut().enable();
            let mut live = self.live();
            if let Some(own) = own {
                live.remove(&own);
            }
            if live.is_empty() {
                return Ok(());
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
                for call in &noted.calls {
                    if let Fate::Ended(_) = call.fate {
                        live.remove(&call.id);
                    }
                }
            }
            if !live.is_empty() {
                changed.await;
            } else if held.is_empty() {
                // The hook is told of an end before it is written down; that follows in a moment.
                yield_now().await;
            } else {
                return Err(format!(
                    "`idle()` would wait for ever: `pause_dispatch()` holds back {}",
                    held.join(", ")
                ));
            }
        }
    }

    /// The calls of a function, a line each.
    fn list(&self, function: Function) -> String {
        let noted = self.noted();
        let mut list = String::new();
        for call in noted.calls_of(function) {
            list += &format!("\n  {call}");
        }
        list
    }

    #[track_caller]
    pub(super) fn assert_called(&self, function: Function, times: usize) {
        let calls = self.calls(function);
        if calls == times {
            return;
        }
        let expected = match times {
            0 => "no call was".to_owned(),
            1 => "1 call was".to_owned(),
            _ => format!("{times} calls were"),
        };
        panic!(
            "`{}` was called {}, and {expected} expected{}",
            function.name,
            Times(calls),
            self.list(function)
        );
    }

    /// Notes the failures whose handles are still held once the background work has been drained: nobody can look at them any
    /// more. A handle that somebody awaits was woken by the end of its call, maybe on another thread, so those are waited for, as
    /// long as the test may wait at the most.
    pub(super) async fn note_unclaimed(&self) {
        let limit = self.noted().limit;
        let begin = Instant::now();
        loop {
            let (failures, are_awaited) = self.unclaimed();
            if !are_awaited || begin.elapsed() >= limit {
                self.noted().failures.extend(failures);
                return;
            }
            yield_now().await;
            // Not a timer: paused time would move on, and work that lives on would go on with it.
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Returns the failures of ended calls whose handles are still held, and whether somebody awaits one of these.
    fn unclaimed(&self) -> (Vec<Failure>, bool) {
        let (mut failures, mut are_awaited) = (Vec::new(), false);
        if let Some(tracker) = self.tracker.get().and_then(Weak::upgrade) {
            tracker.for_each_unclaimed(&mut |call, notes, is_awaited| {
                let extras = notes.existing_extras();
                let failure = match extras.and_then(|extras| extras.end.as_ref()) {
                    Some(End::Failed(error)) => Failure::unseen(call, Outcome::Failed, error, true),
                    Some(End::Error(TaskError::TimedOut)) => {
                        Failure::unseen(call, Outcome::TimedOut, "", true)
                    }
                    _ => return,
                };
                failures.push(failure);
                are_awaited |= is_awaited;
            });
        }
        (failures, are_awaited)
    }

    /// What fails the test, once the background work has been drained; without a report, what has failed so far.
    pub(super) fn verdict(&self, report: Option<&ShutdownReport>) -> Option<Verdict> {
        let noted = self.noted();
        let mut lines = Vec::new();
        let mut expected = noted.expected.clone();
        // One call may panic twice: in its body, and when what that leaves is dropped.
        let mut declared = BTreeSet::new();
        for failure in &noted.failures {
            if declared.contains(&failure.id) {
                continue;
            }
            let handler = noted.at.get(&failure.id).map(|&at| noted.calls[at].handler);
            if handler.is_some_and(|handler| take(&mut expected, failure.kind, handler)) {
                declared.insert(failure.id);
            } else {
                lines.push(failure.to_string());
            }
        }
        lines.extend(noted.calls.iter().filter_map(|call| {
            let reason = call.unseen_lack()?;
            Some(format!(
                "`{}` was refused, and nobody looked at that: {reason}\n      called at {} (id {}); if it is meant: await its handle",
                call.handler.name(),
                call.called_at,
                call.id,
            ))
        }));
        #[cfg(feature = "durable")]
        lines.extend(noted.not_stored.iter().cloned());
        let Some(report) = report else {
            return (!lines.is_empty()).then_some(Verdict(lines));
        };
        if !noted.late_is_reported {
            lines.extend(report.stragglers.iter().map(|late| {
                let token = match late.takes_token {
                    true => "takes a `ShutdownToken`, which has fired",
                    false => "has no `ShutdownToken` parameter; the token of `bgtask::shutdown_token()` has fired",
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
        for call in &noted.calls {
            let is_unseen = |failure: &Failure| failure.id == call.id;
            if let Fate::Ended(outcome) = call.fate
                && let Some(kind) = Kind::of(outcome)
                // One that somebody looked at is what was declared, too.
                && !noted.failures.iter().any(is_unseen)
            {
                take(&mut expected, kind, call.handler);
            }
        }
        lines.extend(expected.iter().map(|undone| {
            let what = match undone.kind {
                Kind::Panic => "panic",
                Kind::Error => "return an `Err`",
                Kind::Timeout => "run out of time",
            };
            format!(
                "`{}` was expected to {what}, and did not: remove the declaration, or see why",
                undone.of.name
            )
        }));
        (!lines.is_empty()).then_some(Verdict(lines))
    }
}

impl Dispatcher for State {
    fn dispatch(&self, call: CallInfo, launch: Launch) {
        let (id, name, called_at) = (call.id, call.handler.name(), call.called_at);
        let mut noted = self.noted();
        noted.note(call, Fate::Live);
        let launch = if noted.pauses > 0 {
            noted.held.push_back(Held {
                id,
                name,
                called_at,
                launch,
            });
            None
        } else {
            Some(launch)
        };
        drop(noted);
        if let Some(launch) = launch {
            self.run(launch, name, called_at);
        }
        self.changed.notify_waiters();
    }

    fn makes_no_run(&self, call: CallInfo, why: NotStarted) {
        self.noted().note(call, Fate::NotStarted(why));
    }

    fn begun(&self, id: TaskId) {
        self.change(id, |call| call.has_begun = true);
    }

    fn unseen(&self, call: CallInfo, outcome: Outcome, message: &str) {
        let failure = Failure::unseen(call, outcome, message, false);
        self.noted().failures.push(failure);
    }

    fn refusal_seen(&self, id: TaskId) {
        self.change(id, |call| call.refusal_is_seen = true);
    }

    fn is_inline(&self) -> bool {
        self.noted().inlines > 0
    }

    #[cfg(feature = "durable")]
    fn not_stored(&self, handler: &'static Handler, called_at: &'static Location<'static>) {
        let line = format!(
            "`{}` was called and not awaited, so nothing was stored: add `.await`\n      called at {called_at}",
            handler.name()
        );
        self.noted().not_stored.push(line);
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

/// Takes one such declaration out of the list; whether there was one.
fn take(expected: &mut Vec<Expected>, kind: Kind, of: &'static Handler) -> bool {
    let found = expected
        .iter()
        .position(|own| own.kind == kind && own.of.is(of));
    found.map(|at| expected.remove(at)).is_some()
}

/// Held for a few reads or writes of what is noted; no code of the user's runs meanwhile.
fn lock(noted: &Mutex<Noted>) -> MutexGuard<'_, Noted> {
    noted.lock().unwrap_or_else(PoisonError::into_inner)
}

fn last_segment(name: &str) -> &str {
    name.rsplit("::").next().unwrap_or(name)
}
