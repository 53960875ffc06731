//! `watch()`: each newer state of a job, for every reader, in every process, and always its end.

use crate::support::gate::{gate, take_steps};
use crate::support::store::{LIMIT, Process, until, with_store};
use crate::support::{Scratch, on_each_database, on_the_kit};
use bgtask::durable::{JobError, JobEvent, JobEvents, JobHandle, JobId, JobState};
use bgtask::{Job, background};
use bgtask_durable::{Role, sqlx};
use std::time::Duration;

/// Takes three steps, each when the test lets it, and stores its progress after each.
#[background(durable)]
async fn steps(job: Job, name: String) -> u32 {
    take_steps(&job, &name, |step| format!("step {step}")).await
}

#[background(durable, retry(max = 1))]
async fn fails(name: String) -> Result<(), String> {
    let mut open = gate(&name).subscribe();
    open.wait_for(|open| *open >= 1)
        .await
        .expect("the test is there");
    Err("the reason".to_owned())
}

async fn next(events: &mut JobEvents) -> Option<Result<JobEvent, JobError>> {
    let next = tokio::time::timeout(LIMIT, events.next()).await;
    next.expect("the next event comes")
}

/// Reads events until one is as expected, and checks that each is newer than the one before it.
async fn read_until(
    events: &mut JobEvents,
    last: &mut Option<u64>,
    is_it: impl Fn(&JobEvent) -> bool,
) -> JobEvent {
    loop {
        let event = next(events).await.expect("no end yet").expect("it is read");
        assert!(Some(event.version) > *last, "{event:?} after {last:?}");
        *last = Some(event.version);
        if is_it(&event) {
            return event;
        }
        assert!(!event.is_end(), "{event:?}");
    }
}

fn has_step(step: u32) -> impl Fn(&JobEvent) -> bool {
    move |event| {
        let progress = event.progress.as_ref();
        progress.is_some_and(|progress| progress.note == format!("step {step}"))
    }
}

/// Sentence 15.1.
fn every_reader_sees_states_progress_and_the_end(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let open = gate(scratch.url());
        let job = steps(scratch.url().to_owned()).await.expect("it is stored");
        let (mut first, mut last) = (job.watch(), None);
        let running = read_until(&mut first, &mut last, |event| {
            event.state == JobState::Running
        })
        .await;
        assert_eq!((running.job, running.attempt), (job.id(), 1));
        for step in 1..=3 {
            open.send_replace(step);
            read_until(&mut first, &mut last, has_step(step)).await;
        }
        // One that comes later begins with the present state.
        let (mut second, mut last_of_second) = (job.watch(), None);
        read_until(&mut second, &mut last_of_second, has_step(3)).await;
        open.send_replace(4);
        for (events, last) in [(&mut first, &mut last), (&mut second, &mut last_of_second)] {
            let end = read_until(events, last, JobEvent::is_end).await;
            assert_eq!(end.state, JobState::Done);
            assert_eq!(
                end.version,
                job.status().await.expect("it is there").version
            );
            assert_eq!(next(events).await, None);
        }
        assert_eq!(job.outcome().await, Ok(7));
    });
}

/// Sentence 15.2.
fn a_slow_reader_gets_the_latest_state_and_the_end(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let open = gate(scratch.url());
        let job = steps(scratch.url().to_owned()).await.expect("it is stored");
        let mut slow = job.watch();
        let first = next(&mut slow).await.expect("one").expect("it is read");
        // Meanwhile, another one has seen all of it.
        let (mut quick, mut last) = (job.watch(), None);
        for step in 1..=3 {
            open.send_replace(step);
            read_until(&mut quick, &mut last, has_step(step)).await;
        }
        let latest = next(&mut slow).await.expect("one").expect("it is read");
        assert!(has_step(3)(&latest), "{latest:?} after {first:?}");
        open.send_replace(4);
        read_until(&mut quick, &mut last, JobEvent::is_end).await;
        let end = next(&mut slow).await.expect("one").expect("it is read");
        assert!(end.is_end(), "{end:?}");
        assert_eq!(next(&mut slow).await, None);
    });
}

/// Sentence 15.3.
fn one_who_has_seen_a_version_is_sent_what_is_newer_and_always_the_end(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let open = gate(scratch.url());
        let job = steps(scratch.url().to_owned()).await.expect("it is stored");
        open.send_replace(1);
        let (mut events, mut last) = (job.watch(), None);
        read_until(&mut events, &mut last, has_step(1)).await;
        let version = last.expect("a version");
        let mut again = job.watch_after(version);
        let silent = tokio::time::timeout(Duration::from_millis(50), again.next()).await;
        assert!(silent.is_err(), "{silent:?}");
        let before = job.watch_after(version - 1).next().await;
        assert_eq!(before.expect("one").expect("it is read").version, version);
        open.send_replace(4);
        let end = read_until(&mut again, &mut last, JobEvent::is_end).await;
        // Also one who has seen it: a stream ends with the end.
        let mut late = job.watch_after(end.version);
        assert_eq!(next(&mut late).await, Some(Ok(end)));
        assert_eq!(next(&mut late).await, None);
    });
}

fn a_job_that_is_not_there_ends_the_stream(scratch: Scratch) {
    with_store(&scratch, |jobs| async move {
        let mut never: JobEvents = jobs.get::<()>(JobId::new(i64::MAX)).watch();
        assert_eq!(next(&mut never).await, Some(Err(JobError::NotFound)));
        assert_eq!(next(&mut never).await, None);
        let job = steps("deleted".to_owned())
            .after(Duration::from_secs(3600))
            .await
            .expect("it is stored");
        let mut events = job.watch();
        let first = next(&mut events).await.expect("one").expect("it is read");
        assert_eq!((first.state, first.attempt), (JobState::Scheduled, 0));
        assert_eq!(jobs.delete(job.id()).await, Ok(true));
        assert_eq!(next(&mut events).await, Some(Err(JobError::Gone)));
        assert_eq!(next(&mut events).await, None);
    });
}

fn a_dead_job_that_is_tried_again_is_watched_anew(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let open = gate(scratch.url());
        let job = fails(scratch.url().to_owned()).await.expect("it is stored");
        open.send_replace(1);
        let (mut events, mut last) = (job.watch(), None);
        let dead = read_until(&mut events, &mut last, JobEvent::is_end).await;
        assert_eq!(dead.state, JobState::Dead);
        open.send_replace(0);
        assert_eq!(job.retry_now().await, Ok(true));
        let mut again = job.watch_after(dead.version);
        read_until(&mut again, &mut last, |event| {
            event.state == JobState::Running
        })
        .await;
        open.send_replace(1);
        read_until(&mut again, &mut last, JobEvent::is_end).await;
        // The kit wants to know that somebody has seen it.
        assert!(job.outcome().await.is_err());
    });
}

fn a_process_that_does_not_work_sees_what_another_one_does(scratch: Scratch) {
    let worker = Process::start(bgtask_durable::builder().url(scratch.url()));
    let web = Process::start(
        bgtask_durable::builder()
            .url(scratch.url())
            .role(Role::Enqueue),
    );
    let open = gate(scratch.url());
    web.run(async {
        let job = steps(scratch.url().to_owned()).await.expect("it is stored");
        let (mut events, mut last) = (job.watch(), None);
        // The engine's claim notifies nobody; the worker does.
        read_until(&mut events, &mut last, |event| {
            event.state == JobState::Running
        })
        .await;
        for step in 1..=3 {
            open.send_replace(step);
            read_until(&mut events, &mut last, has_step(step)).await;
        }
        open.send_replace(4);
        read_until(&mut events, &mut last, JobEvent::is_end).await;
    });
    worker.end();
    web.end();
}

/// A tool sets the state, raises no version, and notifies nobody.
///
/// Sentence 15.4.
fn an_end_that_a_tool_has_written_is_seen(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let job = steps("tool".to_owned())
            .after(Duration::from_secs(3600))
            .await
            .expect("it is stored");
        let mut events = job.watch();
        let first = next(&mut events).await.expect("one").expect("it is read");
        cancel_as_a_tool(&scratch, job.id()).await;
        let end = next(&mut events).await.expect("one").expect("it is read");
        assert_eq!(end.state, JobState::Cancelled);
        assert!(end.version > first.version);
        assert_eq!(next(&mut events).await, None);
    });
}

async fn cancel_as_a_tool(scratch: &Scratch, id: JobId) {
    #[cfg(feature = "sqlite")]
    if scratch.is_sqlite() {
        let pool = sqlx::SqlitePool::connect(scratch.url())
            .await
            .expect("it opens");
        let cancel = "UPDATE river_job SET state = 'cancelled', finalized_at = datetime('now', 'subsec') WHERE id = ?";
        let cancelled = sqlx::query(cancel).bind(id.get()).execute(&pool).await;
        cancelled.expect("it is cancelled");
    }
    #[cfg(feature = "postgres")]
    if !scratch.is_sqlite() {
        let pool = sqlx::PgPool::connect(scratch.url())
            .await
            .expect("it opens");
        let cancel = "UPDATE river_job SET state = 'cancelled', finalized_at = now() WHERE id = $1";
        let cancelled = sqlx::query(cancel).bind(id.get()).execute(&pool).await;
        cancelled.expect("it is cancelled");
    }
}

fn the_end_of_the_store_ends_the_streams(scratch: Scratch) {
    let process = Process::start(bgtask_durable::builder().url(scratch.url()));
    process.run(async {
        let (manager, jobs) = (&process.manager, &process.jobs);
        let job = steps("closed".to_owned())
            .after(Duration::from_secs(3600))
            .await
            .expect("it is stored");
        let mut events = job.watch();
        next(&mut events).await.expect("one").expect("it is read");
        manager.shutdown("the test is over").await;
        for events in [&mut events, &mut jobs.get::<()>(job.id()).watch()] {
            let last = next(events).await;
            assert!(
                matches!(last, Some(Err(JobError::Store { .. }))),
                "{last:?}"
            );
            assert_eq!(next(events).await, None);
        }
    });
}

/// Many streams of many jobs: each job has its own states.
fn each_stream_is_that_of_its_job(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let mut streams = Vec::new();
        let mut handles: Vec<JobHandle<u32>> = Vec::new();
        for number in 0..40 {
            let name = format!("{}-{number}", scratch.url());
            handles.push(steps(name.clone()).await.expect("it is stored"));
            streams.push((name, handles[number].watch(), None, number));
        }
        for (name, events, last, number) in &mut streams {
            gate(name).send_replace(4);
            let end = read_until(events, last, JobEvent::is_end).await;
            assert_eq!(end.job, handles[*number].id());
        }
        // Nobody watches any more; the jobs are as they were.
        drop(streams);
        for job in handles {
            until(&job, |status| status.state == JobState::Done).await;
        }
    });
}

on_each_database! {
    every_reader_sees_states_progress_and_the_end,
    a_slow_reader_gets_the_latest_state_and_the_end,
    one_who_has_seen_a_version_is_sent_what_is_newer_and_always_the_end,
    a_job_that_is_not_there_ends_the_stream,
    a_dead_job_that_is_tried_again_is_watched_anew,
    a_process_that_does_not_work_sees_what_another_one_does,
    an_end_that_a_tool_has_written_is_seen,
    the_end_of_the_store_ends_the_streams,
    each_stream_is_that_of_its_job,
}

on_the_kit! {
    every_reader_sees_states_progress_and_the_end,
    a_slow_reader_gets_the_latest_state_and_the_end,
    one_who_has_seen_a_version_is_sent_what_is_newer_and_always_the_end,
    a_job_that_is_not_there_ends_the_stream,
    a_dead_job_that_is_tried_again_is_watched_anew,
    each_stream_is_that_of_its_job,
}
