//! Examines a store: each check with its result, and what to do about it. Must never change anything.

use crate::connect::Connector;
use crate::failure::Failure;
use crate::output::Output;
use crate::table::{Table, count, length};
use bgtask::durable::JobState;
use bgtask_durable::{Diagnosis, Filter, Jobs, QueueInfo, WorkerInfo};
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// From how many seconds on a difference of clocks is worth a warning: jobs with a time start within one second of it. And from how
/// many it is a problem.
const CLOCKS_DIFFER: f64 = 1.0;
const CLOCKS_ARE_WRONG: f64 = 30.0;

/// The connections that a worker has beside its pool.
const BESIDE_POOL: u64 = 3;

/// The oldest Postgres that is supported.
const OLDEST_POSTGRES: u32 = 14;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Warning,
    Problem,
}

#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    result: Verdict,
    message: String,
}

#[derive(Default, Serialize)]
struct Examined {
    is_ok: bool,
    checks: Vec<Check>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnosis: Option<Diagnosis>,
}

impl Examined {
    fn add(&mut self, check: &'static str, result: Verdict, message: impl Into<String>) {
        let message = message.into();
        self.checks.push(Check {
            check,
            result,
            message,
        });
    }
}

pub(crate) async fn examine(
    connector: &Connector,
    wait: Duration,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut examined = Examined::default();
    match connector.builder().diagnose().await {
        Ok(diagnosis) => {
            examined.add("database", Verdict::Ok, diagnosis.database.clone());
            tables(&diagnosis, &mut examined);
            clock(&diagnosis, &mut examined);
            let workers = if diagnosis.is_newer() || diagnosis.is_older() {
                Vec::new()
            } else {
                of_jobs(&connector.open().await?, wait, &mut examined).await?
            };
            settings(&diagnosis, &workers, &mut examined);
            examined.diagnosis = Some(diagnosis);
        }
        Err(error) => examined.add("database", Verdict::Problem, error.to_string()),
    }
    let has_problem = examined
        .checks
        .iter()
        .any(|check| check.result == Verdict::Problem);
    examined.is_ok = !has_problem;
    output.show(&examined, || text(&examined))?;
    if has_problem {
        return Err(Failure::Problems);
    }
    Ok(())
}

fn text(examined: &Examined) -> String {
    let mut table = Table::new(&["", "CHECK", ""]);
    for check in &examined.checks {
        let word = match check.result {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Problem => "PROBLEM",
        };
        table.row([
            word.to_owned(),
            check.check.to_owned(),
            check.message.clone(),
        ]);
    }
    table.text("")
}

fn tables(found: &Diagnosis, examined: &mut Examined) {
    let known = found.known_version;
    match found.version {
        None => examined.add(
            "tables",
            Verdict::Problem,
            "there are none: correct the URL, or run `bgtask migrate`",
        ),
        Some(version) if found.is_newer() => examined.add(
            "tables",
            Verdict::Problem,
            format!("version {version}, and this program knows {known} and earlier: update it"),
        ),
        Some(version) if version < known => examined.add(
            "tables",
            Verdict::Problem,
            format!("version {version}, and this program needs {known}: run `bgtask migrate`"),
        ),
        Some(_) if !found.missing.is_empty() => examined.add(
            "tables",
            Verdict::Problem,
            format!("{} missing: run `bgtask migrate`", found.missing.join(", ")),
        ),
        Some(version) => examined.add("tables", Verdict::Ok, format!("version {version}")),
    }
    if found.version.is_none() {
        return;
    }
    match &found.triggers[..] {
        [] => examined.add("triggers", Verdict::Ok, "all there, of this version"),
        triggers => examined.add(
            "triggers",
            Verdict::Problem,
            format!(
                "{} missing, disabled, or of another version: late writes may overwrite results. Run `bgtask migrate` of the newest version that runs",
                triggers.join(", ")
            ),
        ),
    }
}

fn clock(found: &Diagnosis, examined: &mut Examined) {
    let ahead = found.clock_ahead_seconds;
    let certain = ahead.abs() - found.clock_error_seconds;
    let by = length(Duration::try_from_secs_f64(ahead.abs()).unwrap_or_default());
    let direction = if ahead > 0.0 { "ahead of" } else { "behind" };
    let message = format!("this machine's clock is {by} {direction} that of the database");
    let cure = "delayed jobs start that much too early or too late: run NTP on both";
    if certain >= CLOCKS_ARE_WRONG {
        examined.add("clock", Verdict::Problem, format!("{message}; {cure}"));
    } else if certain >= CLOCKS_DIFFER {
        examined.add("clock", Verdict::Warning, format!("{message}; {cure}"));
    } else {
        examined.add(
            "clock",
            Verdict::Ok,
            "this machine's clock is that of the database, within 1 s",
        );
    }
}

/// Returns a setting of the database, empty if it has none of this name.
fn setting<'a>(found: &'a Diagnosis, name: &str) -> &'a str {
    found.settings.get(name).map_or("", String::as_str)
}

fn settings(found: &Diagnosis, workers: &[WorkerInfo], examined: &mut Examined) {
    if found.settings.contains_key("journal_mode") {
        match setting(found, "journal_mode") {
            "wal" => examined.add("journal mode", Verdict::Ok, "wal"),
            mode => examined.add(
                "journal mode",
                Verdict::Warning,
                format!("{mode}, with which readers and writers wait for each other: a program that opens its store sets wal"),
            ),
        }
        let synchronous = setting(found, "synchronous");
        match synchronous {
            "full" | "extra" => examined.add("synchronous", Verdict::Ok, synchronous),
            _ => examined.add(
                "synchronous",
                Verdict::Warning,
                format!("{synchronous} by BGTASK_SYNCHRONOUS here: a power failure may lose the calls that were stored last"),
            ),
        }
        return;
    }
    server(found, examined);
    connections(found, workers, examined);
    if found.is_pooled && std::env::var_os("BGTASK_LISTEN_URL").is_none() {
        examined.add(
            "pooler",
            Verdict::Warning,
            "a pooler such as PgBouncer lends its sessions: the processes poll. Set BGTASK_LISTEN_URL to the address of the server itself",
        );
    } else if found.is_pooled {
        examined.add(
            "pooler",
            Verdict::Ok,
            "it lends sessions, and BGTASK_LISTEN_URL leads around it",
        );
    } else {
        examined.add("pooler", Verdict::Ok, "none that lends its sessions");
    }
}

fn server(found: &Diagnosis, examined: &mut Examined) {
    let version = setting(found, "version");
    let major: u32 = version
        .split(|character: char| !character.is_ascii_digit())
        .next()
        .and_then(|major| major.parse().ok())
        .unwrap_or(OLDEST_POSTGRES);
    if major < OLDEST_POSTGRES {
        examined.add(
            "server",
            Verdict::Problem,
            format!("Postgres {version}: update it to {OLDEST_POSTGRES} or later"),
        );
    } else {
        examined.add("server", Verdict::Ok, format!("Postgres {version}"));
    }
    if setting(found, "is_in_recovery") == "true" {
        examined.add(
            "server",
            Verdict::Problem,
            "it is a standby, which takes no writes: give the address of the primary",
        );
    }
    match setting(found, "synchronous_commit") {
        "off" => examined.add(
            "synchronous_commit",
            Verdict::Warning,
            "off: a crash of the server may lose the calls that were stored last. Set it to `on` for the role",
        ),
        mode => examined.add("synchronous_commit", Verdict::Ok, mode),
    }
}

fn connections(found: &Diagnosis, workers: &[WorkerInfo], examined: &mut Examined) {
    let number = |name: &str| -> u64 { setting(found, name).parse().unwrap_or(0) };
    let free = number("max_connections").saturating_sub(number("superuser_reserved_connections"));
    let used = number("connections");
    let alive = workers
        .iter()
        .filter(|worker| worker.is_alive != Some(false));
    let of_workers: u64 = alive
        .filter_map(|worker| worker.connections)
        .map(|pool| u64::from(pool) + BESIDE_POOL)
        .sum();
    let message = format!(
        "{used} of {free} are used, and the workers may have {of_workers}, beside those of other processes"
    );
    if used >= free || of_workers > free {
        examined.add(
            "connections",
            Verdict::Problem,
            format!("{message}: raise max_connections, or lower BGTASK_CONNECTIONS of the workers"),
        );
    } else if used * 10 >= free * 9 {
        examined.add(
            "connections",
            Verdict::Warning,
            format!("{message}: raise max_connections soon"),
        );
    } else {
        examined.add("connections", Verdict::Ok, message);
    }
}

/// Examines workers and queues, and returns the workers.
async fn of_jobs(
    jobs: &Jobs,
    wait: Duration,
    examined: &mut Examined,
) -> Result<Vec<WorkerInfo>, Failure> {
    let workers = jobs.workers(wait).await?;
    let queues = jobs.queues().await?;
    let waits = queues.iter().any(|queue| queue.oldest_waiting.is_some());
    let is_alive = |worker: &&WorkerInfo| worker.is_alive != Some(false);
    let alive: Vec<_> = workers.iter().filter(is_alive).collect();
    let silent = (workers.len() - alive.len()) as u64;
    let number = alive.len() as u64;
    if number == 0 {
        let (verdict, message) = if waits {
            (Verdict::Problem, "none is alive, and jobs wait: start one")
        } else {
            (
                Verdict::Warning,
                "none is alive: jobs that are stored will wait",
            )
        };
        examined.add("workers", verdict, message);
    } else if wait.is_zero() {
        let message = format!("{} registered, not watched", count(number, "worker"));
        examined.add("workers", Verdict::Ok, message);
    } else {
        let message = format!("{} alive", count(number, "worker"));
        examined.add("workers", Verdict::Ok, message);
    }
    if silent > 0 {
        examined.add(
            "workers",
            Verdict::Warning,
            format!(
                "{} without a sign of life for {}: the others run its jobs after its time to live. If that is longer, give it with `--wait`",
                count(silent, "worker"),
                length(wait)
            ),
        );
    }
    let before = examined.checks.len();
    for queue in &queues {
        examine_queue(queue, &alive, examined);
    }
    if examined.checks.len() == before {
        examined.add("queues", Verdict::Ok, "each with waiting jobs is worked");
    }
    functions(jobs, &queues, &alive, examined).await?;
    Ok(workers)
}

/// Examines whether the latest of the waiting jobs are of functions that a worker has. Others wait for a program that has them.
async fn functions(
    jobs: &Jobs,
    queues: &[QueueInfo],
    alive: &[&WorkerInfo],
    examined: &mut Examined,
) -> Result<(), Failure> {
    let declared: Option<Vec<_>> = alive
        .iter()
        .map(|worker| worker.functions.as_ref())
        .collect();
    // A worker of an older version does not declare its functions.
    let Some(declared) = declared.filter(|workers| !workers.is_empty()) else {
        return Ok(());
    };
    let waiting = jobs.list(Filter::all().state(JobState::Waiting)).await?;
    let is_paused = |name: &str| {
        let queue = queues.iter().find(|queue| queue.name == name);
        queue.is_some_and(|queue| queue.paused_at.is_some())
    };
    let unknown: BTreeSet<_> = waiting
        .into_iter()
        .filter(|job| !is_paused(&job.queue))
        .map(|job| job.function)
        .filter(|name| !declared.iter().any(|names| names.contains(name)))
        .collect();
    if unknown.is_empty() {
        examined.add(
            "functions",
            Verdict::Ok,
            "workers have those of the jobs that wait",
        );
    }
    for name in unknown {
        let message = format!(
            "jobs of {name} wait, and no worker has it: start a program that has, or give its new name `was`"
        );
        examined.add("functions", Verdict::Problem, message);
    }
    Ok(())
}

fn examine_queue(queue: &QueueInfo, alive: &[&WorkerInfo], examined: &mut Examined) {
    let Some(waits) = queue.oldest_waiting else {
        return;
    };
    let name = &queue.name;
    let waits = length(waits);
    if queue.paused_at.is_some() {
        examined.add(
            "queues",
            Verdict::Warning,
            format!("{name} is paused, and its oldest job has waited for {waits}: `bgtask resume {name}`"),
        );
    } else if !alive.is_empty() && alive.iter().all(|worker| worker.works(name) == Some(false)) {
        // A worker of an older version does not declare what it works.
        examined.add(
            "queues",
            Verdict::Problem,
            format!("no worker works {name}, whose oldest job has waited for {waits}: start one with BGTASK_QUEUES={name}=10"),
        );
    }
}
