//! The work: functions of every kind, which log their start and end, and the use of their handles. Knows nothing of the callers.

use crate::life::plan;
use crate::log::write;
use bgtask::{RefusedReason, ShutdownToken, TaskError, TaskHandle, background};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;
use tokio::runtime::Handle;

static NEXT: AtomicU64 = AtomicU64::new(1);

fn next() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

static RUNTIME: OnceLock<Handle> = OnceLock::new();

/// Plain threads use it to await handles.
pub(crate) fn set_runtime() {
    RUNTIME.get_or_init(Handle::current);
}

/// The body of one run, from its first instruction to its last or to its drop.
struct Run {
    n: u64,
    ended_with: &'static str,
}

impl Run {
    fn begin(n: u64) -> Self {
        write(format_args!("B {n}"));
        Self {
            n,
            ended_with: "dropped",
        }
    }

    fn ok(mut self) {
        self.ended_with = "ok";
    }

    fn err(mut self) -> Result<(), String> {
        self.ended_with = "err";
        Err("it failed".to_owned())
    }

    fn panics(mut self) -> ! {
        self.ended_with = "panic";
        panic!("it panicked")
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        write(format_args!("E {} {}", self.n, self.ended_with));
    }
}

#[background]
async fn quick(n: u64) {
    Run::begin(n).ok();
}

#[background]
async fn slow(token: ShutdownToken, n: u64, millis: u64) {
    let run = Run::begin(n);
    let nap = tokio::time::sleep(Duration::from_millis(millis));
    token.run_until_cancelled(nap).await;
    run.ok();
}

#[background]
async fn panics(n: u64, waits: bool) {
    let run = Run::begin(n);
    if waits {
        tokio::task::yield_now().await;
    }
    run.panics();
}

#[background]
async fn fails(n: u64) -> Result<(), String> {
    let run = Run::begin(n);
    tokio::task::yield_now().await;
    run.err()
}

#[background]
fn blocks(n: u64, millis: u64) {
    let run = Run::begin(n);
    thread::sleep(Duration::from_millis(millis));
    run.ok();
}

#[background]
fn blocks_and_panics(n: u64) {
    Run::begin(n).panics();
}

#[background]
fn heeds_its_token(token: ShutdownToken, n: u64) -> Result<(), String> {
    let run = Run::begin(n);
    if token.sleep(Duration::from_millis(5)) {
        run.ok();
        Ok(())
    } else {
        run.err()
    }
}

#[background]
async fn calls_others(n: u64, depth: u32) {
    let run = Run::begin(n);
    let mut rng = rng(n);
    for _ in 0..2 {
        call_any(&mut rng, depth + 1);
        tokio::task::yield_now().await;
    }
    run.ok();
}

#[background]
fn blocks_and_calls_others(n: u64, depth: u32) {
    let run = Run::begin(n);
    call_any(&mut rng(n), depth + 1);
    run.ok();
}

/// Returns the random numbers of call `n`, which are the same in every process with one seed.
fn rng(n: u64) -> fastrand::Rng {
    fastrand::Rng::with_seed(plan().seed ^ n.rotate_left(32))
}

struct CallsWhenDropped(u64);

impl Drop for CallsWhenDropped {
    fn drop(&mut self) {
        call(Kind::Quick, &mut rng(self.0), 0);
    }
}

#[background]
async fn calls_from_a_drop(n: u64, panics: bool) {
    let run = Run::begin(n);
    let _calls = CallsWhenDropped(n);
    tokio::task::yield_now().await;
    if panics {
        run.panics();
    }
    run.ok();
}

#[background(coalesce(key = key, policy = "join"))]
async fn joins(n: u64, key: u8) {
    let run = Run::begin(n);
    let _ = key;
    tokio::time::sleep(Duration::from_millis(3)).await;
    run.ok();
}

#[background(coalesce(key = key, policy = "skip"))]
async fn skips(n: u64, key: u8) {
    let run = Run::begin(n);
    let _ = key;
    tokio::time::sleep(Duration::from_millis(3)).await;
    run.ok();
}

#[background(coalesce(key = key, policy = "replace"))]
async fn replaces(n: u64, key: u8) {
    let run = Run::begin(n);
    let _ = key;
    tokio::time::sleep(Duration::from_millis(3)).await;
    run.ok();
}

#[background(coalesce(key = key, policy = "trailing"))]
async fn trails(n: u64, key: u8) {
    let run = Run::begin(n);
    let _ = key;
    tokio::time::sleep(Duration::from_millis(3)).await;
    run.ok();
}

#[background(retry(max = 3, base = "2ms"))]
async fn tries_again(n: u64, attempts: Arc<AtomicU32>) -> Result<(), String> {
    attempt(n, &attempts)
}

#[background(retry(max = 3, base = "2ms", jitter))]
fn tries_again_blocking(n: u64, attempts: Arc<AtomicU32>) -> Result<(), String> {
    attempt(n, &attempts)
}

/// Succeeds at the first, second or third attempt, or never.
fn attempt(n: u64, attempts: &AtomicU32) -> Result<(), String> {
    let run = Run::begin(n);
    if u64::from(attempts.fetch_add(1, Ordering::Relaxed)) < n % 4 {
        return run.err();
    }
    run.ok();
    Ok(())
}

#[background(rate = "4/20ms")]
async fn at_a_rate(n: u64) {
    Run::begin(n).ok();
}

#[background(concurrency = 2)]
async fn two_at_a_time(n: u64) {
    let run = Run::begin(n);
    tokio::time::sleep(Duration::from_millis(2)).await;
    run.ok();
}

#[background(concurrency(max = 1, queue = 2, overflow = "drop_oldest"))]
async fn one_at_a_time(n: u64) {
    let run = Run::begin(n);
    tokio::time::sleep(Duration::from_millis(2)).await;
    run.ok();
}

#[background(concurrency(max = 1, queue = 1, overflow = "wait"))]
fn one_at_a_time_blocking(n: u64) {
    let run = Run::begin(n);
    thread::sleep(Duration::from_millis(2));
    run.ok();
}

#[background(timeout = "5ms")]
async fn runs_out_of_time(n: u64) {
    let run = Run::begin(n);
    // Also in a drain, so that only its limit ends it.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    run.ok();
}

#[background(timeout = "5ms")]
fn runs_out_of_time_blocking(n: u64, token: ShutdownToken) {
    let run = Run::begin(n);
    token.wait();
    run.ok();
}

#[background(on_shutdown = "cancel")]
async fn is_cancelled(n: u64) {
    let _run = Run::begin(n);
    std::future::pending::<()>().await;
}

#[background(on_shutdown = "finish")]
async fn finishes(token: ShutdownToken, n: u64) {
    let run = Run::begin(n);
    let nap = tokio::time::sleep(Duration::from_millis(15));
    token.run_until_cancelled(nap).await;
    run.ok();
}

#[background]
async fn hangs(n: u64) {
    let _run = Run::begin(n);
    std::future::pending::<()>().await;
}

#[background]
fn hangs_blocking(n: u64) {
    let run = Run::begin(n);
    thread::sleep(Duration::from_secs(600));
    run.ok();
}

/// Longer than the grace period, but not for ever.
#[background]
async fn never_yields(n: u64) {
    let run = Run::begin(n);
    thread::sleep(Duration::from_millis(700));
    run.ok();
}

#[background]
async fn watches(token: ShutdownToken, n: u64) {
    let run = Run::begin(n);
    token.cancelled().await;
    if token.reason().is_some() {
        write(format_args!("W"));
        println!("draining");
    }
    run.ok();
}

#[background]
async fn requests(n: u64) {
    let run = Run::begin(n);
    bgtask::request_shutdown("a task requests it");
    run.ok();
}

#[background(essential)]
async fn essential(n: u64) {
    Run::begin(n).ok();
}

#[background(every = "7ms")]
async fn ticks() -> Result<(), String> {
    let n = next();
    let run = Run::begin(n);
    write(format_args!("Z {n}"));
    match n % 3 {
        0 => return run.err(),
        1 => run.panics(),
        _ => run.ok(),
    }
    Ok(())
}

#[background(on_start)]
fn starts(token: ShutdownToken) {
    let n = next();
    let run = Run::begin(n);
    write(format_args!("Z {n}"));
    token.wait();
    run.ok();
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Quick,
    Slow,
    Panics,
    Fails,
    Blocks,
    BlocksAndPanics,
    HeedsItsToken,
    CallsOthers,
    BlocksAndCallsOthers,
    CallsFromADrop,
    Joins,
    Skips,
    Replaces,
    Trails,
    TriesAgain,
    TriesAgainBlocking,
    AtARate,
    TwoAtATime,
    OneAtATime,
    OneAtATimeBlocking,
    RunsOutOfTime,
    RunsOutOfTimeBlocking,
    IsCancelled,
    Finishes,
    // Only if the plan has them.
    Hangs,
    HangsBlocking,
    NeverYields,
    Watches,
    Requests,
    Essential,
}

/// The kinds that end by themselves, with their token or with the shutdown.
const ANY: [Kind; 24] = [
    Kind::Quick,
    Kind::Slow,
    Kind::Panics,
    Kind::Fails,
    Kind::Blocks,
    Kind::BlocksAndPanics,
    Kind::HeedsItsToken,
    Kind::CallsOthers,
    Kind::BlocksAndCallsOthers,
    Kind::CallsFromADrop,
    Kind::Joins,
    Kind::Skips,
    Kind::Replaces,
    Kind::Trails,
    Kind::TriesAgain,
    Kind::TriesAgainBlocking,
    Kind::AtARate,
    Kind::TwoAtATime,
    Kind::OneAtATime,
    Kind::OneAtATimeBlocking,
    Kind::RunsOutOfTime,
    Kind::RunsOutOfTimeBlocking,
    Kind::IsCancelled,
    Kind::Finishes,
];

/// Makes a random call. `depth` is the number of calls around it.
pub(crate) fn call_any(rng: &mut fastrand::Rng, depth: u32) {
    let kind = match rng.u8(0..20) {
        0 if plan().is_stubborn => Kind::Hangs,
        1 if plan().is_stubborn => Kind::HangsBlocking,
        _ => ANY[rng.usize(..ANY.len())],
    };
    call(kind, rng, depth);
}

pub(crate) fn call(kind: Kind, rng: &mut fastrand::Rng, depth: u32) {
    let n = next();
    let key = rng.u8(0..3);
    write(format_args!("C {n} {kind:?}"));
    match kind {
        Kind::Quick => treat(n, quick(n), rng),
        Kind::Slow => treat(n, slow(n, rng.u64(0..30)), rng),
        Kind::Panics => treat(n, panics(n, rng.bool()), rng),
        Kind::Fails => treat(n, fails(n), rng),
        Kind::Blocks => treat(n, blocks(n, rng.u64(0..8)), rng),
        Kind::BlocksAndPanics => treat(n, blocks_and_panics(n), rng),
        Kind::HeedsItsToken => treat(n, heeds_its_token(n), rng),
        Kind::CallsOthers if depth < 2 => treat(n, calls_others(n, depth), rng),
        Kind::BlocksAndCallsOthers if depth < 2 => {
            treat(n, blocks_and_calls_others(n, depth), rng);
        }
        Kind::CallsOthers | Kind::BlocksAndCallsOthers => treat(n, quick(n), rng),
        Kind::CallsFromADrop => treat(n, calls_from_a_drop(n, rng.bool()), rng),
        Kind::Joins => treat(n, joins(n, key), rng),
        Kind::Skips => treat(n, skips(n, key), rng),
        Kind::Replaces => treat(n, replaces(n, key), rng),
        Kind::Trails => treat(n, trails(n, key), rng),
        Kind::TriesAgain => treat(n, tries_again(n, Arc::default()), rng),
        Kind::TriesAgainBlocking => treat(n, tries_again_blocking(n, Arc::default()), rng),
        Kind::AtARate => treat(n, at_a_rate(n), rng),
        Kind::TwoAtATime => treat(n, two_at_a_time(n), rng),
        Kind::OneAtATime => treat(n, one_at_a_time(n), rng),
        Kind::OneAtATimeBlocking => treat(n, one_at_a_time_blocking(n), rng),
        Kind::RunsOutOfTime => treat(n, runs_out_of_time(n), rng),
        Kind::RunsOutOfTimeBlocking => treat(n, runs_out_of_time_blocking(n), rng),
        Kind::IsCancelled => treat(n, is_cancelled(n), rng),
        Kind::Finishes => treat(n, finishes(n), rng),
        Kind::Hangs => detach(n, hangs(n)),
        Kind::HangsBlocking => detach(n, hangs_blocking(n)),
        Kind::NeverYields => detach(n, never_yields(n)),
        Kind::Watches => detach(n, watches(n)),
        Kind::Requests => detach(n, requests(n)),
        Kind::Essential => detach(n, essential(n)),
    }
}

fn detach<T>(n: u64, handle: TaskHandle<T>) {
    write(format_args!("A {n} {}", handle.id()));
    drop(handle);
}

/// Uses a handle in a random way.
fn treat<T: Output>(n: u64, handle: TaskHandle<T>, rng: &mut fastrand::Rng) {
    write(format_args!("A {n} {}", handle.id()));
    match rng.u8(0..16) {
        0..5 => drop(handle),
        // Held for ever.
        5 => std::mem::forget(handle),
        6 => {
            write(format_args!("K {n}"));
            handle.abort();
        }
        7 => {
            write(format_args!("K {n}"));
            handle.cancel();
        }
        8 => {
            write(format_args!("K {n}"));
            handle.abort();
            wait(n, handle);
        }
        9 => {
            write(format_args!("K {n}"));
            handle.cancel();
            wait(n, handle);
        }
        _ => wait(n, handle),
    }
}

/// Logs the outcome of the handle, now or when its task ends.
fn wait<T: Output>(n: u64, mut handle: TaskHandle<T>) {
    let mut cx = Context::from_waker(Waker::noop());
    if let Poll::Ready(result) = Pin::new(&mut handle).poll(&mut cx) {
        return log_outcome(n, &result);
    }
    if let Some(runtime) = RUNTIME.get() {
        runtime.spawn(async move { log_outcome(n, &handle.await) });
    }
}

fn log_outcome<T: Output>(n: u64, result: &Result<T, TaskError>) {
    let outcome = match result {
        Ok(output) => output.outcome(),
        Err(TaskError::Panicked { .. }) => "panic",
        Err(TaskError::TimedOut) => "timed_out",
        Err(TaskError::Cancelled) => "cancelled",
        Err(TaskError::Aborted) => "aborted",
        Err(TaskError::Refused(RefusedReason::ShutDown)) => "shut_down",
        Err(TaskError::Refused(_)) => "refused",
        Err(TaskError::Skipped) => "skipped",
        Err(TaskError::Replaced) => "replaced",
        Err(_) => "another",
    };
    write(format_args!("H {n} {outcome}"));
}

trait Output: Send + 'static {
    fn outcome(&self) -> &'static str;
}

impl Output for () {
    fn outcome(&self) -> &'static str {
        "ok"
    }
}

impl Output for Result<(), String> {
    fn outcome(&self) -> &'static str {
        match self {
            Ok(()) => "ok",
            Err(_) => "err",
        }
    }
}
