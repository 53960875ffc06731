//! Every policy on every kind of function; no lint of the compiler fires.
#![deny(
    warnings,
    dead_code,
    let_underscore_drop,
    missing_docs,
    non_ascii_idents,
    rust_2018_idioms,
    single_use_lifetimes,
    trivial_casts,
    unreachable_pub,
    unused,
    unused_qualifications,
    unused_results,
    variant_size_differences
)]
#![forbid(unsafe_code)]

use bgtask::{ShutdownToken, State, background};
use std::io;
use std::sync::Arc;

/// A state.
#[derive(Clone, Debug)]
pub struct Client(u32);

/// All of them.
#[background(
    timeout = "30s",
    retry(max = 5, backoff = "exponential", base = "200ms", cap = "30s", jitter, when = is_passing, panics, last_attempt = false),
    concurrency(max = 8, queue = 100, overflow = "drop_oldest", key = hook.len()),
    rate(limit = "100/s", key = (hook, attempt), overflow = "refuse"),
    coalesce(key = hook.as_str(), policy = "join"),
)]
pub async fn deliver(
    token: ShutdownToken,
    State(client): State<Client>,
    hook: String,
    attempt: u32,
) -> io::Result<u32> {
    let _: bool = token.is_cancelled();
    drop(hook);
    Ok(client.0 + attempt)
}

fn is_passing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
}

/// Fields, and code around it.
#[background(fields(hook = %hook, ?attempt, secret = redact(hook)), wrap = around)]
pub async fn deliver_with_fields(hook: String, attempt: u32) -> usize {
    let _: u32 = attempt;
    hook.len()
}

/// The same with fields alone, on the blocking pool.
#[background(fields(hook = %hook, _attempt))]
pub fn deliver_with_fields_only(hook: String, _attempt: u32) -> usize {
    hook.len()
}

async fn around(attempt: bgtask::Attempt) {
    let _: bgtask::Outcome = attempt.await;
}

/// The same on the blocking pool.
#[background(
    timeout = "30s",
    retry(when = |error| error.kind() == io::ErrorKind::TimedOut),
    concurrency = 8,
    rate = "100/s",
    coalesce(key = hook, policy = "trailing"),
)]
pub fn deliver_blocking(
    client: State<Client>,
    (hook, mut attempt): (String, u32),
) -> io::Result<u32> {
    attempt += 1;
    drop(hook);
    Ok(client.0.0 + attempt)
}

/// Generic.
#[background(coalesce(key = value), retry(panics))]
pub async fn generic<T>(value: T, add: impl Clone + Send + 'static) -> T
where
    T: Clone + std::hash::Hash + Send + Sync + 'static,
{
    drop(add);
    value
}

/// A plain function that takes nothing.
#[background(timeout = "1s")]
pub fn nothing() {}

/// Nothing, again and again.
#[background(retry(panics))]
pub fn nothing_again() {}

/// A service.
#[derive(Debug)]
pub struct Service(u32);

impl Service {
    /// A method.
    #[background(timeout = "30s", concurrency(max = 1, key = self.0), coalesce(key = (self.0, key), policy = "skip"))]
    pub async fn method(self: Arc<Self>, key: String, State(client): State<Client>) -> u32 {
        drop(key);
        self.0 + client.0
    }

    /// A plain method.
    #[background(rate = "1/s")]
    pub fn plain_method(self: Arc<Self>) -> u32 {
        self.0
    }

    /// Without a receiver.
    #[background(retry(max = 2))]
    pub async fn associated(
        #[cfg(any(test, not(test)))] number: u32,
        #[cfg(any())] missing: u32,
    ) -> Result<Self, ()> {
        Ok(Self(number))
    }
}

#[background(every = "5m", missed = "skip", jitter = "10s", immediately)]
async fn purge(token: ShutdownToken, State(_client): State<Client>) -> Result<(), String> {
    let _: bool = token.is_cancelled();
    Ok(())
}

#[background(every = "5m", overlap)]
fn purge_blocking() {}

#[background(
    on_start,
    essential,
    restart(max = 5, window = "1m", backoff = "linear", when = "always")
)]
async fn consume(token: ShutdownToken) {
    token.cancelled().await;
}

mod private {
    /// A schedule in an `impl`, where nobody calls it.
    #[derive(Debug)]
    pub(crate) struct Private;

    impl Private {
        #[bgtask::background(on_start)]
        async fn starts() {}
    }
}

macro_rules! hidden {
    ($name:ident, $key:ident, $($option:tt)*) => {
        #[background($($option)*)]
        async fn $name($key: u32) -> u32 {
            $key
        }
    };
}
hidden!(from_a_macro, key, coalesce(key = key), timeout = "1s");

#[bgtask::main(flavor = "current_thread", grace = "1s500ms")]
async fn main() {
    bgtask::provide(Client(1));
    let private::Private = private::Private;
    assert_eq!(deliver("hook".into(), 1).await.unwrap().unwrap(), 2);
    assert_eq!(
        deliver_blocking(("hook".into(), 1)).await.unwrap().unwrap(),
        3
    );
    assert_eq!(generic(7, "x").await, Ok(7));
    assert_eq!(nothing().await, Ok(()));
    assert_eq!(nothing_again().await, Ok(()));
    let service = Arc::new(Service(5));
    assert_eq!(service.clone().method("a".into()).await, Ok(6));
    assert_eq!(service.plain_method().await, Ok(5));
    assert_eq!(Service::associated(3).await.unwrap().unwrap().0, 3);
    assert_eq!(from_a_macro(4).await, Ok(4));
}
