//! No lint that a user can enable fires on the code that the attributes generate.
#![deny(
    warnings,
    absolute_paths_not_starting_with_crate,
    ambiguous_negative_literals,
    closure_returning_async_block,
    deprecated_in_future,
    deprecated_safe_2024,
    deref_into_dyn_supertrait,
    edition_2024_expr_fragment_specifier,
    elided_lifetimes_in_paths,
    explicit_outlives_requirements,
    ffi_unwind_calls,
    future_incompatible,
    if_let_rescope,
    impl_trait_overcaptures,
    impl_trait_redundant_captures,
    keyword_idents,
    let_underscore_drop,
    linker_messages,
    macro_use_extern_crate,
    meta_variable_misuse,
    missing_copy_implementations,
    missing_debug_implementations,
    missing_docs,
    missing_unsafe_on_extern,
    non_ascii_idents,
    nonstandard_style,
    redundant_imports,
    redundant_lifetimes,
    rust_2018_idioms,
    rust_2021_compatibility,
    rust_2024_compatibility,
    single_use_lifetimes,
    tail_expr_drop_order,
    trivial_casts,
    trivial_numeric_casts,
    unit_bindings,
    unnameable_types,
    unreachable_pub,
    unsafe_attr_outside_unsafe,
    unsafe_op_in_unsafe_fn,
    unstable_features,
    unused,
    unused_crate_dependencies,
    unused_extern_crates,
    unused_import_braces,
    unused_lifetimes,
    unused_macro_rules,
    unused_qualifications,
    unused_results,
    variant_size_differences
)]
#![deny(clippy::all, clippy::nursery, clippy::pedantic, clippy::restriction)]
#![allow(
    clippy::blanket_clippy_restriction_lints,
    clippy::needless_return,
    clippy::separated_literal_suffix,
    reason = "another lint asks for the opposite"
)]
#![allow(
    clippy::missing_inline_in_public_items,
    reason = "the function asks for it without the attribute just as well"
)]
#![forbid(unsafe_code)]

extern crate alloc;

mod blocks;

use alloc::sync::Arc;
use anyhow as _;
use async_trait as _;
#[cfg(feature = "durable")]
use bgtask::durable::Notify;
use bgtask::{ShutdownToken, State, TaskHandle, background};
use bgtask_ui_tests as _;
use core::future::ready;
use core::hash::Hash;
#[cfg(feature = "durable")]
use serde as _;
use std::io;
use tokio as _;
use tokio_util as _;
use trybuild as _;

/// Emits tasks.
macro_rules! tasks {
    ($($name:ident($($parameter:ident: $ty:ty),*) $body:block)*) => {
        $(
            /// Made by a macro.
            #[background]
            pub async fn $name($($parameter: $ty),*) $body
        )*
    };
}

/// The only service.
const SERVICE: Service = Service { number: 1 };

/// A state.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Client(Arc<()>);

/// A service.
#[derive(Debug)]
#[non_exhaustive]
pub struct Service {
    /// For keys.
    number: u32,
}

impl Service {
    /// No receiver.
    #[background]
    pub async fn associated(number: u32) -> u32 {
        return ready(number).await;
    }

    /// A method with fields.
    #[background(fields(number = self.number, left, ?right, text = %_text, hidden = redact(_text)))]
    pub async fn fields(self: Arc<Self>, left: u32, right: u32, _text: String) -> u32 {
        return ready(self.number.wrapping_add(left).wrapping_add(right)).await;
    }

    /// A method with an attribute that needs a function to stand on.
    #[background]
    #[tracing::instrument(skip_all)]
    #[expect(
        clippy::implicit_return,
        reason = "the lint is about the code of `instrument`"
    )]
    pub async fn instrumented(self: Arc<Self>, mut sum: u32, _unused: String) -> u32 {
        sum = ready(sum.wrapping_add(self.number)).await;
        return sum;
    }

    /// The same on the blocking pool, tried again, and `self` is of no use to it.
    #[background(retry(panics))]
    #[tracing::instrument(skip_all)]
    fn instrumented_blocking(self: Arc<Self>, text: String) -> u32 {
        drop(text);
        return 1;
    }

    /// No receiver, and `Self`.
    #[background]
    pub async fn makes() -> Self {
        return SERVICE;
    }

    /// No receiver, and `Self`.
    #[background(retry(max = 2))]
    pub async fn makes_again() -> io::Result<Self> {
        return ready(Ok(SERVICE)).await;
    }

    /// No receiver, and `Self`, on the blocking pool.
    #[background(retry(panics))]
    pub fn makes_again_blocking() -> Self {
        return SERVICE;
    }

    /// A method.
    #[background]
    pub async fn method(self: Arc<Self>, (left, right): (u32, u32), mut sum: u32) -> u32 {
        sum = sum.wrapping_add(left).wrapping_add(right);
        return sum;
    }

    /// A method that is tried again.
    #[background(retry(max = 2))]
    pub async fn method_again(
        self: Arc<Self>,
        token: ShutdownToken,
        _key: u32,
        mut sum: u32,
    ) -> io::Result<u32> {
        if token.is_cancelled() {
            sum = 0;
        }
        return ready(Ok(sum)).await;
    }

    /// A method that is tried again, on the blocking pool.
    #[background(retry(panics))]
    pub fn method_again_blocking(self: Arc<Self>, sum: u32) -> u32 {
        return sum;
    }

    /// A method with policies.
    #[background(
        timeout = "30s",
        concurrency(max = 1, key = (self.number, sum)),
        coalesce(key = left, policy = "replace")
    )]
    pub async fn method_with_policies(
        self: Arc<Self>,
        (left, right): (u32, u32),
        mut sum: u32,
        State(client): State<Client>,
    ) -> u32 {
        sum = ready(sum.wrapping_add(left)).await.wrapping_add(right);
        drop(client);
        return sum;
    }

    /// A plain method.
    #[background]
    pub fn plain_method(self: Arc<Self>, _number: u32) {
        drop(self);
    }

    /// A plain method with policies.
    #[background(rate = "1/s")]
    pub fn plain_method_with_policies(self: Arc<Self>, _number: u32) {
        drop(self);
    }

    /// Nobody calls it.
    #[background(on_start)]
    async fn starts() {
        ready(()).await;
    }
}

/// A parameter that has a lifetime, and one that has a name with an underscore.
#[background]
pub async fn task(token: ShutdownToken, _unused: String, mut number: u32) -> u32 {
    token.cancelled().await;
    number = number.wrapping_add(1);
    return number;
}

/// All the options.
#[background(
    name = "a name",
    log = "info",
    on_shutdown = "cancel",
    warn_after = "1m",
    crate = "::bgtask"
)]
pub async fn options() {
    ready(()).await;
}

/// An output that can fail.
#[background]
pub async fn fails() -> io::Result<()> {
    return ready(Ok(())).await;
}

/// A plain task.
#[background]
pub fn plain<T: Send + 'static>(value: T) {
    drop(value);
}

/// A plain task without parameters.
#[background]
pub fn plain_without() -> u32 {
    return 1;
}

/// A plain task that takes by value what it could borrow, were it called at once.
#[background]
pub fn takes_by_value(text: String, bytes: [u8; 1024]) -> usize {
    return text.len().wrapping_add(bytes.len());
}

/// Generic.
#[background]
pub async fn generic<T, const N: usize>(values: [T; N]) -> usize
where
    T: Send + 'static,
{
    return ready(values).await.len();
}

/// An `impl Trait`.
#[background]
#[expect(
    clippy::impl_trait_in_params,
    reason = "the lint is about the function"
)]
pub async fn impl_trait(name: impl Into<String> + Send + 'static) -> String {
    return ready(name).await.into();
}

/// Patterns, and a parameter that is not there.
#[background]
pub async fn with_cfg(
    #[cfg(any())] gone: Absent,
    (left, _): (u32, u32),
    _unused: String,
    mut right: u32,
) -> u32 {
    right = ready(right.wrapping_add(left)).await;
    return right;
}

/// Calls itself.
#[background]
pub async fn recursive(left: u32) {
    if let Some(next) = ready(left).await.checked_sub(1) {
        drop::<TaskHandle<()>>(recursive(next));
    }
}

/// Has a function within.
#[background]
pub async fn has_items() -> u32 {
    /// Makes a number.
    fn make() -> u32 {
        return 1;
    }
    return ready(make()).await.wrapping_add(make());
}

/// Clippy takes code for the user's if its source begins as it should, and here the source is the name.
#[background]
pub async fn returns_a_number(token_count: u32) -> u32 {
    return ready(token_count).await;
}

/// As above.
#[background]
pub fn let_go(number: u32) -> u32 {
    return number;
}

/// As above.
#[background]
pub async fn move_on(#[cfg(any())] gone: Absent, stop: u32) -> u32 {
    return ready(stop).await;
}

/// Has a name that marks it as unused.
#[background]
pub async fn _underscored() {
    ready(()).await;
}

/// All the policies.
#[background(
    timeout = "30s",
    retry(max = 5, backoff = "exponential", base = "200ms", cap = "30s", jitter, when = |error: &io::Error| return error.kind() == io::ErrorKind::Interrupted, panics, last_attempt = false),
    concurrency(max = 8, queue = 100, overflow = "drop_oldest", key = hook.len()),
    rate(limit = "100/s", key = (hook, attempt), overflow = "refuse"),
    coalesce(key = hook.as_str(), policy = "join"),
)]
pub async fn policies(
    token: ShutdownToken,
    State(client): State<Client>,
    hook: String,
    attempt: u32,
) -> io::Result<u32> {
    token.cancelled().await;
    drop((client.0, hook));
    return Ok(attempt);
}

/// The same on the blocking pool.
#[background(
    timeout = "30s",
    retry(when = |error: &io::Error| return error.kind() == io::ErrorKind::TimedOut),
    concurrency = 8,
    rate = "100/s",
    coalesce(key = hook, policy = "trailing")
)]
pub fn policies_blocking(
    client: State<Client>,
    (hook, mut attempt): (String, u32),
    _unused: String,
) -> io::Result<u32> {
    drop((client, hook));
    attempt = attempt.wrapping_add(1);
    if attempt > 9 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    return Ok(attempt);
}

/// Each alone.
#[background(timeout = "1s")]
pub fn with_timeout() {}

/// Each alone.
#[background(retry(panics))]
pub fn with_retry() -> u32 {
    return 1;
}

/// Each alone.
#[background(concurrency(max = 1, key = _number))]
pub async fn with_concurrency(_number: u32, stop: ShutdownToken) -> u32 {
    stop.cancelled().await;
    return 1;
}

/// Each alone.
#[background(coalesce(policy = "skip"))]
pub async fn _with_coalesce(_unused: String) {
    ready(()).await;
}

/// Each alone.
#[background(rate(limit = "1/m", key = (left, right)))]
pub async fn with_rate((left, _): (u32, u32), right: u32) -> u32 {
    return ready(left.wrapping_add(right)).await;
}

/// Each alone.
#[background(essential)]
pub async fn with_essential() {
    ready(()).await;
}

/// Each alone.
#[background]
pub async fn with_state(State(mut client): State<Client>, _unused: State<u32>) -> Client {
    client = ready(client.clone()).await;
    return client;
}

/// Generic.
#[background(coalesce(key = value), retry(panics))]
pub async fn generic_with_policies<T>(value: T) -> T
where
    T: Clone + Hash + Send + Sync + 'static,
{
    return ready(value).await;
}

/// Has a function within.
#[background(timeout = "1s")]
pub async fn has_items_and_policies() -> u32 {
    /// Makes a number.
    fn make() -> u32 {
        return 1;
    }
    return ready(make()).await.wrapping_add(make());
}

/// Clippy takes code for the user's if its source begins as it should, and here the source is the name.
#[background(retry)]
pub async fn return_later(if_so: u32) -> io::Result<u32> {
    return ready(Ok(if_so)).await;
}

/// As above.
#[background(coalesce(key = let_it))]
pub fn match_them(let_it: u32) -> u32 {
    return let_it;
}

/// As above, and there is a parameter that is not there.
#[background(retry, concurrency = 1)]
pub fn move_later(
    #[cfg(any())] gone: Absent,
    _unused: String,
    token: ShutdownToken,
) -> io::Result<u32> {
    if token.is_cancelled() {
        return Err(io::Error::from(io::ErrorKind::Interrupted));
    }
    return Ok(1);
}

/// Again and again.
#[background(every = "5m", missed = "skip", jitter = "10s", immediately)]
async fn purge(token: ShutdownToken, State(client): State<Client>) -> Result<(), String> {
    token.cancelled().await;
    drop(client);
    return Ok(());
}

/// The same on the blocking pool.
#[background(every = "5m", overlap)]
fn purge_blocking() -> u32 {
    return 1;
}

/// Always.
#[background(
    on_start,
    essential,
    restart(
        max = 5,
        window = "1m",
        when = "always",
        backoff = "linear",
        base = "1s",
        cap = "2s",
        jitter
    )
)]
pub async fn consume(token: ShutdownToken) {
    token.cancelled().await;
}

#[cfg(feature = "cron")]
/// At night.
#[background(cron = "0 3 * * *", timezone = "Europe/Berlin", missed = "all")]
async fn by_night() {
    ready(()).await;
}

#[cfg(feature = "cron")]
/// By the second.
#[background(cron = "*/10 0 3 * * *")]
fn by_the_second() {}

#[cfg(feature = "durable")]
/// Stored.
#[background(
    durable(queue = "mail", priority = 2, keep = "7d", was = "lints::old", unique(key = order, within = "1d"), notify = Notify::none()),
    concurrency(max = 2, key = order),
    rate = "5/s",
    retry(max = 5, when = |error: &io::Error| { return error.kind() != io::ErrorKind::NotFound; }),
    timeout = "30s"
)]
pub async fn stored(
    State(client): State<Client>,
    order: u64,
    _unused: String,
    token: ShutdownToken,
    job: bgtask::Job,
) -> io::Result<u64> {
    drop(ready((client, token, job)).await);
    return Ok(order);
}

#[cfg(feature = "durable")]
/// Stored, without a future or a value.
#[background(durable)]
pub fn stored_too((left, right): (String, String)) {
    drop((left, right));
}

tasks! {
    made(text: String) {
        drop(ready(text).await);
    }
}

#[bgtask::main(
    flavor = "current_thread",
    grace = "1s500ms",
    warn_after = "30s",
    dump = "SIGUSR1"
)]
async fn main() {
    bgtask::provide(Client(Arc::new(())));
    bgtask::provide(1_u32);
    drop(Arc::new(SERVICE).method_with_policies((1, 2), 3));
    drop(Arc::new(SERVICE).plain_method_with_policies(1));
    drop(Service::makes_again());
    drop(Service::makes_again_blocking());
    drop(generic_with_policies(1_u32));
    drop(has_items_and_policies());
    drop(match_them(1));
    drop(move_later(String::new()));
    drop(policies(String::new(), 1));
    drop(policies_blocking((String::new(), 1), String::new()));
    drop(return_later(1));
    drop(with_concurrency(1));
    drop(with_rate((1, 2), 3));
    drop(with_retry());
    drop(with_state());
    drop(with_timeout());
    drop(Arc::new(SERVICE).instrumented(1, String::new()));
    drop(Arc::new(SERVICE).instrumented_blocking(String::new()));
    drop(Arc::new(SERVICE).method((1, 2), 3));
    drop(Arc::new(SERVICE).method_again(1, 2));
    drop(Arc::new(SERVICE).method_again_blocking(1));
    drop(Arc::new(SERVICE).plain_method(1));
    drop(Service::associated(1));
    drop(Service::makes());
    drop(fails());
    drop(generic([1_u32]));
    drop(has_items());
    drop(impl_trait("name"));
    drop(let_go(1));
    drop(made(String::new()));
    drop(move_on(1));
    drop(options());
    drop(plain(1_u32));
    drop(plain_without());
    drop(recursive(1));
    drop(returns_a_number(1));
    drop(takes_by_value(String::new(), [0; 1024]));
    drop(task(String::new(), 1));
    drop(with_cfg((1, 2), String::new(), 3));
    blocks::forms(1, String::new());
    blocks::closures_that_make_futures(1);
    blocks::statement(1);
    blocks::each_alone(1);
    drop(blocks::generic(1_u32));
    drop(blocks::options(String::new(), 1));
    ready(()).await;
}

/// A function with arguments that other code calls.
///
/// # Errors
/// Never.
#[bgtask::main(flavor = "current_thread")]
pub async fn serve<T: Clone + Send>(
    name: &str,
    (first, _): (T, u8),
    shutdown: ShutdownToken,
) -> Result<T, io::Error> {
    assert!(!shutdown.is_cancelled(), "nobody has asked {name}");
    return ready(Ok(first.clone())).await;
}

#[bgtask::test]
async fn a_test_that_returns_nothing() {}

#[bgtask::test(flavor = "multi_thread", worker_threads = 2, drain = "1s500ms")]
async fn a_test_that_returns_a_result(shutdown: ShutdownToken) -> Result<(), std::io::Error> {
    assert!(!shutdown.is_cancelled(), "nobody has asked");
    Ok(())
}
