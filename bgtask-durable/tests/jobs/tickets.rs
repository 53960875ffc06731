//! Tickets: who may see a job, until when, and with which keys.
#![cfg(feature = "live")]

use crate::support::live;
use crate::support::store::{Process, with_store};
use crate::support::{Scratch, on_each_database, on_the_kit};
use bgtask::background;
use bgtask::durable::{JobError, JobHandle, Ticket};
use bgtask_durable::{Builder, Role, notify};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

#[background(durable, retry(max = 1))]
async fn doubles(number: u32) -> Result<u32, String> {
    if number == 0 {
        return Err("there is nothing to double".to_owned());
    }
    Ok(2 * number)
}

async fn serve() -> SocketAddr {
    live::serve(notify::router()).await
}

/// Returns the status of the answer to one with this ticket.
async fn status(addr: SocketAddr, ticket: &impl std::fmt::Display) -> u16 {
    live::get(addr, &format!("/jobs/{ticket}"), &[])
        .await
        .status
}

async fn done() -> JobHandle<u32> {
    let job = doubles(7).await.expect("it is stored");
    job.outcome().await.expect("it ends");
    job
}

/// Sentence 15.5.
fn a_ticket_shows_its_job_and_the_value_only_if_asked_for(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let addr = serve().await;
        let job = done().await;
        let dead = doubles(0).await.expect("it is stored");
        dead.outcome().await.expect_err("it fails");
        let state = async |ticket: Ticket| {
            let answer = live::get(addr, &format!("/jobs/{ticket}"), &[]).await;
            assert_eq!(answer.status, 200);
            answer.json().await
        };
        let version = async |job: &JobHandle<u32>| job.status().await.expect("it is there").version;
        let mut expected = json!({ "job": job.id(), "version": version(&job).await, "state": "done", "progress": null, "attempt": 1 });
        assert_eq!(state(job.ticket(HOUR).expect("a ticket")).await, expected);
        expected["value"] = json!(14);
        assert_eq!(
            state(job.ticket_with_value(HOUR).expect("a ticket")).await,
            expected
        );

        let mut expected = json!({ "job": dead.id(), "version": version(&dead).await, "state": "dead", "progress": null, "attempt": 1 });
        assert_eq!(state(dead.ticket(HOUR).expect("a ticket")).await, expected);
        expected["error"] = json!("the job failed after 1 attempt: there is nothing to double");
        assert_eq!(
            state(dead.ticket_with_value(HOUR).expect("a ticket")).await,
            expected
        );
    });
}

/// Sentence 15.6.
fn a_forged_ticket_is_refused(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let addr = serve().await;
        let job = done().await;
        let ticket = job.ticket(HOUR).expect("a ticket").to_string();
        assert_eq!(status(addr, &ticket).await, 200);
        // Each character changed: what may be seen, the job, the time, and the signature.
        for position in 0..ticket.len() {
            let mut forged = ticket.clone().into_bytes();
            forged[position] = if forged[position] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).expect("letters");
            assert_eq!(status(addr, &forged).await, 403, "{position}");
        }
        for forged in [
            ticket[..ticket.len() - 1].to_owned(),
            format!("{ticket}A"),
            format!("{ticket}="),
            ticket[..20].to_owned(),
            "A".to_owned(),
            job.id().to_string(),
            "%00".to_owned(),
        ] {
            let answer = live::get(addr, &format!("/jobs/{forged}/events"), &[]).await;
            assert_eq!(answer.status, 403, "{forged}");
            assert_eq!(answer.json().await["error"], "ticket");
        }
    });
}

/// Sentence 15.7.
fn an_expired_ticket_is_refused_and_its_stream_ends(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let addr = serve().await;
        let job = doubles(1).after(HOUR).await.expect("it is stored");
        // Long enough to connect, also on a slow machine.
        let ticket = job.ticket(Duration::from_secs(3)).expect("a ticket");
        let mut stream = live::get(addr, &format!("/jobs/{ticket}/events"), &[]).await;
        assert_eq!(stream.next().await.expect("one").data["state"], "scheduled");
        assert_eq!(stream.next().await, None);
        let answer = live::get(addr, &format!("/jobs/{ticket}"), &[]).await;
        assert_eq!(answer.status, 410);
        assert_eq!(answer.json().await["error"], "expired");
        let of_no_time = job.ticket(Duration::ZERO);
        assert!(
            matches!(of_no_time, Err(JobError::Store { .. })),
            "{of_no_time:?}"
        );
    });
}

fn a_ticket_of_a_deleted_job_says_so(scratch: Scratch) {
    with_store(&scratch, |jobs| async move {
        let addr = serve().await;
        let job = done().await;
        let ticket = job.ticket(HOUR).expect("a ticket");
        jobs.delete(job.id()).await.expect("it does not run");
        let answer = live::get(addr, &format!("/jobs/{ticket}/events"), &[]).await;
        assert_eq!(
            (answer.status, &answer.json().await["error"]),
            (410, &json!("gone"))
        );
        let never = jobs.get::<()>(bgtask::durable::JobId::new(i64::MAX));
        let ticket = never.ticket(HOUR).expect("nobody looks");
        let answer = live::get(addr, &format!("/jobs/{ticket}"), &[]).await;
        assert_eq!(
            (answer.status, &answer.json().await["error"]),
            (404, &json!("not_found"))
        );
    });
}

fn process(scratch: &Scratch, set: impl FnOnce(Builder) -> Builder) -> Process {
    Process::start(set(bgtask_durable::builder().url(scratch.url())))
}

/// Sentence 15.8.
fn tickets_hold_in_every_process_and_after_a_restart(scratch: Scratch) {
    let first = process(&scratch, |builder| builder);
    let ticket = first.run(async { done().await.ticket(HOUR).expect("a ticket") });
    let other = process(&scratch, |builder| builder.role(Role::Enqueue));
    let ask = |process: &Process| process.run(async { status(serve().await, &ticket).await });
    assert_eq!((ask(&first), ask(&other)), (200, 200));
    first.end();
    other.end();
    let again = process(&scratch, |builder| builder);
    assert_eq!(ask(&again), 200);
    again.end();
    // Another database has another key.
    let another = scratch.another();
    let another = process(&another, |builder| builder);
    another.run(done());
    assert_eq!(ask(&another), 403);
    another.end();
}

/// Sentence 15.9.
fn keys_are_replaced_one_after_the_other(scratch: Scratch) {
    let (old, new) = ([1_u8; 32], [2_u8; 40]);
    let sign =
        |process: &Process| process.run(async { done().await.ticket(HOUR).expect("a ticket") });
    let ask = |process: &Process, ticket: &Ticket| {
        process.run(async { status(serve().await, ticket).await })
    };
    let before = process(&scratch, |builder| builder.ticket_keys([old]));
    let first = sign(&before);
    before.end();
    let meanwhile = process(&scratch, |builder| {
        builder.ticket_keys([new.to_vec(), old.to_vec()])
    });
    let second = sign(&meanwhile);
    assert_eq!(
        (ask(&meanwhile, &first), ask(&meanwhile, &second)),
        (200, 200)
    );
    meanwhile.end();
    let after = process(&scratch, |builder| builder.ticket_keys([new]));
    assert_eq!((ask(&after, &first), ask(&after, &second)), (403, 200));
    after.end();
    // With the same keys, a ticket of another database is none: its jobs have the same numbers.
    let another = scratch.another();
    let another = process(&another, |builder| builder.ticket_keys([new]));
    another.run(done());
    assert_eq!(ask(&another, &second), 403);
    another.end();
}

#[test]
fn a_wrong_key_is_explained_and_not_shown() {
    let scratch = Scratch::kit();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _in_runtime = runtime.enter();
    let _manager = bgtask::Manager::builder()
        .install()
        .expect("the first of its runtime");
    for keys in [
        vec![],
        vec![b"short and secret".to_vec()],
        vec![vec![7; 32], vec![7; 31]],
    ] {
        let opened = runtime.block_on(
            bgtask_durable::builder()
                .url(scratch.url())
                .ticket_keys(keys)
                .open(),
        );
        let error = opened.expect_err("a key is too short").to_string();
        assert!(
            error.contains("`ticket_keys`") && error.contains("at least 32"),
            "{error}"
        );
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn a_ticket_is_not_logged() {
    let ticket = Ticket::new("secret".to_owned());
    assert_eq!(
        (format!("{ticket:?}"), ticket.to_string()),
        ("Ticket(…)".to_owned(), "secret".to_owned())
    );
    assert_eq!(json!(ticket), "secret");
}

on_each_database! {
    a_ticket_shows_its_job_and_the_value_only_if_asked_for,
    a_forged_ticket_is_refused,
    an_expired_ticket_is_refused_and_its_stream_ends,
    a_ticket_of_a_deleted_job_says_so,
    tickets_hold_in_every_process_and_after_a_restart,
    keys_are_replaced_one_after_the_other,
}

on_the_kit! {
    a_ticket_shows_its_job_and_the_value_only_if_asked_for,
    a_forged_ticket_is_refused,
    an_expired_ticket_is_refused_and_its_stream_ends,
    a_ticket_of_a_deleted_job_says_so,
}
