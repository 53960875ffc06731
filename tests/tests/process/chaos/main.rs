//! A process of its own, because its child processes load every processor. Each child runs random work of every kind, receives
//! signals at random moments, and keeps a log that the test compares with bgtask's report.
//!
//! `BGTASK_ROUNDS=5000 BGTASK_SEED=1 cargo test -p bgtask-tests --test chaos` runs more rounds. Round `i` has the seed `BGTASK_SEED + i`.
//! A failure names its seed, which reproduces the plan; the operating system decides the timing.
#![cfg(unix)]
#![allow(clippy::print_stdout, reason = "a summary of the rounds")]

mod audit;
mod log;

use audit::Audit;
use bgtask_tests::chaos::Plan;
use bgtask_tests::process::Process;
use log::Log;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

/// The number of concurrent processes, which mostly wait.
const AT_ONCE: usize = 6;

#[test]
fn every_call_of_a_process_under_chaos_is_accounted_for() {
    let number = |name, default| match std::env::var(name) {
        Ok(value) => value.parse().expect("a number"),
        Err(_) => default,
    };
    let rounds: u64 = number("BGTASK_ROUNDS", 200);
    let first_seed: u64 = number("BGTASK_SEED", 1);
    let next = AtomicU64::new(0);
    let failed = Mutex::new(Vec::new());
    let seen = Mutex::new(BTreeMap::<&str, u64>::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let round = next.fetch_add(1, Ordering::Relaxed);
                    if round >= rounds || failed.lock().unwrap().len() >= 5 {
                        break;
                    }
                    let seed = first_seed.wrapping_add(round);
                    let of_round = catch_unwind(|| run(seed));
                    match of_round.unwrap_or_else(|_| {
                        Err(format!(
                            "{}: it never ended\n{:#?}",
                            replay(seed),
                            Plan::from_seed(seed)
                        ))
                    }) {
                        Ok(of_round) => {
                            let mut seen = seen.lock().unwrap();
                            for what in of_round {
                                *seen.entry(what).or_default() += 1;
                            }
                        }
                        Err(failure) => failed.lock().unwrap().push(failure),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    let seen = seen.into_inner().unwrap();
    println!("{rounds} rounds from seed {first_seed}: {seen:?}");
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    if rounds >= 200 {
        // Each of these must occur, or the plans no longer cover it.
        for what in [
            "a report",
            "all ended in time",
            "some did not end in time",
            "a second signal",
            "calls refused",
            "calls coalesced",
        ] {
            assert!(seen.contains_key(what), "never seen: {what}, only {seen:?}");
        }
    }
}

/// Runs one round: returns what occurred, or what is wrong.
fn run(seed: u64) -> Result<Vec<&'static str>, String> {
    let plan = Plan::from_seed(seed);
    let path = log_path(seed);
    // An earlier run may have left one.
    let _ = std::fs::remove_file(&path);
    let name = path.to_str().expect("a path that is text");
    let start = Instant::now();
    let mut process = Process::start(env!("CARGO_BIN_EXE_chaos"), &[&seed.to_string(), name]);
    let mut sent = Vec::new();
    for signal in &plan.signals {
        if signal.after.is_some_and(|line| !process.reaches(line)) {
            // The process has ended before that.
            break;
        }
        thread::sleep(signal.delay);
        process.signal(signal.name);
        sent.push(*signal);
    }
    let ended = process.wait();
    let lived = start.elapsed();
    let log = std::fs::read_to_string(&path).unwrap_or_default();
    let mut audit = Audit {
        plan: &plan,
        sent: sent.iter().map(|signal| signal.code()).collect(),
        ended: &ended,
        lived,
        log: Log::read(&log),
        wrong: Vec::new(),
        seen: Vec::new(),
    };
    audit.run();
    let Audit { wrong, seen, .. } = audit;
    if wrong.is_empty() {
        let _ = std::fs::remove_file(&path);
        return Ok(seen);
    }
    let mut failure = String::new();
    let _ = write!(
        failure,
        "{}\n{plan:#?}\n\
         signals sent: {sent:?}\nit ended with {}, and its log is {}\n- {}\nstderr:\n{}",
        replay(seed),
        ended.status,
        path.display(),
        wrong.join("\n- "),
        ended.stderr,
    );
    Err(failure)
}

fn replay(seed: u64) -> String {
    format!(
        "run it again: BGTASK_ROUNDS=1 BGTASK_SEED={seed} cargo test -p bgtask-tests --test chaos"
    )
}

fn log_path(seed: u64) -> PathBuf {
    // Two runs of the tests may be concurrent.
    let name = format!("chaos-{}-{seed}.log", std::process::id());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}
