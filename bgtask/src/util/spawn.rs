//! Spawning on the runtime. With `tokio_unstable`, each spawn has a name, which tokio-console shows.
//! Owns the difference that this makes; must never know what it spawns.

#[cfg(not(tokio_unstable))]
use crate::util::panic::catch;
use std::future::Future;
use std::io;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Whether each call gets its own task of the runtime. With pooled tasks, tokio-console would show many calls as one.
pub(crate) const EACH_ALONE: bool = cfg!(tokio_unstable);

/// The file in which tokio panics if it cannot spawn a thread. That panic is caught here and reported as an error.
pub(crate) const FILE: &str = file!();

/// Spawns a future. tokio-console shows the nearest caller without `#[track_caller]` as its location.
#[cfg(tokio_unstable)]
#[track_caller]
pub(crate) fn spawn<F>(runtime: &Handle, name: &str, future: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    // Always `Ok`. The future reports its own result, so the handle is not needed.
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

/// Keeps `guard` until the runtime ends, which drops it. If the runtime has ended, drops it immediately.
pub(crate) fn keep_until_end(runtime: &Handle, guard: impl Send + 'static) {
    spawn(runtime, "bgtask", async move {
        let _guard = guard;
        std::future::pending().await
    });
}

/// Spawns a closure on the blocking pool.
///
/// # Errors
///
/// Returns an error if the pool has no idle thread and the operating system cannot spawn one. The pool keeps the closure for a
/// thread that it may never get.
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
    // tokio panics in that case.
    catch(|| runtime.spawn_blocking(work)).map_err(|caught| io::Error::other(caught.message))
}
