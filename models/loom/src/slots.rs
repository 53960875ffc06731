//! One call's slot: handle, end, abort, deadline and the slot's next call, concurrently.

use super::model::{ASYNC, BLOCKING, Fate, Model, NEVER, call, holds, noted, tracker};
use super::{join, spawn};
use crate::TaskHandle;
use crate::call::handle::RawHandle;
use crate::call::runner::SlotRunner;
use crate::call::supervise::Supervised;
use crate::handler::Handler;
use crate::observe::call_info::CallInfo;
use crate::stats::TaskId;
use crate::tracker::ShardWriter;
use crate::tracker::task_ref::TaskRef;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
// The standard library's, so that a note is no step of the model.
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

pub(super) const MODELS: &[Model] = &[
    Model {
        name: "end_beside_dropped_handle",
        invariant: "exactly one of the call's end and the drop of its handle handles the output, and the slot is freed once",
        run: end_beside_dropped_handle,
        mistakes: &["done_though_detached"],
        preemptions: None,
    },
    Model {
        name: "end_beside_join",
        invariant: "a caller that awaits the output is woken, receives it once, and then finds the call counted",
        run: end_beside_join,
        mistakes: &["end_not_checked_again", "output_before_count"],
        preemptions: None,
    },
    Model {
        name: "end_beside_deadline",
        invariant: "an abandoned call that ends later is counted once, and named if it was late",
        run: end_beside_deadline,
        mistakes: &["counted_again"],
        preemptions: Some(3),
    },
    Model {
        name: "wait_beside_deadline",
        invariant: "waiting calls are a subset of running calls, and a call that waits at the deadline either begins or is aborted",
        run: wait_beside_deadline,
        mistakes: &[
            "waits_after_end",
            "begins_though_abandoned",
            "counted_while_waiting",
        ],
        preemptions: Some(3),
    },
    Model {
        name: "end_beside_abort",
        invariant: "an abort ends the call exactly once, at whatever point it reaches the call",
        run: end_beside_abort,
        mistakes: &["abort_without_waking"],
        preemptions: None,
    },
    Model {
        name: "released_beside_next",
        invariant: "a slot's next call stays recorded, however late the last handle of the previous call is dropped",
        run: released_beside_next,
        mistakes: &["slot_freed_before_state"],
        preemptions: None,
    },
    Model {
        name: "stale_ref_beside_next",
        invariant: "a reference to an earlier call never affects a later call in the same slot",
        run: stale_ref_beside_next,
        mistakes: &["any_generation"],
        preemptions: Some(3),
    },
];

/// Launches a call that has not begun.
pub(super) fn filled(writer: &mut ShardWriter, handler: &'static Handler) -> TaskRef {
    let (_, task_ref, _) =
        call(writer, handler, noted(&Arc::default(), 0)).expect("the gate is open");
    task_ref
}

/// Launches a call. Returns what becomes of its body, and its handle.
fn watched(
    writer: &mut ShardWriter,
    handler: &'static Handler,
    polls: u32,
) -> (TaskRef, Arc<Fate>, TaskHandle<()>) {
    let fate = Arc::new(Fate::default());
    let (id, task_ref, _) = call(writer, handler, noted(&fate, polls)).expect("the gate is open");
    let handle = TaskHandle::new(RawHandle::accepted(id, handler, task_ref.clone()));
    (task_ref, fate, handle)
}

/// Returns the slot of the writer's next call, and its generation.
fn next_slot(writer: &mut ShardWriter) -> String {
    format!("{:?}", filled(writer, &ASYNC))
}

fn end_beside_dropped_handle() {
    let tracker = tracker();
    let mut writer = tracker.writer();
    let (task_ref, fate, handle) = watched(&mut writer, &BLOCKING, 0);
    let end = spawn(move || Supervised::to_be_started(task_ref).run());
    drop(handle);
    join(end);
    let totals = tracker.totals();
    holds!(totals.succeeded == 1 && totals.running == 0, "{totals:?}");
    holds!(fate.dropped() == 1 && fate.taken() == 0, "{fate:?}");
    // A slot that was not freed would be missing here, and one that was freed twice would serve both calls.
    let next = [next_slot(&mut writer), next_slot(&mut writer)];
    holds!(next == ["TaskRef(0, 1)", "TaskRef(1, 0)"], "{next:?}");
}

fn end_beside_join() {
    let tracker = tracker();
    let mut writer = tracker.writer();
    let (task_ref, fate, mut handle) = watched(&mut writer, &BLOCKING, 0);
    let end = spawn(move || Supervised::to_be_started(task_ref).run());
    let (bell, waker) = Bell::waker();
    let mut cx = Context::from_waker(&waker);
    let mut polled = Pin::new(&mut handle).poll(&mut cx);
    let has_waited = polled.is_pending();
    if !has_waited {
        holds!(
            tracker.totals().ended() == 1,
            "the output was received before the call was counted"
        );
    }
    join(end);
    if has_waited {
        holds!(bell.has_rung(), "the caller that waits was not woken");
        polled = Pin::new(&mut handle).poll(&mut cx);
    }
    holds!(polled == Poll::Ready(Ok(())), "{polled:?}");
    holds!(fate.taken() == 1 && fate.dropped() == 0, "{fate:?}");
}

fn end_beside_deadline() {
    let tracker = tracker();
    let mut writer = tracker.writer();
    let (task_ref, fate, handle) = watched(&mut writer, &BLOCKING, 0);
    let end = spawn(move || Supervised::to_be_started(task_ref).run());
    let dropped = spawn(move || drop(handle));
    tracker.close_late();
    let mut ends = Vec::new();
    tracker.expire(Instant::now() + Duration::from_secs(3600), &mut ends);
    tracker.abandon(&mut ends);
    let late = tracker.shared.shutdown.take_late();
    join(end);
    join(dropped);
    let totals = tracker.totals();
    holds!(totals.ended() == 1 && totals.running == 0, "{totals:?}");
    holds!(fate.begun() <= 1 && fate.dropped() == 1, "{fate:?}");
    let is_named = totals.succeeded == 1 || late.count == 1;
    holds!(is_named && late.count <= 1, "{totals:?}, {late:?}");
}

fn wait_beside_deadline() {
    let tracker = tracker();
    let mut writer = tracker.writer();
    let (_, task_ref) = writer.accept(&ASYNC);
    let task_ref = task_ref.expect("the gate is open");
    task_ref.set_waits();
    let identity = CallInfo::new(TaskId(1), &ASYNC, Location::caller());
    task_ref.fill(identity, noted(&Arc::default(), NEVER));
    drop(task_ref.start().expect("it has not been started"));
    let let_through = {
        let task_ref = task_ref.clone();
        spawn(move || task_ref.stop_waiting())
    };
    let deadline = {
        let tracker = tracker.clone();
        spawn(move || tracker.abandon(&mut Vec::new()))
    };
    let totals = tracker.totals();
    holds!(totals.waiting <= totals.running, "{totals:?}");
    let begins = join(let_through);
    join(deadline);
    let totals = tracker.totals();
    holds!(totals.waiting == 0 && totals.running == 0, "{totals:?}");
    holds!(
        (totals.abandoned == 1) == begins && totals.ended() == 1,
        "begins: {begins}, {totals:?}"
    );
}

fn end_beside_abort() {
    let tracker = tracker();
    let mut writer = tracker.writer();
    let (task_ref, fate, handle) = watched(&mut writer, &ASYNC, NEVER);
    let left = task_ref.clone();
    let abort = spawn(move || {
        handle.abort();
        handle
    });
    let (bell, waker) = Bell::waker();
    let mut runner = Box::pin(SlotRunner::new(task_ref));
    // As the runtime does: once, and then whenever the runner is woken.
    let _ = runner.as_mut().poll(&mut Context::from_waker(&waker));
    let handle = join(abort);
    while bell.rings() {
        let _ = runner.as_mut().poll(&mut Context::from_waker(&waker));
    }
    holds!(handle.is_finished(), "the call was aborted, and runs on");
    let totals = tracker.totals();
    holds!(totals.aborted == 1 && totals.running == 0, "{totals:?}");
    drop(handle);
    holds!(fate.dropped() == 1, "{fate:?}");
    holds!(!left.is_live() && !left.is_done(), "the slot is not free");
    let next = next_slot(&mut writer);
    holds!(next == "TaskRef(0, 1)", "{next}");
}

fn released_beside_next() {
    let tracker = tracker();
    let mut writer = tracker.writer();
    let (task_ref, _, handle) = watched(&mut writer, &BLOCKING, 0);
    Supervised::to_be_started(task_ref).run();
    let released = spawn(move || drop(handle));
    let next = filled(&mut writer, &ASYNC);
    join(released);
    holds!(next.is_live(), "the next call was lost");
    let task = next.start();
    holds!(task.is_some(), "the next call has nothing to run");
    let other = filled(&mut writer, &ASYNC);
    holds!(
        format!("{next:?}") != format!("{other:?}"),
        "two calls have one slot"
    );
}

fn stale_ref_beside_next() {
    let tracker = tracker();
    let mut writer = tracker.writer();
    let (task_ref, _, handle) = watched(&mut writer, &BLOCKING, 0);
    drop(handle);
    let stale = task_ref.clone();
    let end = spawn(move || Supervised::to_be_started(task_ref).run());
    let meddler = spawn(move || {
        if let Some(token) = stale.token() {
            token.cancel();
        }
        drop(stale.abort());
        stale.wait_for_drain();
    });
    let next = filled(&mut writer, &ASYNC);
    let token = next.token();
    join(end);
    let before = next.clone();
    join(meddler);
    holds!(next.is_live(), "the next call was retired");
    holds!(!before.is_aborted(), "the next call was aborted");
    holds!(
        token.is_some_and(|token| !token.is_cancelled()),
        "the next call was cancelled"
    );
    let task = next.start();
    holds!(task.is_some(), "the task of the next call was taken");
}

/// A waker that notes that it was woken, which is no step of the model.
#[derive(Debug, Default)]
struct Bell(AtomicU32);

impl Bell {
    fn waker() -> (Arc<Self>, Waker) {
        let bell = Arc::new(Self::default());
        (bell.clone(), Waker::from(bell))
    }

    fn has_rung(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Returns whether it has rung since the last check.
    fn rings(&self) -> bool {
        self.0.swap(0, Ordering::Relaxed) > 0
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
