//! The lines about calls that a policy turns away: refused at the call, or dropped after they were accepted.
//! Owns their words and the thread that writes what was held back of a burst; knows nothing of why a call is turned away.

use crate::notice::{Teller, report, tell_aside};
use crate::policy::{Due, HandlerState, Kind, Line, TurnedAway};
use crate::shared::Shared;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Instant;
use tracing::Dispatch;
use tracing::dispatcher::{get_default, with_default};
use tracing::subscriber::NoSubscriber;

/// Logs that a call was not accepted. It has been counted.
#[cold]
pub(crate) fn refused(state: &Arc<HandlerState>, call: TurnedAway) {
    log(state, Kind::Refused, call);
}

/// Logs that an accepted call is dropped before it has begun. It has been counted.
#[cold]
pub(crate) fn dropped(state: &Arc<HandlerState>, call: TurnedAway) {
    log(state, Kind::Dropped, call);
}

fn log(state: &Arc<HandlerState>, kind: Kind, call: TurnedAway) {
    let line = Line {
        call,
        subscriber: get_default(Dispatch::clone),
    };
    match state.lines.of(kind).take(line, Instant::now()) {
        Due::Now(line) => write(state, kind, &line.call),
        Due::Later => see_to(state),
        Due::SeenTo => {}
    }
}

/// The count is that of the moment: the line stands for all that were held back.
fn write(state: &HandlerState, kind: Kind, call: &TurnedAway) {
    let TurnedAway {
        name,
        id,
        called_at,
        reason,
    } = call;
    match kind {
        Kind::Refused => {
            report!(warn, "call refused"; name = name, id: id.as_u64(), called_at = called_at,
                reason = reason, refused: state.counts.refused_so_far());
        }
        Kind::Dropped => {
            report!(warn, "call dropped"; name = name, id: id.as_u64(), called_at = called_at,
                reason = reason, dropped: state.counts.dropped_so_far());
        }
    }
}

/// Writes a line that was held back.
fn write_late(state: &HandlerState, kind: Kind, line: &Line) {
    if line.subscriber.is::<NoSubscriber>() {
        return write(state, kind, &line.call);
    }
    with_default(&line.subscriber, || write(state, kind, &line.call));
}

/// The functions of which a line is held back, of all managers; and whether the thread is there that comes for them.
struct Late {
    states: Vec<Arc<HandlerState>>,
    has_thread: bool,
}

static LATE: Mutex<Late> = Mutex::new(Late {
    states: Vec::new(),
    has_thread: false,
});

/// Held to add a function or to take all of them. Nothing is dropped or written under it.
fn late() -> MutexGuard<'static, Late> {
    LATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the line written in a second. By a thread, and not by the next call: there may be none.
fn see_to(state: &Arc<HandlerState>) {
    let needs_thread = {
        let mut late = late();
        late.states.push(state.clone());
        !std::mem::replace(&mut late.has_thread, true)
    };
    if needs_thread && let Err(_not_started) = tell_aside(write_in_time) {
        // Without a thread to spare it is written early, and not never.
        let states = {
            let mut late = late();
            late.has_thread = false;
            std::mem::take(&mut late.states)
        };
        states.iter().for_each(|state| write_all_of(state));
    }
}

/// Writes lines when they are due, as long as any are held back.
fn write_in_time() {
    loop {
        let states = {
            let mut late = late();
            if late.states.is_empty() {
                late.has_thread = false;
                return;
            }
            std::mem::take(&mut late.states)
        };
        let due = |state: &Arc<HandlerState>| {
            let due = Kind::ALL.map(|kind| state.lines.of(kind).due());
            due.into_iter().flatten().min()
        };
        let first = states.iter().filter_map(due).min();
        if let Some(first) = first {
            sleep(first.saturating_duration_since(Instant::now()));
        }
        let now = Instant::now();
        for state in states {
            for kind in Kind::ALL {
                if let Some(line) = state.lines.of(kind).take_due(now) {
                    write_late(&state, kind, &line);
                }
            }
            if due(&state).is_some() {
                late().states.push(state);
            }
        }
    }
}

fn write_all_of(state: &HandlerState) {
    for kind in Kind::ALL {
        if let Some(line) = state.lines.of(kind).take_held_back() {
            write_late(state, kind, &line);
        }
    }
}

/// Writes what is held back of one manager's functions, due or not: the program may end before the second is over.
pub(crate) fn write_held_back(shared: &Shared, teller: &mut Teller) {
    let mut states = shared.policies.all();
    states.retain(|state| {
        Kind::ALL
            .iter()
            .any(|kind| state.lines.of(*kind).due().is_some())
    });
    if !states.is_empty() {
        teller.tell(move || states.iter().for_each(|state| write_all_of(state)));
    }
}
