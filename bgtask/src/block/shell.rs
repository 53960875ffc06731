//! `spawn!` as users see it: the documentation, and a macro that passes on the path of the crate, whatever its name.

/// Runs a block or a closure in the background, *tracked* like the call of a [`#[background]`](macro@crate::background) function.
///
/// `spawn!("name", work)` returns a [`TaskHandle`](crate::TaskHandle) at once and never blocks. The call is counted before the
/// work's first instruction, and a shutdown waits for it. A panic is reported, and so is an `Err` if the handle is dropped. The task
/// continues after that. With options: `spawn!("name", timeout = "30s", work)`. In a [`Group`](crate::Group):
/// `spawn!(in &group, "name", work)`.
///
/// # The parts
///
/// - `in &group`, if the call is a member of a group. Calls that the work makes are members, too. Calls that the caller makes while
///   it evaluates the work, such as those of `make()` in `spawn!(in &group, "sync", make())`, are not.
/// - **The name** in logs, reports and tests: a const expression, usually a string. Every `spawn!` is a
///   [`Handler`](crate::Handler) of its own, listed in [`handlers()`](crate::handlers) before its first call, with its own counts,
///   limits and spans. Several may share a name.
/// - **The options**, in any order.
/// - **The work**, whose first tokens decide where it runs:
///
/// | Work | Runs |
/// |---|---|
/// | `async { … }`, `async move { … }`, any other future: `fetch(x)`, a variable | on the runtime's workers |
/// | a closure that ends in an `async` block, an `async` closure | on the runtime's workers; the task calls the closure |
/// | any other closure | on the runtime's blocking pool |
///
/// Write the closure in the macro: wrap a variable or a function as `move || work()`. The closure may end a block that clones its
/// captures: `{ let text = text.clone(); move |token| async move { … } }`.
///
/// A closure may take a [`ShutdownToken`](crate::ShutdownToken) and [`State<_>`](crate::State)s, in any order. A single
/// parameter without a type is the token. The work captures everything else: write `move`.
///
/// # Options
///
/// `timeout`, `retry`, `concurrency`, `rate`, `coalesce`, `essential`, `on_shutdown`, `warn_after` and `log`, written as on
/// [`#[background]`](macro@crate::background#options) and with the same meaning.
///
/// - A `key` is evaluated before the call, and may use variables that the work captures.
/// - With `retry`, each attempt runs a clone of the block or the closure, so its captures must be `Clone`. An attempt that changes
///   a capture changes its own clone: to count across attempts, capture an `Arc<AtomicU32>`. An existing future cannot be cloned:
///   write `async move { fetch(x).await }` instead of `fetch(x)`.
/// - `every`, `cron` and `on_start` are options of functions with `#[background]`.
///
/// # Examples
///
/// A future that is detached, and one that is awaited:
///
/// ```
/// # async fn fetch(page: u32) -> std::io::Result<String> { Ok(page.to_string()) }
/// # #[bgtask::main]
/// # async fn main() -> anyhow::Result<()> {
/// bgtask::spawn!("warm the cache", async move {
///     for page in 0..10 {
///         fetch(page).await?;
///     }
///     std::io::Result::Ok(())
/// });
/// let page = bgtask::spawn!("fetch", fetch(1)).await??; // a TaskError, then the work's own error
/// # assert_eq!(page, "1");
/// # Ok(())
/// # }
/// ```
///
/// A closure that makes a future, with the token that fires when the process drains, and an `async` closure:
///
/// ```
/// # #[bgtask::main]
/// # async fn main() {
/// let (lines, mut received) = tokio::sync::mpsc::channel::<String>(8);
/// bgtask::spawn!("write lines", move |token| async move {
///     while let Some(Some(line)) = token.run_until_cancelled(received.recv()).await {
///         println!("{line}");
///     }
/// });
/// bgtask::spawn!("wait for the end", async move |token| {
///     token.cancelled().await;
///     drop(lines);
/// });
/// # }
/// ```
///
/// A closure that blocks, with the token and without:
///
/// ```
/// # #[bgtask::main]
/// # async fn main() -> Result<(), bgtask::TaskError> {
/// let data = vec![1_u8, 2, 3];
/// let sum = bgtask::spawn!("sum", move || data.iter().map(|&byte| u64::from(byte)).sum::<u64>());
/// assert_eq!(sum.await?, 6);
/// bgtask::spawn!("poll", |token| {
///     while token.sleep(std::time::Duration::from_secs(60)) { /* … */ }
/// });
/// # Ok(())
/// # }
/// ```
///
/// Options, and a state that the program [provides](crate::provide):
///
/// ```
/// use bgtask::{ShutdownToken, State, spawn};
/// # use std::io;
///
/// #[derive(Clone)]
/// struct Client { /* … */ }
/// # impl Client { async fn post(&self, _: &str) -> io::Result<()> { Ok(()) } }
///
/// fn order_placed(order: String) {
///     spawn!(
///         "tell the warehouse",
///         timeout = "30s",
///         retry(max = 5, jitter),
///         coalesce(key = order),
///         move |State(client): State<Client>, token: ShutdownToken| async move {
///             if token.is_cancelled() {
///                 return Ok(());
///             }
///             client.post(&order).await
///         },
///     );
/// }
/// # #[bgtask::main]
/// # async fn main() { bgtask::provide(Client {}); order_placed("1".into()); }
/// ```
///
/// A connection's work in a group:
///
/// ```
/// use bgtask::{Group, spawn};
///
/// async fn serve(connection: u32) {
///     let group = Group::new();
///     spawn!(in &group, "heartbeat", move |token| async move { token.cancelled().await; connection });
///     // … until the client goes …
///     group.drain(std::time::Duration::from_secs(5)).await;
/// }
/// # #[bgtask::main]
/// # async fn main() { serve(1).await }
/// ```
///
/// # The type of the output
///
/// The compiler must know it at the call, because the report of an error depends on it. If only a later line determines the output,
/// the compiler assumes `()`, and that line is an error such as "expected `()`, found `u64`". Write the type of the handle,
/// `let handle: TaskHandle<u64> = spawn!(…)`, or of the channel, `oneshot::channel::<u64>()`. Work that ends in `Ok(x)` must name
/// its error: `Ok::<_, io::Error>(x)`, `anyhow::Ok(x)`, or `TaskHandle<anyhow::Result<_>>` as the type of the handle.
/// [docs/blocks.md](https://github.com/bgtask/bgtask/blob/main/docs/blocks.md) has a table of the errors and their cures.
///
/// # Panics
/// If no manager can be found. The message names the cure.
#[macro_export]
macro_rules! spawn {
    ($($tokens:tt)*) => {
        $crate::__private::spawn!($crate; $($tokens)*)
    };
}
