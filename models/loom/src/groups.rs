//! The groups: a member leaves when it is retired, and a caller that waits for the last one is woken.
//! Each operation of `tokio` counts as one step.

use super::model::{ASYNC, Fate, Model, NEVER, holds, noted, tracker};
use super::{join, spawn};
use crate::group::Group;
use crate::observe::call_info::CallInfo;
use crate::stats::Outcome;
use crate::tracker::ShardWriter;
use crate::tracker::group_state::GroupState;
use crate::tracker::task_ref::TaskRef;
use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

pub(super) const MODELS: &[Model] = &[
    Model {
        name: "member_beside_idle",
        invariant: "a task that awaits a group is woken when the last member is gone, and then finds all members retired",
        run: member_beside_idle,
        mistakes: &["group_watched_late", "membership_before_count"],
        preemptions: Some(3),
    },
    Model {
        name: "abort_beside_member",
        invariant: "a member begins before the abort of its group, which then finds it, or it never begins",
        run: abort_beside_member,
        mistakes: &["abort_loaded_relaxed"],
        preemptions: Some(3),
    },
];

/// Reserves a slot for a call that is a member of the group.
fn reserved(writer: &mut ShardWriter, group_state: &Arc<GroupState>) -> (CallInfo, TaskRef) {
    let (id, task_ref) = writer.accept(&ASYNC);
    let task_ref = task_ref.expect("the gate is open");
    let membership = group_state.admit(|_| false).expect("the group is open");
    task_ref.join_group(membership);
    (CallInfo::new(id, &ASYNC, Location::caller()), task_ref)
}

/// Notes that it was woken. The standard library's atomic, so that a note is no step of the model.
#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn member_beside_idle() {
    let tracker = tracker();
    let group_state = Arc::new(GroupState::new(tracker.shared.clone()));
    let mut writer = tracker.writer();
    let task_refs = [(); 2].map(|()| {
        let (identity, task_ref) = reserved(&mut writer, &group_state);
        task_ref.fill(identity, noted(&Arc::default(), 0));
        task_ref
    });
    let [one, other] = task_refs;
    let ends = [
        spawn(move || one.end(Outcome::Succeeded)),
        spawn(move || other.end(Outcome::Succeeded)),
    ];
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    let mut cx = Context::from_waker(&waker);
    let group = Group::of(group_state);
    let mut idle = pin!(group.idle());
    let polled = idle.as_mut().poll(&mut cx);
    if polled.is_ready() {
        let running = tracker.totals().running;
        holds!(running == 0, "the group is empty while {running} calls run");
    }
    for end in ends {
        join(end);
    }
    if polled.is_pending() {
        let is_woken = bell.0.load(Ordering::Relaxed);
        holds!(is_woken, "the caller that waits was not woken");
        let polled = idle.as_mut().poll(&mut cx);
        holds!(polled == Poll::Ready(()), "the group is not empty");
    }
}

fn abort_beside_member() {
    let tracker = tracker();
    let group_state = Arc::new(GroupState::new(tracker.shared.clone()));
    let mut writer = tracker.writer();
    let (identity, task_ref) = reserved(&mut writer, &group_state);
    let fate = Arc::new(Fate::default());
    let (own, task) = (task_ref.clone(), noted(&fate, NEVER));
    let begins = spawn(move || {
        own.fill(identity, task);
        own.start_alone(Waker::noop()).is_some()
    });
    group_state.abort();
    let members = tracker.members(&group_state);
    let queued = members.iter().filter_map(TaskRef::abort).count();
    let begins = join(begins);
    holds!(
        queued == 1 || begins && task_ref.is_aborted(),
        "the abort missed the member, which runs on"
    );
}
