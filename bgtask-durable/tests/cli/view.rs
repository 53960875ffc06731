//! The commands that only show something, and what they leave alone.

use crate::support::store::Process;
use crate::support::{Scratch, on_each_database};
use crate::{bgtask, json, migrated, run};
use bgtask::background;
use bgtask::durable::JobState;
use serde_json::json as value;

/// Its errors have what a terminal would obey.
#[background(
    durable(queue = "slow"),
    retry(max = 2, base = "1ms", cap = "1ms"),
    log = "off"
)]
async fn hostile(secret: String) -> Result<(), String> {
    let _ = secret;
    Err("\u{1b}[31mred\nsecond \u{202e}line".to_owned())
}

#[background(durable(queue = "quick", unique))]
async fn double(number: u32) -> u32 {
    number * 2
}

/// Stores a dead job and one that is done, and ends the process. Returns their ids, as texts.
fn with_two_jobs(scratch: &Scratch) -> [String; 2] {
    let process = Process::start(bgtask_durable::builder().url(scratch.url()));
    let ids = process.run(async {
        let dead = hostile("hunter2".to_owned()).await.expect("it is stored");
        dead.outcome().await.expect_err("it fails");
        let done = double(4).await.expect("it is stored");
        assert_eq!(done.outcome().await, Ok(8));
        [dead.id().to_string(), done.id().to_string()]
    });
    process.end();
    ids
}

fn jobs_are_listed_by_function_queue_state_and_page(scratch: Scratch) {
    let [dead, done] = with_two_jobs(&scratch);
    let ids = |arguments: &[&str]| -> Vec<String> {
        let listed = json(&scratch, &[&["jobs"], arguments].concat());
        let jobs = listed.as_array().expect("a list").iter();
        jobs.map(|job| job["id"].to_string()).collect()
    };
    assert_eq!(ids(&[]), [done.clone(), dead.clone()]);
    assert_eq!(ids(&["--state", "dead"]), [dead.as_str()]);
    assert_eq!(ids(&["--queue", "quick"]), [done.as_str()]);
    assert_eq!(ids(&["--function", "cli::view::hostile"]), [dead.as_str()]);
    assert_eq!(ids(&["--limit", "1"]), [done.as_str()]);
    assert_eq!(ids(&["--before", &done]), [dead]);
    let none = bgtask(&scratch, &["jobs", "--state", "parked"]).ends_with(3);
    assert_eq!(none, "no job matches\n");
    let page = bgtask(&scratch, &["jobs", "--limit", "1"]).ends_with(0);
    assert!(page.contains(&format!("--before {done}")), "{page}");
}

fn what_a_terminal_would_obey_is_escaped(scratch: Scratch) {
    let [dead, _] = with_two_jobs(&scratch);
    for arguments in [&["jobs"][..], &["job", &dead]] {
        let out = bgtask(&scratch, arguments).ends_with(0);
        assert!(out.contains(r"\u{1b}[31mred"), "{out}");
        let hostile = |character: char| {
            character == '\u{202e}' || (character.is_control() && character != '\n')
        };
        assert!(!out.contains(hostile), "{out:?}");
    }
}

fn a_job_is_shown_with_its_history_and_without_its_arguments(scratch: Scratch) {
    let [dead, done] = with_two_jobs(&scratch);
    let job = json(&scratch, &["job", &dead]);
    assert_eq!(job["state"], "dead");
    assert_eq!(job["function"], "cli::view::hostile");
    assert_eq!(job["attempts"], 2);
    assert_eq!(job["is_unique"], false);
    let errors = job["errors"].as_array().expect("a list");
    let attempts: Vec<_> = errors.iter().map(|error| &error["attempt"]).collect();
    assert_eq!(attempts, [&value!(1), &value!(2)]);
    assert!(
        errors[1]["message"]
            .as_str()
            .is_some_and(|text| text.contains("red"))
    );
    for time in ["stored_at", "due_at", "claimed_at", "ended_at"] {
        let text = job[time].as_str().expect("a time");
        assert!(text.starts_with("20") && text.ends_with('Z'), "{text}");
    }
    let worker = job["worker"].as_str().expect("a worker");
    assert!(
        worker.starts_with("bgtask:") && !worker.contains('.'),
        "{worker}"
    );

    let shown = bgtask(&scratch, &["job", &dead]).ends_with(0);
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(!job.to_string().contains("hunter2"), "{job}");
    let shown = bgtask(&scratch, &["job", &dead, "--arguments"]).ends_with(0);
    assert!(shown.contains("hunter2"), "{shown}");
    let with = json(&scratch, &["job", &done, "--arguments", "--value"]);
    assert_eq!(with["arguments"], value!({ "number": 4 }));
    assert_eq!(
        (&with["value"], &with["is_unique"]),
        (&value!(8), &value!(true))
    );

    bgtask(&scratch, &["job", "999999"]).fails_with(3, &["no job with this id"]);
}

fn the_status_and_the_queues_count_the_jobs(scratch: Scratch) {
    let _ = with_two_jobs(&scratch);
    let status = json(&scratch, &["status"]);
    assert_eq!(status["jobs"]["dead"], 1);
    assert_eq!(status["jobs"]["done"], 1);
    assert_eq!(status["jobs"]["waiting"], 0);
    // The process has ended.
    assert_eq!(status["workers"], 0);
    let text = bgtask(&scratch, &["status"]).ends_with(0);
    assert!(text.contains("1 done, 1 dead"), "{text}");
    // The process has counted its ends before its own.
    assert_eq!(
        status["last_hour"],
        value!({ "done": 1, "retried": 1, "dead": 1 })
    );
    run(
        &scratch,
        "INSERT INTO bgtask_minute (minute, done, retried, dead) VALUES (unixepoch() / 60 - 100, 5, 4, 3)",
        "INSERT INTO bgtask_minute (minute, done, retried, dead) VALUES (floor(extract(epoch FROM now()) / 60)::bigint - 100, 5, 4, 3)",
    );
    let text = bgtask(&scratch, &["status"]).ends_with(0);
    assert!(
        text.contains("last day        6 done, 5 retried, 4 dead"),
        "{text}"
    );
    let queues = json(&scratch, &["queues"]);
    let slow = queues.as_array().expect("a list").iter();
    let slow = slow.filter(|queue| queue["queue"] == "slow");
    let slow: Vec<_> = slow.map(|queue| &queue["jobs"]["dead"]).collect();
    assert_eq!(slow, [&value!(1)]);
}

/// The program links functions of its own, which no command may run.
fn no_command_claims_a_job(scratch: Scratch) {
    migrated(&scratch);
    run(
        &scratch,
        "INSERT INTO river_job (kind, queue, args, max_attempts) VALUES ('bgtask_durable::deliver', 'bgtask-notify', jsonb('{}'), 10)",
        "INSERT INTO river_job (kind, queue, args, max_attempts) VALUES ('bgtask_durable::deliver', 'bgtask-notify', '{}', 10)",
    );
    for arguments in [
        &["status"][..],
        &["queues"],
        &["workers", "--wait", "200ms"],
        &["schedules"],
        &["jobs"],
        &["prune"],
    ] {
        bgtask(&scratch, arguments).ends_with(0);
    }
    let job = &json(&scratch, &["jobs"])[0];
    assert_eq!(
        (&job["state"], &job["attempts"]),
        (&value!("waiting"), &value!(0))
    );
    assert_eq!(json(&scratch, &["workers"]), value!([]));
}

fn workers_say_what_they_work_and_show_that_they_live(scratch: Scratch) {
    let builder = bgtask_durable::builder().url(scratch.url());
    let process = Process::start(builder.queue("quick", 7));
    // A worker claims once it has registered.
    process.run(async {
        let job = double(1).await.expect("it is stored");
        job.outcome().await.expect("it ends");
    });
    // As long as it takes: a worker shows a sign of life once per second.
    let workers = json(&scratch, &["workers", "--wait", "60s"]);
    let worker = &workers[0];
    assert_eq!(worker["is_alive"], true, "{workers}");
    assert_eq!(worker["process"], std::process::id());
    assert_eq!(worker["queues"]["quick"], 7);
    let functions = worker["functions"].as_array().expect("a list");
    assert!(
        functions.contains(&value!("cli::view::double")),
        "{functions:?}"
    );
    let queues = json(&scratch, &["queues"]);
    let quick = queues.as_array().expect("a list").iter();
    let quick: Vec<_> = quick.filter(|queue| queue["queue"] == "quick").collect();
    assert_eq!(quick[0]["at_once"], 7);
    process.end();

    let dead = "INSERT INTO bgtask_worker (id, beat) VALUES ('bgtask:1-dead', 5)";
    run(&scratch, dead, dead);
    let workers = json(&scratch, &["workers", "--wait", "100ms"]);
    assert_eq!(workers[0]["is_alive"], false, "{workers}");
    assert_eq!(workers[0]["queues"], value!(null));
    let text = bgtask(&scratch, &["workers", "--wait", "100ms"]).ends_with(0);
    assert!(text.contains("silent"), "{text}");
    let unknown = json(&scratch, &["workers", "--wait", "0s"]);
    assert_eq!(unknown[0]["is_alive"], value!(null));
}

fn schedules_are_listed(scratch: Scratch) {
    migrated(&scratch);
    let schedule = "INSERT INTO bgtask_schedule (function, definition, last_tick, job, seen_at)
        VALUES ('cli::tick', 'every 5m', 1700000000000000, 7, 1700000000000000)";
    run(&scratch, schedule, schedule);
    let schedules = json(&scratch, &["schedules"]);
    let schedule = &schedules[0];
    assert_eq!(schedule["function"], "cli::tick");
    assert_eq!(schedule["definition"], "every 5m");
    assert_eq!(schedule["last_tick"], "2023-11-14T22:13:20.000Z");
    assert_eq!(
        (&schedule["job"], &schedule["is_busy"]),
        (&value!(7), &value!(false))
    );
    assert!(
        schedule["unseen_seconds"]
            .as_f64()
            .is_some_and(|seconds| seconds > 1e6)
    );
    let text = bgtask(&scratch, &["schedules"]).ends_with(0);
    assert!(text.contains("2023-11-14T22:13:20Z"), "{text}");
}

/// The handles of a store without a manager work as those of a process.
fn a_store_without_a_manager_awaits_and_watches(scratch: Scratch) {
    let process = Process::start(bgtask_durable::builder().url(scratch.url()));
    process.run(async { process.jobs.pause("quick").await.expect("it pauses") });
    let id = process.run(async { double(21).await.expect("it is stored").id() });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let builder = bgtask_durable::builder().url(scratch.url());
        let jobs = builder.operate().await.expect("it opens");
        assert_eq!(
            jobs.list(bgtask_durable::Filter::all())
                .await
                .expect("a list")
                .len(),
            1
        );
        let job = jobs.get::<u32>(id);
        assert_eq!(
            job.status().await.expect("it is there").state,
            JobState::Waiting
        );
        let resumed = async { jobs.resume("quick").await.expect("it resumes") };
        let (outcome, ()) = tokio::join!(job.outcome(), resumed);
        assert_eq!(outcome, Ok(42));
        assert!(!job.cancel().await.expect("it has ended"));
    });
    process.end();
}

on_each_database! {
    jobs_are_listed_by_function_queue_state_and_page,
    what_a_terminal_would_obey_is_escaped,
    a_job_is_shown_with_its_history_and_without_its_arguments,
    the_status_and_the_queues_count_the_jobs,
    no_command_claims_a_job,
    workers_say_what_they_work_and_show_that_they_live,
    schedules_are_listed,
    a_store_without_a_manager_awaits_and_watches,
}
