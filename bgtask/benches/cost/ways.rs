//! The ways to run something in the background: bgtask's, its peers', and the hand-written idiom.
//! Each makes no-op calls and waits until all have ended; must never know how it is measured.

use crate::host::Host;
use bgtask::{ShutdownToken, State, background};
use futures_util::FutureExt;
use std::cell::Cell;
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_graceful_shutdown::errors::GracefulShutdownError;
use tokio_graceful_shutdown::{SubsystemBuilder, SubsystemHandle, Toplevel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// Makes this number of calls and resolves when all have ended.
pub(crate) type Wave = Box<dyn FnMut(u32) -> Pin<Box<dyn Future<Output = ()>>>>;

pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) host: Host,
    /// Called on the runtime. Keeps between waves the values that a program would create once at its start.
    start: fn() -> Wave,
}

pub(crate) const BARE: &str = "tokio::spawn";
pub(crate) const TRACKER: &str = "TaskTracker";
pub(crate) const IDIOM: &str = "idiom";
pub(crate) const BGTASK: &str = "bgtask";
pub(crate) const BGTASK_TOKEN: &str = "bgtask, token";
pub(crate) const BGTASK_MANAGER: &str = "bgtask, own Manager";
const BGTASK_RESULT: &str = "bgtask, Result";
pub(crate) const BGTASK_GROUP: &str = "bgtask, in a Group";
pub(crate) const BGTASK_ARGUMENT: &str = "bgtask, argument";
pub(crate) const BGTASK_STATE: &str = "bgtask, State";
pub(crate) const WITH_TIMEOUT: &str = "bgtask, timeout";
pub(crate) const WITH_RETRY: &str = "bgtask, retry";
pub(crate) const WITH_CONCURRENCY: &str = "bgtask, concurrency";
pub(crate) const WITH_COALESCE: &str = "bgtask, coalesce";
pub(crate) const WITH_RATE: &str = "bgtask, rate";
pub(crate) const WITH_ALL: &str = "bgtask, all five";
pub(crate) const BLOCK: &str = "spawn!";
pub(crate) const BLOCK_TOKEN: &str = "spawn!, token";
pub(crate) const BLOCK_TIMEOUT: &str = "spawn!, timeout";
pub(crate) const BLOCK_RETRY: &str = "spawn!, retry";
pub(crate) const SPAWN_BLOCKING: &str = "spawn_blocking";
pub(crate) const BGTASK_PLAIN: &str = "bgtask, plain fn";

pub(crate) const WAYS: &[Way] = &[
    way(BARE, Host::Plain, bare),
    way(TRACKER, Host::Plain, tracker),
    way("JoinSet", Host::Plain, join_set),
    way("tokio-graceful", Host::Plain, graceful),
    way("tokio-graceful-shutdown", Host::Plain, graceful_shutdown),
    way(IDIOM, Host::Plain, idiom),
    way(BGTASK, Host::Main, tracked),
    way(BGTASK_TOKEN, Host::Main, tracked_with_token),
    way(BGTASK_RESULT, Host::Main, tracked_with_result),
    way(BGTASK_MANAGER, Host::Manager, tracked),
    way(BGTASK_GROUP, Host::Main, tracked_in_group),
    way(BGTASK_ARGUMENT, Host::Main, tracked_with_argument),
    way(BGTASK_STATE, Host::Main, tracked_with_state),
    way(WITH_TIMEOUT, Host::Main, with_timeout),
    way(WITH_RETRY, Host::Main, with_retry),
    way(WITH_CONCURRENCY, Host::Main, with_concurrency),
    way(WITH_COALESCE, Host::Main, with_coalesce),
    way(WITH_RATE, Host::Main, with_rate),
    way(WITH_ALL, Host::Main, with_all),
    way(BLOCK, Host::Main, block),
    way(BLOCK_TOKEN, Host::Main, block_with_token),
    way(BLOCK_TIMEOUT, Host::Main, block_with_timeout),
    way(BLOCK_RETRY, Host::Main, block_with_retry),
    way(SPAWN_BLOCKING, Host::Plain, blocking),
    way(BGTASK_PLAIN, Host::Main, tracked_blocking),
];

impl Way {
    /// Starts the way. Provides the state in every program with `#[bgtask::main]`, so that bgtask's check for missing state ends.
    pub(crate) fn start(&self) -> Wave {
        if self.host == Host::Main {
            bgtask::provide(Pool(Arc::default()));
        }
        (self.start)()
    }

    /// On the blocking pool, where `spawn_blocking` is the bare thing.
    pub(crate) fn is_blocking(&self) -> bool {
        [SPAWN_BLOCKING, BGTASK_PLAIN].contains(&self.name)
    }
}

const fn way(name: &'static str, host: Host, start: fn() -> Wave) -> Way {
    Way { name, host, start }
}

pub(crate) fn named(name: &str) -> &'static Way {
    let found = WAYS.iter().find(|way| way.name == name);
    found.unwrap_or_else(|| panic!("there is no way {name:?}"))
}

/// The same wait for all ways, so that the wait does not distort the comparison.
async fn until(all_have_ended: impl Fn() -> bool) {
    while !all_have_ended() {
        tokio::task::yield_now().await;
    }
}

/// Waits until no tasks are left on the runtime except `own`, which live as long as the way.
async fn until_all_ended(own: usize) {
    let metrics = Handle::current().metrics();
    until(|| metrics.num_alive_tasks() <= own).await;
}

fn calls(mut call: impl FnMut() + 'static) -> Wave {
    let own = Handle::current().metrics().num_alive_tasks();
    Box::new(move |calls| {
        (0..calls).for_each(|_| call());
        Box::pin(until_all_ended(own))
    })
}

/// The runtime's tasks stay for the next calls, so the manager's counts decide when all have ended.
fn tracked_calls(call: impl Fn() + 'static) -> Wave {
    Box::new(move |calls| {
        (0..calls).for_each(|_| call());
        Box::pin(until(|| bgtask::stats().running == 0))
    })
}

fn bare() -> Wave {
    calls(|| drop(tokio::spawn(async {})))
}

fn tracker() -> Wave {
    let tracker = TaskTracker::new();
    calls(move || drop(tracker.spawn(async {})))
}

fn join_set() -> Wave {
    let set = Arc::new(Mutex::new(JoinSet::new()));
    Box::new(move |calls| {
        let set = set.clone();
        Box::pin(async move {
            let mut set = set.lock().await;
            for _ in 0..calls {
                set.spawn(async {});
            }
            while set.join_next().await.is_some() {}
        })
    })
}

fn graceful() -> Wave {
    let shutdown = tokio_graceful::Shutdown::new(pending::<()>());
    calls(move || drop(shutdown.spawn_task(async {})))
}

/// Each call is a subsystem nested in one that starts them all.
fn graceful_shutdown() -> Wave {
    async fn no_op(_: &mut SubsystemHandle) -> Result<(), BoxedError> {
        Ok(())
    }
    let own = Handle::current().metrics().num_alive_tasks();
    Box::new(move |calls| {
        Box::pin(async move {
            let top = Toplevel::new(async move |subsystem: &mut SubsystemHandle| {
                for _ in 0..calls {
                    subsystem.start(SubsystemBuilder::new("call", no_op));
                }
                subsystem.wait_for_children().await;
            });
            let ended: Result<(), GracefulShutdownError> =
                top.handle_shutdown_requests(Duration::from_secs(60)).await;
            ended.expect("nothing fails");
            until_all_ended(own).await;
        })
    })
}

/// The hand-written idiom of a careful program: counted, cancellable, panics caught, in a span.
fn idiom() -> Wave {
    let tracker = TaskTracker::new();
    let shutdown = CancellationToken::new();
    calls(move || idiomatic_call(&tracker, &shutdown, async |_token| {}))
}

pub(crate) fn idiomatic_call<F>(
    tracker: &TaskTracker,
    shutdown: &CancellationToken,
    work: impl FnOnce(CancellationToken) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let work = work(shutdown.child_token());
    let caught = AssertUnwindSafe(work).catch_unwind();
    tracker.spawn(caught.instrument(tracing::info_span!("task")));
}

#[background]
pub(crate) async fn nothing() {}

#[background]
async fn nothing_in_group() {}

#[background]
async fn nothing_with_token(_token: ShutdownToken) {}

#[background]
async fn nothing_with_result() -> Result<(), BoxedError> {
    Ok(())
}

/// A provided value, such as a pool: a handle that is cheap to clone.
#[derive(Clone)]
struct Pool(#[allow(dead_code, reason = "only its clone costs")] Arc<u64>);

#[background]
async fn nothing_with_argument(_pool: Pool) {}

#[background]
async fn nothing_with_state(_pool: State<Pool>) {}

#[background]
fn nothing_blocking() {}

// Policies that admit every call immediately: only the check is measured.
#[background(timeout = "1h")]
async fn nothing_with_timeout() {}

#[background(retry(max = 2))]
async fn nothing_with_retry() -> Result<(), BoxedError> {
    Ok(())
}

#[background(concurrency(max = 1_000_000))]
async fn nothing_with_concurrency() {}

#[background(coalesce(key = key, policy = "skip"))]
async fn nothing_with_coalesce(key: u64) {
    let _ = key;
}

#[background(rate = "1000000000/s")]
async fn nothing_with_rate() {}

#[background(
    timeout = "1h",
    retry(max = 2),
    concurrency(max = 1_000_000),
    coalesce(key = key, policy = "skip"),
    rate = "1000000000/s"
)]
async fn nothing_with_all(key: u64) {
    let _ = key;
}

fn tracked() -> Wave {
    tracked_calls(|| drop(nothing()))
}

fn tracked_with_token() -> Wave {
    tracked_calls(|| drop(nothing_with_token()))
}

fn tracked_with_result() -> Wave {
    tracked_calls(|| drop(nothing_with_result()))
}

/// Passes the value that a state has, as an argument.
fn tracked_with_argument() -> Wave {
    let pool = Pool(Arc::default());
    tracked_calls(move || drop(nothing_with_argument(pool.clone())))
}

fn tracked_with_state() -> Wave {
    tracked_calls(|| drop(nothing_with_state()))
}

/// The group is kept from one call to the next, as a connection's is.
fn tracked_in_group() -> Wave {
    let group = bgtask::Group::new();
    tracked_calls(move || drop(group.run(|| nothing_in_group())))
}

fn with_timeout() -> Wave {
    tracked_calls(|| drop(nothing_with_timeout()))
}

fn with_retry() -> Wave {
    tracked_calls(|| drop(nothing_with_retry()))
}

fn with_concurrency() -> Wave {
    tracked_calls(|| drop(nothing_with_concurrency()))
}

/// Each call has its own key, so that none is skipped.
fn keyed(call: fn(u64)) -> Wave {
    let key = Cell::new(0);
    tracked_calls(move || {
        key.set(key.get() + 1);
        call(key.get());
    })
}

fn with_coalesce() -> Wave {
    keyed(|key| drop(nothing_with_coalesce(key)))
}

fn with_rate() -> Wave {
    tracked_calls(|| drop(nothing_with_rate()))
}

fn with_all() -> Wave {
    keyed(|key| drop(nothing_with_all(key)))
}

// The same calls as blocks.

fn block() -> Wave {
    tracked_calls(|| drop(bgtask::spawn!("nothing", async {})))
}

fn block_with_token() -> Wave {
    tracked_calls(|| drop(bgtask::spawn!("nothing with token", |_token| async {})))
}

fn block_with_timeout() -> Wave {
    tracked_calls(|| {
        drop(bgtask::spawn!(
            "nothing with timeout",
            timeout = "1h",
            async {}
        ));
    })
}

fn block_with_retry() -> Wave {
    tracked_calls(|| {
        drop(bgtask::spawn!(
            "nothing with retry",
            retry(max = 2),
            async { Ok::<(), BoxedError>(()) }
        ));
    })
}

/// One after another: a burst would measure how many threads the pool makes.
fn one_by_one<F: Future + 'static>(call: impl Fn() -> F + Clone + 'static) -> Wave {
    Box::new(move |calls| {
        let call = call.clone();
        Box::pin(async move {
            for _ in 0..calls {
                call().await;
            }
        })
    })
}

fn blocking() -> Wave {
    one_by_one(|| tokio::task::spawn_blocking(|| {}))
}

fn tracked_blocking() -> Wave {
    one_by_one(nothing_blocking)
}
