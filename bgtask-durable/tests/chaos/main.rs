//! Rounds of chaos: processes that store, run and change random jobs, are killed, stopped, continued and terminated, and lose their
//! database; then every sentence that can be broken by it is checked against a ledger outside of the database.
//!
//! `BGTASK_ROUNDS=2000 BGTASK_SEED=1 cargo test -p bgtask-durable --features postgres --test chaos -- --nocapture` runs more rounds. Round
//! `i` has the seed `BGTASK_SEED + i`, which determines the jobs and the events; the operating system decides the timing, and the
//! `BGTASK_AT_ONCE` rounds beside it share its server, so that a failure may need a few tries to come again.
#![cfg(unix)]
#![allow(clippy::print_stdout, reason = "a line for each round")]

mod check;
mod database;
mod forged;
mod job;
mod ledger;
mod plan;
mod program;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod work;

use check::Evidence;
use ledger::Ledger;
use plan::Plan;
use stage::Stage;
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use support::{Scratch, on_each_database};

/// The rounds that run side by side: they mostly wait.
const AT_ONCE: usize = 5;

/// The `main` of the processes.
#[test]
#[ignore = "the rounds start it as programs of their own"]
fn program() {
    if std::env::var_os("BGTASK_TEST_FOLDER").is_some() {
        program::main();
    }
}

/// Sentences 2.6, 3.1, 3.7, 4.1, 4.2, 4.3, 5.3, 7.1, 7.3, 11.4 and 11.12.
fn whatever_happens_every_stored_job_ends_once(scratch: Scratch) {
    let number = |name, default| match std::env::var(name) {
        Ok(value) => value.parse().expect("a number"),
        Err(_) => default,
    };
    let rounds: u64 = number("BGTASK_ROUNDS", 5);
    let first_seed: u64 = number("BGTASK_SEED", 1);
    let at_once = usize::try_from(number("BGTASK_AT_ONCE", AT_ONCE as u64)).expect("a few");
    println!(
        "{}: BGTASK_SEED={first_seed}, {rounds} rounds",
        scratch.kind()
    );
    let next = AtomicU64::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let round = next.fetch_add(1, Ordering::Relaxed);
                    if round >= rounds || failed.lock().expect("no panic").len() >= 3 {
                        break;
                    }
                    let scratch = scratch.another();
                    let seed = first_seed.wrapping_add(round);
                    let made = catch_unwind(|| run(seed, &scratch));
                    let made = made.unwrap_or_else(|_| {
                        let kind = scratch.kind();
                        Err(format!("{kind}, BGTASK_SEED={seed}: the round panicked"))
                    });
                    if let Err(failure) = made {
                        println!("{failure}");
                        failed.lock().expect("no panic").push(failure);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic");
    assert!(
        failed.is_empty(),
        "{} rounds failed, as printed",
        failed.len()
    );
}

on_each_database! {
    whatever_happens_every_stored_job_ends_once,
}

/// Runs one round, and returns what is wrong.
fn run(seed: u64, scratch: &Scratch) -> Result<(), String> {
    let begin = Instant::now();
    let plan = Plan::from_seed(seed, !scratch.is_sqlite());
    let mut stage = Stage::new(&plan, scratch);
    let evidence = gather(&plan, &mut stage);
    let ledger = stage.ledger();
    let wrong = match &evidence {
        Ok(evidence) => evidence.check(),
        Err(failure) => vec![(None, failure.clone())],
    };
    if wrong.is_empty() {
        let evidence = evidence.expect("nothing is wrong");
        println!(
            "{}, BGTASK_SEED={seed}: {:.1} s, {} processes, {} started again, {} events; {}",
            scratch.kind(),
            begin.elapsed().as_secs_f64(),
            plan.acts.len(),
            stage.restarts,
            plan.events.len(),
            evidence.summary(),
        );
        return Ok(());
    }
    let mut failure = format!(
        "{}: run it again with BGTASK_SEED={seed} BGTASK_ROUNDS=1 cargo test -p bgtask-durable --features postgres --test chaos -- --nocapture\n",
        scratch.kind(),
    );
    for (job, what) in &wrong {
        failure += &format!("- {what}\n");
        if let Some(job) = job {
            let number = evidence
                .as_ref()
                .ok()
                .and_then(|evidence| evidence.number(*job));
            failure += &evidence
                .as_ref()
                .map_or(String::new(), |evidence| evidence.of_job(*job));
            failure += &Ledger::of_job(&stage.folder, *job, number);
            failure.push('\n');
        }
    }
    let events: Vec<_> = plan
        .events
        .iter()
        .map(|event| format!("{event:?}"))
        .collect();
    failure += &format!(
        "the script: {}\n{} acts done by {:?}, the ledger and the logs are in {}",
        events.join(", "),
        plan.acts.iter().map(Vec::len).sum::<usize>(),
        ledger.done,
        stage.keep().display()
    );
    Err(failure)
}

/// Makes the round, and returns what is known of it.
fn gather<'a>(plan: &'a Plan, stage: &mut Stage<'_>) -> Result<Evidence<'a>, String> {
    stage.begin()?;
    stage.play();
    stage.settle()?;
    let ids: Vec<i64> = stage.database().rows().iter().map(|row| row.id).collect();
    stage.look(&ids)?;
    let ended = stage.end()?;
    let database = stage.database();
    Ok(Evidence {
        plan,
        ledger: stage.ledger(),
        changes: database.changes(),
        rows: database.rows(),
        bookings: database.bookings(),
        looked_at: ids,
        ended: ended.iter().map(|status| status.to_string()).collect(),
    })
}
