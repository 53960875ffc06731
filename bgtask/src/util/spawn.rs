//! The handing over to the runtime, by name: under `tokio_unstable` tokio-console shows each call as a task of its own.
//! Owns the difference that this makes; knows nothing of what it hands over.

#[cfg(not(tokio_unstable))]
use crate::util::panic::catch;
use std::future::Future;
use std::io;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Whether each call gets a runtime's task of its own: one that is used again would show all of its calls as one.
pub(crate) const EACH_ALONE: bool = cfg!(tokio_unstable);

/// Where tokio's panics about the lack of a thread come from: each is an error here, and reported as one.
pub(crate) const FILE: &str = file!();

/// Spawns a future. The console shows the nearest caller that is not `#[track_caller]` as its place.
#[cfg(tokio_unstable)]
#[track_caller]
pub(crate) fn spawn<F>(runtime: &Handle, name: &str, future: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    // Always `Ok`; and what is spawned answers for itself, so nobody waits for it.
    let _ = tokio::task::Builder::new()
        .name(name)
        .spawn_on(future, runtime);
}

#[cfg(not(tokio_unstable))]
#[inline]
pub(crate) fn spawn<F>(runtime: &Handle, _name: &str, future: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    drop(runtime.spawn(future));
}

/// Spawns a closure on the blocking pool.
///
/// # Errors
/// Where the pool has no thread and the operating system none to spare. The pool keeps the closure for a thread that may never
/// come.
#[cfg(tokio_unstable)]
#[track_caller]
pub(crate) fn spawn_blocking<F, T>(
    runtime: &Handle,
    name: &str,
    work: F,
) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    tokio::task::Builder::new()
        .name(name)
        .spawn_blocking_on(work, runtime)
}

#[cfg(not(tokio_unstable))]
#[inline]
pub(crate) fn spawn_blocking<F, T>(
    runtime: &Handle,
    _name: &str,
    work: F,
) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    // tokio panics then, which is not the caller's panic.
    catch(|| runtime.spawn_blocking(work)).map_err(|caught| io::Error::other(caught.message))
}
