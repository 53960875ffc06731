//! A process of its own, because its child processes load every processor. Each child runs random work of every kind, receives
//! signals at random moments, and keeps a log that the test compares with bgtask's report.
//!
//! `BGTASK_ROUNDS=5000 BGTASK_SEED=1 cargo test -p bgtask-tests --test chaos` runs more of them; round `i` has the seed
//! `BGTASK_SEED + i`, and a failure says with which seed it is run again: the plan is the same then, the timing is the
//! operating system's.
#![cfg(unix)]
#![allow(
    clippy::print_stdout,
    reason = "what was seen, for whoever runs many rounds"
)]

use bgtask_tests::chaos::{GRACE_AT_START, MainEnd, Plan, Requester};
use bgtask_tests::process::{Ended, Process};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::os::unix::process::ExitStatusExt;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The number of concurrent processes, which mostly wait.
const AT_ONCE: usize = 6;

/// How long a shutdown waits for aborts after the deadline, as documented.
const ABORT_WAIT: Duration = Duration::from_secs(1);

/// How long printing the report may take, as documented.
const PRINT_WAIT: Duration = Duration::from_secs(1);

/// How late a process may be beyond that, by its own clock. An idle process takes a few milliseconds; on a busy machine, one of
/// its threads may get no processor for a second or two.
const MARGIN: Duration = Duration::from_secs(4);

/// The outcomes of the totals, in the order of the log.
const OUTCOMES: [&str; 7] = [
    "succeeded",
    "failed",
    "panicked",
    "timed out",
    "cancelled",
    "aborted",
    "abandoned",
];

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

/// The log of the process.
#[derive(Default)]
struct Log {
    /// The calls by their number.
    calls: BTreeMap<u64, Call>,
    main_started: bool,
    /// When the shutdown had been requested.
    requested: Option<Duration>,
    /// Whether the tokens of tasks have fired.
    drains: bool,
    report: Option<Report>,
    after_report: Vec<String>,
}

/// The records of one call.
#[derive(Default)]
struct Call {
    kind: String,
    called: bool,
    called_after_report: bool,
    returned_before_report: bool,
    /// Its handle may have ended it.
    killed: bool,
    handle: Option<String>,
    starts: u32,
    starts_after_success: bool,
    ends: u32,
    /// How the body of its last ended attempt ended.
    end: Option<String>,
    /// It ended after the tokens had fired.
    ended_in_drain: bool,
}

#[derive(Default)]
struct Report {
    at: Duration,
    text: String,
    /// The runs that schedules have started.
    runs: u64,
    accepted: u64,
    refused: u64,
    coalesced: u64,
    running: u64,
    outcomes: [u64; 7],
}

impl Log {
    fn read(text: &str) -> Self {
        let mut log = Self::default();
        for line in text.lines() {
            log.add(line)
                .unwrap_or_else(|| panic!("a line of the log: {line:?}"));
        }
        log
    }

    fn add(&mut self, line: &str) -> Option<()> {
        let (at, rest) = line.split_once(' ')?;
        let at = Duration::from_micros(at.parse().ok()?);
        let (letter, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut words = rest.split(' ');
        let is_over = self
            .report
            .as_ref()
            .is_some_and(|report| report.at > Duration::ZERO);
        // The process reads the totals between these two.
        let has_report = self.report.is_some();
        match letter {
            "M" => self.main_started = true,
            "Q" => self.requested = Some(at),
            "W" => self.drains = true,
            "X" => {
                let report = self.report.get_or_insert_default();
                report.text = rest.to_owned();
            }
            "S" => {
                let mut numbers = words.map(|word| word.parse::<u64>().ok());
                let mut next = || numbers.next().flatten();
                let report = self.report.get_or_insert_default();
                report.at = at;
                report.runs = next()?;
                report.accepted = next()?;
                report.refused = next()?;
                report.coalesced = next()?;
                report.running = next()?;
                for outcome in &mut report.outcomes {
                    *outcome = next()?;
                }
            }
            _ => {
                let drains = self.drains;
                let call = self.calls.entry(words.next()?.parse().ok()?).or_default();
                match letter {
                    "C" => {
                        call.kind = words.next()?.to_owned();
                        call.called = true;
                        call.called_after_report = is_over;
                    }
                    "Z" => {
                        call.kind = "Scheduled".to_owned();
                        call.returned_before_report = !has_report;
                    }
                    "A" => call.returned_before_report = !has_report,
                    "K" => call.killed = true,
                    "H" => call.handle = Some(words.next()?.to_owned()),
                    "B" if is_over => self.after_report.push(line.to_owned()),
                    "B" => {
                        call.starts += 1;
                        call.starts_after_success |= call.end.as_deref() == Some("ok");
                    }
                    "E" if is_over => self.after_report.push(line.to_owned()),
                    "E" => {
                        call.ends += 1;
                        call.end = Some(words.next()?.to_owned());
                        call.ended_in_drain = drains;
                    }
                    _ => return None,
                }
            }
        }
        Some(())
    }
}

impl Report {
    /// Returns the number before a word of the line.
    fn number_before(&self, word: &str) -> Option<f64> {
        let (before, _) = self.text.split_once(word)?;
        before.rsplit([' ', '(']).next()?.parse().ok()
    }

    fn elapsed(&self) -> Option<Duration> {
        let (_, rest) = self.text.split_once(") took ")?;
        seconds(rest)
    }

    fn grace(&self) -> Option<Duration> {
        let (_, rest) = self.text.split_once(" s of ")?;
        seconds(rest)
    }
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds = text.split(' ').next()?.parse().ok()?;
    Some(Duration::from_secs_f64(seconds))
}

impl Call {
    fn tries_again(&self) -> bool {
        self.kind.starts_with("TriesAgain")
    }

    fn is_coalesced(&self) -> bool {
        matches!(&*self.kind, "Joins" | "Skips" | "Replaces" | "Trails")
    }

    /// Returns whether it may wait for a policy, or be cancelled by the drain, before its body starts.
    fn may_be_held_back(&self) -> bool {
        matches!(
            &*self.kind,
            "AtARate" | "OneAtATime" | "OneAtATimeBlocking" | "IsCancelled"
        )
    }

    /// Returns the outcomes that fit the records of the call, or an error if none does.
    fn possible_outcomes(&self, is_expired: bool) -> Result<BTreeSet<&'static str>, &'static str> {
        let may_be_stopped = is_expired || self.killed;
        let mut outcomes = BTreeSet::new();
        if self.starts == 0 {
            // Its handle, the deadline or a policy may end a call that has not started.
            let mut ends = BTreeSet::from(["none"]);
            if may_be_stopped {
                ends.extend(["aborted", "cancelled"]);
            }
            if self.is_coalesced() || self.may_be_held_back() {
                ends.insert("cancelled");
            }
            let by_handle: &[_] = match self.handle.as_deref() {
                Some("shut_down" | "skipped") => &["none"],
                // Refused at the call, or dropped from the queue later.
                Some("refused") => &["none", "cancelled"],
                Some("cancelled" | "replaced") => &["cancelled", "none"],
                Some("aborted") => &["aborted", "none"],
                Some(_) if self.is_coalesced() => &["none"],
                Some(_) => return Err("its handle has an outcome, and its body never started"),
                None => &["none", "cancelled", "aborted"],
            };
            outcomes.extend(by_handle.iter().filter(|outcome| ends.contains(*outcome)));
            // Only a refused call, or one that shares the run of another, has no outcome.
            let shares = self.is_coalesced() || self.handle.is_none();
            if matches!(
                self.handle.as_deref(),
                Some("cancelled" | "aborted" | "replaced")
            ) && !shares
            {
                outcomes.remove("none");
            }
            return match outcomes.is_empty() {
                true => Err("it never started, and no record explains it"),
                false => Ok(outcomes),
            };
        }
        if let Some("shut_down" | "refused" | "skipped") = self.handle.as_deref() {
            return Err("it was refused and started");
        }
        match self.end.as_deref() {
            None if may_be_stopped => outcomes.extend(["abandoned", "aborted"]),
            None => {
                return Err(
                    "it had started and not ended at the report, which states that all had ended",
                );
            }
            Some("ok") if self.kind == "RunsOutOfTimeBlocking" => {
                // Its token may also fire with the drain.
                outcomes.extend(["timed out", "succeeded"]);
            }
            Some("ok") => outcomes.extend(["succeeded"]),
            Some("err") => outcomes.extend(["failed"]),
            Some("panic") => outcomes.extend(["panicked"]),
            Some(_) => match &*self.kind {
                "RunsOutOfTime" => outcomes.extend(["timed out"]),
                "IsCancelled" | "Replaces" => outcomes.extend(["cancelled"]),
                _ if may_be_stopped => {}
                _ => return Err("its body was dropped, and no record explains it"),
            },
        }
        if may_be_stopped {
            outcomes.extend(["aborted", "abandoned", "cancelled"]);
        }
        Ok(outcomes)
    }

    /// Returns whether the outcome of its handle fits the end of its body.
    fn handle_agrees(&self) -> bool {
        let (Some(handle), false) = (self.handle.as_deref(), self.is_coalesced()) else {
            return true;
        };
        match handle {
            "ok" | "err" | "panic" => self.end.as_deref() == Some(handle),
            "timed_out" => self.kind.starts_with("RunsOutOfTime"),
            _ => true,
        }
    }
}

/// Compares the log with bgtask's report, and both with the plan.
struct Audit<'a> {
    plan: &'a Plan,
    /// The exit codes of the sent signals.
    sent: Vec<i32>,
    ended: &'a Ended,
    lived: Duration,
    log: Log,
    wrong: Vec<String>,
    seen: Vec<&'static str>,
}

impl Audit<'_> {
    fn run(&mut self) {
        if let Some(signal) = self.ended.status.signal() {
            // It arrived before its handler was installed.
            if self.log.main_started || self.plan.signals[0].after.is_some() {
                self.wrong.push(format!(
                    "killed by signal {signal} although a handler was installed"
                ));
            }
            self.seen.push("killed while it started");
            return;
        }
        self.check_code();
        self.check_each_call();
        let report = self.log.report.take();
        match report.filter(|report| report.at > Duration::ZERO) {
            Some(report) => self.check_report(&report),
            None => self.check_without_report(),
        }
    }

    fn has_printed(&self, text: &str) -> bool {
        let report = self.log.report.as_ref();
        self.ended.stderr.contains(text) || report.is_some_and(|report| report.text.contains(text))
    }

    /// Returns whether the report may be missing: the process waits a second for its printing, and on a busy machine the thread
    /// that prints it may get no processor within that.
    fn report_may_be_lost(&self) -> bool {
        let requested = self.log.requested.unwrap_or_default();
        let grace = self.plan.grace.min(GRACE_AT_START);
        self.log.report.is_none() && self.lived > requested + grace + PRINT_WAIT
    }

    fn check_code(&mut self) {
        let plan = self.plan;
        let mut may_be = BTreeSet::new();
        if plan.has_to_leave() && self.sent.len() == 2 && self.log.requested.is_some() {
            // The remaining work would not have ended without the second signal.
            may_be.insert(self.sent[1]);
            self.seen.push("a second signal that had to end it");
        } else {
            let by_itself = plan.requester == Requester::Nobody;
            if plan.takes_token || by_itself {
                may_be.insert(plan.main_end.code());
            }
            let is_asked = !by_itself || !self.sent.is_empty();
            if !plan.takes_token && is_asked {
                may_be.insert(0);
            }
            if plan.requester == Requester::Essential
                && self.has_printed("shutdown (the essential task")
            {
                may_be = may_be
                    .iter()
                    .map(|&code| if code == 0 { 1 } else { code })
                    .collect();
            }
            if self.has_printed("main did not end in time") {
                if plan.main_end != MainEnd::Never && !plan.is_stubborn && !self.has_short_grace() {
                    self.wrong.push("main was late without a reason".to_owned());
                }
                may_be.insert(1);
            }
            if self.report_may_be_lost() {
                // The lines about a late or blocked `main` are missing with it.
                may_be.insert(1);
                may_be.extend(&self.sent);
            }
            if self.has_printed("the main thread is stuck") {
                if !plan.never_yields {
                    self.seen.push("main thread blocked without a reason");
                }
                may_be.insert(1);
                may_be.extend(&self.sent);
            }
            if self.sent.len() == 2
                || (plan.requester != Requester::Signal && !self.sent.is_empty())
            {
                self.seen.push("a second signal");
                if self.sent.len() == 2 {
                    // Two signals sent together may arrive in either order.
                    may_be.extend(&self.sent);
                }
            }
        }
        let code = self.ended.status.code();
        if !code.is_some_and(|code| may_be.contains(&code)) {
            self.wrong
                .push(format!("exit code {code:?}, not one of {may_be:?}"));
        }
    }

    /// Returns whether the shutdown was requested before `main` could set its own grace period.
    fn has_short_grace(&self) -> bool {
        let report = self.log.report.as_ref();
        report.and_then(Report::grace) == Some(GRACE_AT_START)
    }

    fn check_each_call(&mut self) {
        for (n, call) in &self.log.calls {
            let most = if call.tries_again() { 3 } else { 1 };
            if call.starts > most {
                self.wrong
                    .push(format!("{n} ({}) started {} times", call.kind, call.starts));
            }
            if call.starts_after_success {
                let wrong = format!("{n} ({}) started again after its success", call.kind);
                self.wrong.push(wrong);
            }
            if call.ends > call.starts {
                self.wrong.push(format!(
                    "{n} ({}) ended more often than it started",
                    call.kind
                ));
            }
            if call.called_after_report
                && let Some(handle) = &call.handle
                && handle != "shut_down"
            {
                let wrong =
                    format!("{n} was called after the report, and its handle ended with {handle}");
                self.wrong.push(wrong);
            }
            if !call.handle_agrees() {
                let wrong = format!(
                    "{n} ({}): its body ended with {:?}, its handle with {:?}",
                    call.kind, call.end, call.handle
                );
                self.wrong.push(wrong);
            }
        }
    }

    fn check_without_report(&mut self) {
        let left_by_a_signal = self
            .ended
            .status
            .code()
            .is_some_and(|code| self.sent.contains(&code));
        let is_on_stderr = self.ended.stderr.contains("bgtask: shutdown (");
        if !left_by_a_signal && !is_on_stderr {
            if self.report_may_be_lost() {
                self.seen.push("no processor for the report");
                return;
            }
            self.wrong.push("no report".to_owned());
        }
        self.seen.push("no report");
    }

    fn check_report(&mut self, report: &Report) {
        self.seen.push("a report");
        let (Some(elapsed), Some(grace), Some(drained), Some(late)) = (
            report.elapsed(),
            report.grace(),
            report.number_before(" drained"),
            report.number_before(" did not finish"),
        ) else {
            self.wrong
                .push(format!("a report of another form: {}", report.text));
            return;
        };
        let (drained, late) = (drained as u64, late as u64);
        let is_expired = late > 0;
        self.seen.push(if is_expired {
            "some did not end in time"
        } else {
            "all ended in time"
        });

        // After the report no body starts, and only an abandoned one ends.
        let abandoned = report.outcomes[6];
        for line in &self.log.after_report {
            if line.contains(" B ") || abandoned == 0 {
                self.wrong.push(format!("after the report: {line}"));
            }
        }

        self.check_totals(report, is_expired);
        self.check_drained(drained, late, is_expired);

        // Times are by the clock of the process.
        let allowed = grace + ABORT_WAIT + MARGIN;
        if elapsed > allowed {
            self.wrong
                .push(format!("the shutdown took {elapsed:?} of {grace:?}"));
        }
        if let Some(requested) = self.log.requested
            && report.at.saturating_sub(requested) > allowed
        {
            let wrong = format!(
                "the report came {:?} after the request",
                report.at - requested
            );
            self.wrong.push(wrong);
        }
        if is_expired && elapsed + Duration::from_millis(100) < grace {
            self.wrong
                .push(format!("given up after {elapsed:?} of {grace:?}"));
        }
        if is_expired && grace > Duration::from_secs(1) {
            self.wrong
                .push(format!("not ended within {grace:?}: {}", report.text));
        }
    }

    fn check_totals(&mut self, report: &Report, is_expired: bool) {
        let ended: u64 = report.outcomes.iter().sum();
        if report.running != 0 || report.accepted != ended {
            self.wrong.push(format!(
                "accepted {} = {} running + {ended} ended: {:?}",
                report.accepted, report.running, report.outcomes
            ));
        }
        // Calls made at this moment may or may not be counted. Schedules count their runs before they make them.
        let (mut returned, mut called) = (0, report.runs);
        for call in self.log.calls.values() {
            returned += u64::from(call.returned_before_report);
            called += u64::from(call.called && !call.called_after_report);
        }
        let counted = report.accepted + report.refused + report.coalesced;
        if !(returned..=called).contains(&counted) {
            self.wrong.push(format!(
                "{returned} to {called} calls were made; {counted} are counted: {} accepted, {} refused, {} coalesced",
                report.accepted, report.refused, report.coalesced
            ));
        }
        if report.refused > 0 {
            self.seen.push("calls refused");
        }
        if report.coalesced > 0 {
            self.seen.push("calls coalesced");
        }

        let mut at_least = BTreeMap::<&str, u64>::new();
        let mut at_most = BTreeMap::<&str, u64>::new();
        for (n, call) in &self.log.calls {
            match call.possible_outcomes(is_expired) {
                Ok(outcomes) => {
                    if let (1, Some(only)) = (outcomes.len(), outcomes.first()) {
                        *at_least.entry(only).or_default() += 1;
                    }
                    for outcome in outcomes {
                        *at_most.entry(outcome).or_default() += 1;
                    }
                }
                Err(wrong) => self.wrong.push(format!(
                    "{n} ({}, {:?}, handle {:?}): {wrong}",
                    call.kind, call.end, call.handle
                )),
            }
        }
        // A scheduled run that ended before it started is in no other record.
        let unseen_runs = report.runs;
        for (outcome, count) in OUTCOMES.iter().zip(report.outcomes) {
            let least = at_least.get(outcome).copied().unwrap_or(0);
            let mut most = at_most.get(outcome).copied().unwrap_or(0);
            if matches!(*outcome, "cancelled" | "aborted") {
                most += unseen_runs;
            }
            if !(least..=most).contains(&count) {
                self.wrong.push(format!(
                    "{count} are counted as {outcome}; they were {least} to {most}"
                ));
            }
        }
    }

    /// Checks that a call that ran when the tokens fired was drained or named.
    fn check_drained(&mut self, drained: u64, late: u64, is_expired: bool) {
        let started = || self.log.calls.values().filter(|call| call.starts > 0);
        let open = started()
            .filter(|call| call.end.is_none() && !call.killed)
            .count() as u64;
        // A blocking function that was aborted earlier is counted from then on, and may end long after.
        let in_drain = started()
            .filter(|call| call.ended_in_drain && !call.killed)
            .count() as u64;
        if is_expired && late < open {
            self.wrong
                .push(format!("{open} had not ended, {late} are named"));
        }
        if drained + late < open + in_drain {
            self.wrong.push(format!(
                "{in_drain} ended while it drained and {open} did not end; the report has {drained} and {late}"
            ));
        }
    }
}
