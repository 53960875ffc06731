//! The order of reads and of those who begin to watch, step by step: a test on a database cannot decide it.

use super::{Read, States, Tail};
use crate::engine::Shown;
use bgtask::durable::{JobEvent, JobId, JobState, JobStatus};
use futures_util::{FutureExt as _, StreamExt as _};
use std::sync::Arc;
use tokio::time::Instant;

const ID: i64 = 1;

fn shown(version: u64, state: JobState) -> Shown {
    let mut status = JobStatus::new(JobId::new(ID), "receipt".into(), "default".into(), state);
    status.version = version;
    Shown {
        event: JobEvent::new(&status),
        ended: None,
    }
}

/// The versions that a stream has by now.
fn versions(states: &mut States) -> Vec<u64> {
    let next = || states.next().now_or_never().flatten();
    std::iter::from_fn(next)
        .map(|state| state.expect("a state").event.version)
        .collect()
}

fn begin(tail: &Tail) -> Read {
    let read = tail.take_unread(Instant::now());
    assert_eq!(read.jobs, [(ID, false)]);
    read
}

fn end(tail: &Tail, read: &Read, version: u64, state: JobState) {
    tail.show(read.number, vec![(ID, Ok(shown(version, state)))]);
}

#[test]
fn a_read_that_began_before_a_stream_is_not_shown_to_it() {
    let tail = Arc::new(Tail::default());
    let mut first = Tail::subscribe(&tail, ID, false).states();
    let read = begin(&tail);
    end(&tail, &read, 3, JobState::Dead);
    tail.note(&[ID]);
    let late = begin(&tail);
    assert_eq!(versions(&mut first), [3]);
    // Meanwhile the job is tried again.
    let mut second = Tail::subscribe(&tail, ID, false).states();
    end(&tail, &late, 3, JobState::Dead);
    assert_eq!(versions(&mut second), Vec::<u64>::new());
    let read = begin(&tail);
    end(&tail, &read, 5, JobState::Done);
    assert_eq!(versions(&mut second), [5]);
}

#[test]
fn a_stream_that_begins_after_an_end_reads_the_row_whoever_is_late_to_see_the_end() {
    let tail = Arc::new(Tail::default());
    let mut slow = Tail::subscribe(&tail, ID, false).states();
    let read = begin(&tail);
    end(&tail, &read, 3, JobState::Dead);
    let mut second = Tail::subscribe(&tail, ID, false).states();
    let read = begin(&tail);
    end(&tail, &read, 5, JobState::Done);
    assert_eq!(versions(&mut slow), [3]);
    assert_eq!(versions(&mut second), [5]);
}
