//! One call's slot: handle, end, abort, deadline and the slot's next call, beside one another.

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
use crate::tracker::slab::TaskRef;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
// The standard library's: what is noted here is no step of the model.
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
        mistakes: &["end_not_looked_for_again", "output_before_count"],
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
            "begins_though_struck_out",
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
        mistakes: &["slot_back_before_vacated"],
        preemptions: None,
    },
    Model {
        name: "stale_place_beside_next",
        invariant: "a reference to an earlier call never affects a later call in the same slot",
        run: stale_place_beside_next,
        mistakes: &["any_generation"],
        preemptions: Some(3),
    },
];

/// A call in the books that has not begun.
pub(super) fn filled(writer: &mut ShardWriter, handler: &'static Handler) -> TaskRef {
    let (_, place, _) = call(writer, handler, noted(&Arc::default(), 0)).expect("the gate is open");
    place
}

/// A call with what becomes of it, and its handle.
fn watched(
    writer: &mut ShardWriter,
    handler: &'static Handler,
    polls: u32,
) -> (TaskRef, Arc<Fate>, TaskHandle<()>) {
    let fate = Arc::new(Fate::default());
    let (id, place, _) = call(writer, handler, noted(&fate, polls)).expect("the gate is open");
    let handle = TaskHandle::new(RawHandle::accepted(id, handler, place.clone()));
    (place, fate, handle)
}

/// Where the writer's next call is written down: the slot, and the how manieth call it has.
fn next_place(writer: &mut ShardWriter) -> String {
    format!("{:?}", filled(writer, &ASYNC))
}

fn end_beside_dropped_handle() {
    let tracker = tracker();
    let mut writer = tracker.writer();
    let (place, fate, handle) = watched(&mut writer, &BLOCKING, 0);
    let end = spawn(move || Supervised::to_be_started(place).run());
    drop(handle);
    join(end);
    let totals = tracker.totals();
    holds!(totals.succeeded == 1 && totals.running == 0, "{totals:?}");
    holds!(fate.dropped() == 1 && fate.taken() == 0, "{fate:?}");
    // A slot that has not come back, or has come back twice, would be missing here, or serve both.
    let next = [next_place(&mut writer), next_place(&mut writer)];
    holds!(next == ["TaskRef(0, 1)", "TaskRef(1, 0)"], "{next:?}");
}

fn end_beside_join() {
    let tracker = tracker();
    let mut writer = tracker.writer();
    let (place, fate, mut handle) = watched(&mut writer, &BLOCKING, 0);
    let end = spawn(move || Supervised::to_be_started(place).run());
    let (bell, waker) = Bell::waker();
    let mut cx = Context::from_waker(&waker);
    let mut polled = Pin::new(&mut handle).poll(&mut cx);
    let has_waited = polled.is_pending();
    if !has_waited {
        holds!(
            tracker.totals().ended() == 1,
            "the output was given before the call was counted"
        );
    }
    join(end);
    if has_waited {
        holds!(bell.has_rung(), "nobody woke who waited");
        polled = Pin::new(&mut handle).poll(&mut cx);
    }
    holds!(polled == Poll::Ready(Ok(())), "{polled:?}");
    holds!(fate.taken() == 1 && fate.dropped() == 0, "{fate:?}");
}

fn end_beside_deadline() {
    let tracker = tracker();
    let mut writer = tracker.writer();
    let (place, fate, handle) = watched(&mut writer, &BLOCKING, 0);
    let end = spawn(move || Supervised::to_be_started(place).run());
    let dropped = spawn(move || drop(handle));
    tracker.close_late();
    let mut ends = Vec::new();
    tracker.expire(Instant::now() + Duration::from_secs(3600), &mut ends);
    tracker.abandon(&mut ends);
    let late = tracker.shared.take_late();
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
    let (_, place) = writer.accept(&ASYNC);
    let place = place.expect("the gate is open");
    place.set_waits();
    let identity = CallInfo::new(TaskId(1), &ASYNC, Location::caller());
    place.fill(identity, noted(&Arc::default(), NEVER));
    drop(place.start().expect("it has not been started"));
    let let_through = {
        let place = place.clone();
        spawn(move || place.stop_waiting())
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
    let (place, fate, handle) = watched(&mut writer, &ASYNC, NEVER);
    let left = place.clone();
    let abort = spawn(move || {
        handle.abort();
        handle
    });
    let (bell, waker) = Bell::waker();
    let mut runner = Box::pin(SlotRunner::new(place));
    // As the runtime does: at first, and then whenever it is woken.
    let _ = runner.as_mut().poll(&mut Context::from_waker(&waker));
    let handle = join(abort);
    while bell.rings() {
        let _ = runner.as_mut().poll(&mut Context::from_waker(&waker));
    }
    holds!(handle.is_finished(), "it was aborted, and goes on");
    let totals = tracker.totals();
    holds!(totals.aborted == 1 && totals.running == 0, "{totals:?}");
    drop(handle);
    holds!(fate.dropped() == 1, "{fate:?}");
    holds!(!left.is_live() && !left.is_done(), "the slot is not free");
    let next = next_place(&mut writer);
    holds!(next == "TaskRef(0, 1)", "{next}");
}

fn released_beside_next() {
    let tracker = tracker();
    let mut writer = tracker.writer();
    let (place, _, handle) = watched(&mut writer, &BLOCKING, 0);
    Supervised::to_be_started(place).run();
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

fn stale_place_beside_next() {
    let tracker = tracker();
    let mut writer = tracker.writer();
    let (place, _, handle) = watched(&mut writer, &BLOCKING, 0);
    drop(handle);
    let stale = place.clone();
    let end = spawn(move || Supervised::to_be_started(place).run());
    let meddler = spawn(move || {
        if let Some(token) = stale.token() {
            token.cancel();
        }
        drop(stale.abort());
        stale.set_exempt();
    });
    let next = filled(&mut writer, &ASYNC);
    let token = next.token();
    join(end);
    let before = next.clone();
    join(meddler);
    holds!(next.is_live(), "the next call was struck out");
    holds!(!before.is_aborted(), "the next call was aborted");
    holds!(
        token.is_some_and(|token| !token.is_cancelled()),
        "the next call was cancelled"
    );
    let task = next.start();
    holds!(task.is_some(), "the next call was taken");
}

/// A waker that notes that it was woken, and does nothing that a checker sees.
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

    /// Whether it has rung since it was last asked.
    fn rings(&self) -> bool {
        self.0.swap(0, Ordering::Relaxed) > 0
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
