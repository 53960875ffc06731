//! The commands that change jobs and queues, and what they say of it.

use crate::support::store::{Process, until};
use crate::support::{Scratch, on_each_database};
use crate::{answered, bgtask, json, migrated, run};
use bgtask::ShutdownToken;
use bgtask::background;
use bgtask::durable::{JobError, JobState};
use bgtask_durable::Builder;
use serde_json::json as value;
use std::time::Duration;

#[background(durable(queue = "hopeless"), retry(max = 1), log = "off")]
async fn hopeless(number: u32) -> Result<(), String> {
    Err(format!("number {number} is off"))
}

#[background(durable(queue = "quick"))]
async fn quick(number: u32) -> u32 {
    number
}

/// Runs until it is asked to end.
#[background(durable(queue = "held"))]
async fn hold(token: ShutdownToken) -> Result<(), String> {
    token.cancelled().await;
    Err("asked to end".to_owned())
}

fn builder(scratch: &Scratch) -> Builder {
    bgtask_durable::builder().url(scratch.url())
}

/// Stores jobs that end dead, and one that waits in a paused queue. Returns the ids of the dead ones, as texts.
fn with_dead_jobs(scratch: &Scratch) -> Vec<String> {
    let process = Process::start(builder(scratch));
    let ids = process.run(async {
        process.jobs.pause("quick").await.expect("it pauses");
        quick(1).await.expect("it is stored");
        let mut ids = Vec::new();
        for number in 0..3 {
            let job = hopeless(number).await.expect("it is stored");
            job.outcome().await.expect_err("it fails");
            ids.push(job.id().to_string());
        }
        ids
    });
    process.end();
    ids
}

fn dead_jobs_are_retried_once_that_is_confirmed(scratch: Scratch) {
    let dead = with_dead_jobs(&scratch);
    let all = ["retry", "--dead", "--queue", "hopeless"];
    let refused = answered(&scratch, &all, "n\n");
    refused.fails_with(
        1,
        &["3 dead jobs in the queue hopeless", "nothing was changed"],
    );
    answered(&scratch, &all, "").fails_with(1, &["--yes"]);
    let one = answered(&scratch, &["retry", "--dead", "--before", &dead[1]], "y\n");
    assert_eq!(one.ends_with(0), "1 retried\n");
    let rest = json(&scratch, &[&all[..], &["--yes"]].concat());
    assert_eq!(rest, value!({ "matched": 2, "retried": 2 }));
    let none = bgtask(&scratch, &[&all[..], &["--yes"]].concat()).ends_with(3);
    assert_eq!(none, "0 dead jobs in the queue hopeless\n");
    assert_eq!(json(&scratch, &["status"])["jobs"]["waiting"], 4);
}

fn single_jobs_are_retried_cancelled_and_deleted(scratch: Scratch) {
    let dead = with_dead_jobs(&scratch);
    let retried = bgtask(&scratch, &["retry", &dead[0], &dead[1], "999999"]);
    let text = retried.ends_with(3);
    assert!(text.starts_with("2 retried, 1 not found\n"), "{text}");
    let again = bgtask(&scratch, &["retry", &dead[0]]).ends_with(3);
    assert_eq!(again, "1 was already waiting\n");

    let cancelled = bgtask(&scratch, &["cancel", &dead[0], &dead[2]]).ends_with(3);
    assert!(
        cancelled.starts_with("1 cancelled, 1 had already ended\n"),
        "{cancelled}"
    );
    let cancelled = json(&scratch, &["cancel", &dead[1]]);
    let id: u64 = dead[1].parse().expect("a number");
    assert_eq!(
        cancelled,
        value!({ "results": [{ "id": id, "result": "cancelled" }] })
    );

    let deleted = bgtask(&scratch, &["delete", &dead[0], &dead[1]]).ends_with(0);
    assert_eq!(deleted, "2 deleted\n");
    let again = bgtask(&scratch, &["delete", &dead[0]]).ends_with(3);
    assert_eq!(again, "1 deleted before\n");
}

fn a_running_job_is_asked_to_end_and_not_deleted(scratch: Scratch) {
    let process = Process::start(builder(&scratch).time_to_live(Duration::from_secs(1)));
    let job = process.run(async {
        let job = hold().await.expect("it is stored");
        until(&job, |status| status.state == JobState::Running).await;
        job
    });
    let id = job.id().to_string();
    let text = bgtask(&scratch, &["delete", &id]).ends_with(3);
    assert_eq!(text, "1 runs: cancel it first\n");
    let text = bgtask(&scratch, &["cancel", &id]).ends_with(0);
    assert_eq!(text, "1 runs and was asked to end\n");
    let outcome = process.run(async { job.outcome().await });
    assert!(
        matches!(outcome, Err(JobError::Cancelled { .. })),
        "{outcome:?}"
    );
    process.end();
}

fn a_paused_queue_waits_until_it_is_resumed(scratch: Scratch) {
    let process = Process::start(builder(&scratch));
    process.run(async {
        // A worker claims once it has registered, with its queues.
        quick(0)
            .await
            .expect("it is stored")
            .outcome()
            .await
            .expect("it ends");
    });
    let wrong = bgtask(&scratch, &["pause", "qiuck"]);
    wrong.fails_with(3, &["qiuck", "quick", "--new"]);
    let paused = bgtask(&scratch, &["pause", "quick"]).ends_with(0);
    assert_eq!(paused, "quick: paused\n");
    let again = bgtask(&scratch, &["pause", "quick"]).ends_with(0);
    assert_eq!(again, "quick: was paused already\n");
    assert_eq!(json(&scratch, &["status"])["paused"], value!(["quick"]));
    let waiting = process.run(async {
        let waiting = quick(1).await.expect("it is stored");
        // The worker works meanwhile.
        for number in 0..20 {
            let other = hopeless(number).await.expect("it is stored");
            other.outcome().await.expect_err("it fails");
        }
        let status = waiting.status().await.expect("it is there");
        assert_eq!(status.state, JobState::Waiting);
        waiting
    });
    let resumed = json(&scratch, &["resume", "quick"]);
    assert_eq!(
        resumed,
        value!([{ "queue": "quick", "is_paused": false, "has_changed": true }])
    );
    process.run(async { waiting.outcome().await.expect("it ends") });
    process.end();
}

fn a_new_queue_is_paused_only_on_purpose(scratch: Scratch) {
    migrated(&scratch);
    bgtask(&scratch, &["pause", "later"]).fails_with(3, &["there are: none"]);
    bgtask(&scratch, &["pause", "later", "--new"]).ends_with(0);
    assert_eq!(json(&scratch, &["status"])["paused"], value!(["later"]));
    bgtask(&scratch, &["pause", "No Name", "--new"]).fails_with(1, &["No Name"]);
}

fn jobs_whose_time_is_over_are_deleted(scratch: Scratch) {
    let process = Process::start(builder(&scratch));
    process.run(async {
        quick(1)
            .await
            .expect("it is stored")
            .outcome()
            .await
            .expect("it ends")
    });
    process.end();
    assert_eq!(json(&scratch, &["prune"]), value!({ "deleted": 0 }));
    run(
        &scratch,
        "UPDATE river_job SET finalized_at = datetime('now', '-2 days')",
        "UPDATE river_job SET finalized_at = now() - interval '2 days'",
    );
    let pruned = bgtask(&scratch, &["prune"]).ends_with(0);
    assert_eq!(pruned, "1 job deleted, whose time was over\n");
}

fn a_waiting_job_gets_another_priority_and_time(scratch: Scratch) {
    let [dead, ..] = &with_dead_jobs(&scratch)[..] else {
        unreachable!("there are three")
    };
    let waiting = json(&scratch, &["jobs", "--state", "waiting"])[0]["id"].to_string();
    let text = bgtask(&scratch, &["edit", &waiting, dead, "--priority", "1"]).ends_with(3);
    assert!(
        text.starts_with("1 changed, 1 had already ended\n"),
        "{text}"
    );
    let at = "2099-12-01T15:00:00Z";
    let edited = json(&scratch, &["edit", &waiting, "--at", at]);
    assert_eq!(edited["results"][0]["result"], "edited");
    let job = json(&scratch, &["job", &waiting]);
    assert_eq!(
        (&job["state"], &job["priority"]),
        (&value!("scheduled"), &value!(1))
    );
    assert_eq!(job["due_at"], "2099-12-01T15:00:00.000Z");
    bgtask(&scratch, &["edit", &waiting, "--after", "0s"]).ends_with(0);
    assert_eq!(json(&scratch, &["job", &waiting])["state"], "waiting");
    for wrong in [
        &["--priority", "5"][..],
        &["--at", "noon"],
        &[],
        &["--at", at, "--after", "1s"],
    ] {
        assert_eq!(
            bgtask(&scratch, &[&["edit", &waiting], wrong].concat()).code,
            2
        );
    }
}

#[background(durable(queue = "rare"), every = "12h")]
async fn rare() {}

fn schedules_are_paused_resumed_and_run(scratch: Scratch) {
    let process = Process::start(builder(&scratch));
    process.manager.start_schedules();
    let name = concat!(module_path!(), "::rare");
    process.run(async {
        while process.jobs.schedules().await.expect("a list").is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    process.end();
    // No program that has the function runs.
    let schedules = |act: &str| bgtask(&scratch, &["schedules", act, name]);
    bgtask(&scratch, &["schedules", "pause", "rear"]).fails_with(3, &["rear", name]);
    let by_ann = ["schedules", "pause", name, "--by", "ann"];
    assert_eq!(
        bgtask(&scratch, &by_ann).ends_with(0),
        format!("{name}: paused\n")
    );
    assert_eq!(
        schedules("pause").ends_with(0),
        format!("{name}: was paused already\n")
    );
    let listed = json(&scratch, &["schedules"]);
    assert_eq!(listed[0]["paused_by"], "ann");
    let ran = schedules("run").ends_with(0);
    assert!(ran.ends_with(" is stored\n"), "{ran}");
    let job = &json(&scratch, &["jobs"])[0];
    assert_eq!(
        (&job["queue"], &job["state"]),
        (&value!("rare"), &value!("waiting"))
    );
    let resumed = json(&scratch, &["schedules", "resume", name]);
    let expected = value!([{ "function": name, "is_paused": false, "has_changed": true }]);
    assert_eq!(resumed, expected);
    let again = schedules("resume").ends_with(0);
    assert_eq!(again, format!("{name}: was not paused\n"));
    let text = bgtask(&scratch, &["schedules"]).ends_with(0);
    assert!(text.contains("rare"), "{text}");
}

on_each_database! {
    dead_jobs_are_retried_once_that_is_confirmed,
    single_jobs_are_retried_cancelled_and_deleted,
    a_running_job_is_asked_to_end_and_not_deleted,
    a_paused_queue_waits_until_it_is_resumed,
    a_new_queue_is_paused_only_on_purpose,
    jobs_whose_time_is_over_are_deleted,
    schedules_are_paused_resumed_and_run,
    a_waiting_job_gets_another_priority_and_time,
}
