//! The lints on `spawn!`: every form of work, and every option.

#![allow(
    clippy::pub_with_shorthand,
    clippy::redundant_pub_crate,
    clippy::single_call_fn,
    reason = "each function here is a case that the program calls once"
)]

use super::Client;
use bgtask::{ShutdownToken, State, TaskHandle, spawn};
use core::future::ready;
use std::io;

/// Emits calls.
macro_rules! spawned {
    ($($name:literal => $number:expr),*) => {
        [$(spawn!($name, async move { return ready($number).await; })),*]
    };
}

/// Every form.
pub(super) fn forms(number: u32, text: String) {
    drop(spawn!("a block", async {
        ready(()).await;
    }));
    drop(spawn!("one that moves", async move {
        return ready(number).await.wrapping_add(1);
    }));
    drop(spawn!("a future", ready(number)));
    let future = ready(number);
    drop(spawn!("a variable", future));
    drop(spawn!("blocks", move || drop(text)));
    drop(spawn!("blocks with the token", move |token| {
        return token.is_cancelled();
    }));
    drop(spawn!("its type", |token: ShutdownToken| -> bool {
        return token.is_cancelled();
    }));
    drop(spawn!("an async closure", async move |token| {
        token.cancelled().await;
        return number;
    }));
    drop(spawn!("an async closure without", async || {
        return ready(1_u32).await;
    }));
    drop::<[TaskHandle<u32>; 2]>(spawned!("one" => 1_u32, "two" => 2_u32));
}

/// Closures that make futures.
pub(super) fn closures_that_make_futures(number: u32) {
    drop(spawn!("makes one", move || return async move {
        return ready(number).await;
    }));
    drop(spawn!(
        "makes one from the token",
        move |token| return async move {
            token.cancelled().await;
            return number;
        }
    ));
    drop(spawn!("again", retry(panics), move |_| return async move {
        return ready(number).await;
    }));
}

/// In a generic function.
pub(super) fn generic<T: Clone + Send + 'static>(value: T) -> TaskHandle<T> {
    return spawn!("generic", coalesce(key = 1_u32), async move {
        return ready(value).await;
    });
}

/// As a statement, which drops the handle.
pub(super) fn statement(number: u32) {
    spawn!("statement", async move {
        ready(()).await;
        return number;
    });
}

/// All the options.
pub(super) fn options(hook: String, attempt: u32) -> TaskHandle<io::Result<u32>> {
    return spawn!(
        "options",
        timeout = "30s",
        retry(
            max = 5,
            backoff = "exponential",
            base = "200ms",
            cap = "30s",
            jitter,
            when = |error: &io::Error| return error.kind() == io::ErrorKind::Interrupted,
            panics
        ),
        concurrency(
            max = 8,
            queue = 100,
            overflow = "drop_oldest",
            key = hook.len()
        ),
        rate(limit = "100/s", key = (&hook, attempt), overflow = "refuse"),
        coalesce(key = hook.as_str(), policy = "join"),
        log = "info",
        on_shutdown = "cancel",
        warn_after = "1m",
        async move {
            drop(ready(hook).await);
            return Ok(attempt);
        },
    );
}

/// Each alone.
pub(super) fn each_alone(number: u32) {
    drop(spawn!("timeout", timeout = "1s", || ()));
    drop(spawn!("retry", retry(panics), || {
        return 1_u32;
    }));
    drop(spawn!(
        "concurrency",
        concurrency(max = 1, key = number),
        async {
            ready(()).await;
        }
    ));
    drop(spawn!("rate", rate = "1/m", ready(())));
    drop(spawn!("essential", essential, ready(())));
    drop(spawn!(
        "states",
        |token: ShutdownToken, State(client): State<Client>| {
            drop((token, client));
        }
    ));
    drop(spawn!(
        "states again",
        retry,
        async |State(mut client): State<Client>, _unused: State<u32>| {
            client = ready(client.clone()).await;
            drop(client);
            return io::Result::Ok(());
        }
    ));
}
