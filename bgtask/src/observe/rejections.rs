//! The log lines about calls that a policy turns away: refused at the call, or dropped after they were accepted.
//! Owns their wording, and the thread that writes the lines held back in a burst; knows nothing of why a call is turned away.

use crate::policy::{Due, HandlerState, Registry, RejectedCall, Rejection, RejectionEvent};
use crate::util::log::report;
use crate::util::panic::catch_and_ignore;
use crate::util::side_thread::{SideThread, run_aside};
use crate::util::sync::unmodelled::{Mutex, MutexGuard};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Instant;
use tracing::Dispatch;
use tracing::dispatcher::{get_default, with_default};
use tracing::subscriber::NoSubscriber;

/// Logs that a call was not accepted. The call is already counted.
#[cold]
pub(crate) fn refused(state: &Arc<HandlerState>, call: RejectedCall) {
    log(state, Rejection::Refused, call);
}

/// Logs that an accepted call is dropped before it has begun. The call is already counted.
#[cold]
pub(crate) fn dropped(state: &Arc<HandlerState>, call: RejectedCall) {
    log(state, Rejection::Dropped, call);
}

fn log(state: &Arc<HandlerState>, kind: Rejection, call: RejectedCall) {
    let line = RejectionEvent {
        call,
        subscriber: get_default(Dispatch::clone),
    };
    match state.rejections.throttle(kind).take(line, Instant::now()) {
        Due::Now(line) => write(state, kind, &line.call),
        Due::Later => arrange_writing(state),
        Due::Scheduled => {}
    }
}

/// Writes a line with the current count, because the line stands for all lines that were held back.
fn write(state: &HandlerState, kind: Rejection, call: &RejectedCall) {
    let RejectedCall {
        name,
        id,
        called_at,
        reason,
    } = call;
    match kind {
        Rejection::Refused => {
            report!(warn, "call refused"; name = name, id: id.as_u64(), called_at = called_at,
                reason = reason, refused: state.counts.refused.get());
        }
        Rejection::Dropped => {
            report!(warn, "call dropped"; name = name, id: id.as_u64(), called_at = called_at,
                reason = reason, dropped: state.counts.dropped.get());
        }
    }
}

/// Writes a held-back line to the subscriber of the thread that turned the call away, and drops the line. The line may be the last
/// owner of that subscriber, whose drop may panic; the thread must still write the lines of others.
fn write_to_its_subscriber(state: &HandlerState, kind: Rejection, line: RejectionEvent) {
    catch_and_ignore(|| {
        if line.subscriber.is::<NoSubscriber>() {
            return write(state, kind, &line.call);
        }
        with_default(&line.subscriber, || write(state, kind, &line.call));
    });
    catch_and_ignore(|| drop(line));
}

/// The functions, of all managers, that have a held-back line, and whether the thread that writes these lines is running.
struct HeldBack {
    states: Vec<Arc<HandlerState>>,
    has_thread: bool,
}

static HELD_BACK: Mutex<HeldBack> = Mutex::new(HeldBack {
    states: Vec::new(),
    has_thread: false,
});

/// Held to add a function or to take all of them. Nothing is dropped or written under it.
fn held_back() -> MutexGuard<'static, HeldBack> {
    HELD_BACK.lock()
}

/// Arranges for the line to be written in a second. A thread writes it, because a next call may never come.
fn arrange_writing(state: &Arc<HandlerState>) {
    let needs_thread = {
        let mut held_back = held_back();
        held_back.states.push(state.clone());
        !std::mem::replace(&mut held_back.has_thread, true)
    };
    if needs_thread && let Err(_not_started) = run_aside(write_when_due) {
        // Without a thread, write the line early rather than never.
        let states = {
            let mut held_back = held_back();
            held_back.has_thread = false;
            std::mem::take(&mut held_back.states)
        };
        states.iter().for_each(|state| write_all_of(state));
    }
}

/// Writes held-back lines when they are due, until none is left.
fn write_when_due() {
    loop {
        let states = {
            let mut held_back = held_back();
            if held_back.states.is_empty() {
                held_back.has_thread = false;
                return;
            }
            std::mem::take(&mut held_back.states)
        };
        let due = |state: &Arc<HandlerState>| {
            let due = Rejection::ALL.map(|kind| state.rejections.throttle(kind).due());
            due.into_iter().flatten().min()
        };
        let first = states.iter().filter_map(due).min();
        if let Some(first) = first {
            sleep(first.saturating_duration_since(Instant::now()));
        }
        let now = Instant::now();
        for state in states {
            for kind in Rejection::ALL {
                if let Some(line) = state.rejections.throttle(kind).take_due(now) {
                    write_to_its_subscriber(&state, kind, line);
                }
            }
            if due(&state).is_some() {
                held_back().states.push(state);
            } else {
                // It may be the last owner of the user's keys.
                catch_and_ignore(|| drop(state));
            }
        }
    }
}

fn write_all_of(state: &HandlerState) {
    for kind in Rejection::ALL {
        if let Some(line) = state.rejections.throttle(kind).take_held_back() {
            write_to_its_subscriber(state, kind, line);
        }
    }
}

/// Writes the held-back lines of one manager's functions, due or not, because the program may end within the second.
pub(crate) fn write_held_back(policies: &Registry, side_thread: &mut SideThread) {
    let mut states = policies.handler_states();
    states.retain(|state| {
        Rejection::ALL
            .iter()
            .any(|kind| state.rejections.throttle(*kind).due().is_some())
    });
    if !states.is_empty() {
        side_thread.run(move || states.iter().for_each(|state| write_all_of(state)));
    }
}
