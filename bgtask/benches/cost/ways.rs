//! The ways to run something in the background: bgtask's, its peers', and the hand-written idiom.
//! Each makes no-op calls and waits until all of them have ended; knows nothing of how it is measured.

use bgtask::{Manager, ShutdownToken, background};
use futures_util::FutureExt;
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_graceful_shutdown::errors::GracefulShutdownError;
use tokio_graceful_shutdown::{SubsystemBuilder, SubsystemHandle, Toplevel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// Makes so many calls, and returns when all of them have ended.
pub(crate) type Wave<'a> = Box<dyn FnMut(u32) + 'a>;

pub(crate) struct Way {
    pub(crate) name: &'static str,
    /// What it makes once, as a program would at its start, is kept from one wave to the next.
    pub(crate) start: fn(&Runtime) -> Wave<'_>,
}

pub(crate) const BARE: &str = "tokio::spawn";
pub(crate) const TRACKER: &str = "TaskTracker";
pub(crate) const IDIOM: &str = "idiom";
pub(crate) const BGTASK: &str = "bgtask";
pub(crate) const BGTASK_TOKEN: &str = "bgtask, token";
pub(crate) const SPAWN_BLOCKING: &str = "spawn_blocking";
pub(crate) const BGTASK_PLAIN: &str = "bgtask, plain fn";

pub(crate) const WAYS: &[Way] = &[
    way(BARE, bare),
    way(TRACKER, tracker),
    way("JoinSet", join_set),
    way("tokio-graceful", graceful),
    way("tokio-graceful-shutdown", graceful_shutdown),
    way(IDIOM, idiom),
    way(BGTASK, tracked),
    way(BGTASK_TOKEN, tracked_with_token),
    way(SPAWN_BLOCKING, blocking),
    way(BGTASK_PLAIN, tracked_blocking),
];

const fn way(name: &'static str, start: fn(&Runtime) -> Wave<'_>) -> Way {
    Way { name, start }
}

pub(crate) fn named(name: &str) -> &'static Way {
    let found = WAYS.iter().find(|way| way.name == name);
    found.unwrap_or_else(|| panic!("there is no way {name:?}"))
}

/// The same wait for all, so that none is measured by how it waits.
async fn until_all_ended(runtime: &Runtime) {
    while runtime.metrics().num_alive_tasks() > 0 {
        tokio::task::yield_now().await;
    }
}

fn bare(runtime: &Runtime) -> Wave<'_> {
    Box::new(|calls| {
        runtime.block_on(async {
            for _ in 0..calls {
                tokio::spawn(async {});
            }
            until_all_ended(runtime).await;
        });
    })
}

fn tracker(runtime: &Runtime) -> Wave<'_> {
    let tracker = TaskTracker::new();
    Box::new(move |calls| {
        runtime.block_on(async {
            for _ in 0..calls {
                tracker.spawn(async {});
            }
            until_all_ended(runtime).await;
        });
    })
}

fn join_set(runtime: &Runtime) -> Wave<'_> {
    let mut set = JoinSet::new();
    Box::new(move |calls| {
        runtime.block_on(async {
            for _ in 0..calls {
                set.spawn(async {});
            }
            while set.join_next().await.is_some() {}
        });
    })
}

fn graceful(runtime: &Runtime) -> Wave<'_> {
    let shutdown = runtime.block_on(async { tokio_graceful::Shutdown::new(pending::<()>()) });
    // Its own tasks live as long as it does.
    let own = runtime.metrics().num_alive_tasks();
    Box::new(move |calls| {
        runtime.block_on(async {
            for _ in 0..calls {
                shutdown.spawn_task(async {});
            }
            while runtime.metrics().num_alive_tasks() > own {
                tokio::task::yield_now().await;
            }
        });
    })
}

/// Each call is a subsystem nested in one that starts them all.
fn graceful_shutdown(runtime: &Runtime) -> Wave<'_> {
    async fn no_op(_: &mut SubsystemHandle) -> Result<(), BoxedError> {
        Ok(())
    }
    Box::new(move |calls| {
        runtime.block_on(async {
            let top = Toplevel::new(async move |subsystem: &mut SubsystemHandle| {
                for _ in 0..calls {
                    subsystem.start(SubsystemBuilder::new("call", no_op));
                }
                subsystem.wait_for_children().await;
            });
            let ended: Result<(), GracefulShutdownError> =
                top.handle_shutdown_requests(Duration::from_secs(60)).await;
            ended.expect("nothing fails");
            until_all_ended(runtime).await;
        });
    })
}

/// What a careful program writes by hand: counted, cancellable, its panics caught, in a span.
fn idiom(runtime: &Runtime) -> Wave<'_> {
    let tracker = TaskTracker::new();
    let shutdown = CancellationToken::new();
    Box::new(move |calls| {
        runtime.block_on(async {
            for _ in 0..calls {
                idiomatic_call(&tracker, &shutdown, async |_token| {});
            }
            until_all_ended(runtime).await;
        });
    })
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
async fn nothing() {}

#[background]
async fn nothing_with_token(_token: ShutdownToken) {}

#[background]
fn nothing_blocking() {}

/// The manager that a program would make at its start.
fn manager(runtime: &Runtime) -> Manager {
    let installed = Manager::builder().install_on(runtime.handle());
    installed.expect("the only manager")
}

fn with_manager<'a>(runtime: &'a Runtime, call: impl Fn() + 'a) -> Wave<'a> {
    let manager = manager(runtime);
    Box::new(move |calls| {
        let _keep = &manager;
        runtime.block_on(async {
            for _ in 0..calls {
                call();
            }
            until_all_ended(runtime).await;
        });
    })
}

fn tracked(runtime: &Runtime) -> Wave<'_> {
    with_manager(runtime, || drop(nothing()))
}

fn tracked_with_token(runtime: &Runtime) -> Wave<'_> {
    with_manager(runtime, || drop(nothing_with_token()))
}

/// One after another: a burst would measure how many threads the pool makes.
fn one_by_one<'a, F: Future>(runtime: &'a Runtime, mut call: impl FnMut() -> F + 'a) -> Wave<'a> {
    Box::new(move |calls| {
        runtime.block_on(async {
            for _ in 0..calls {
                call().await;
            }
        });
    })
}

fn blocking(runtime: &Runtime) -> Wave<'_> {
    one_by_one(runtime, || tokio::task::spawn_blocking(|| {}))
}

fn tracked_blocking(runtime: &Runtime) -> Wave<'_> {
    let manager = manager(runtime);
    one_by_one(runtime, move || {
        let _keep = &manager;
        nothing_blocking()
    })
}
