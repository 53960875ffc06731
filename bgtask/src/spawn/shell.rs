//! `spawn!` as users see it: the documentation, and a shell that passes the path of the crate on, whatever name it has there.

/// Runs a block or a closure in the background, at the place where it is written, *tracked* as the call of a
/// [`#[background]`](macro@crate::background) function is.
///
/// `spawn!("name", work)` returns a [`TaskHandle`](crate::TaskHandle) at once and never blocks. The call is counted before the
/// work's first instruction, and a shutdown waits for it. A panic is reported, and so is an `Err` that nobody looks at. The task
/// goes on when the handle is dropped. With options: `spawn!("name", timeout = "30s", work)`; in a
/// [`Group`](crate::Group): `spawn!(in &group, "name", work)`.
///
/// # The parts
///
/// - `in &group`, if the call is a member of a group. Calls that the work makes are members, too. Calls that the caller makes while
///   it evaluates the work, such as those in `make()` in `spawn!(in &group, "sync", make())`, are not.
/// - **The name**: what logs, reports and tests call the work. A const expression, mostly a string. Every site is a
///   [`Handler`](crate::Handler) of its own, in [`handlers()`](crate::handlers) before its first call, with its own counts, limits
///   and spans. Sites may share a name.
/// - **The options**, in any order.
/// - **The work**, whose first tokens decide how it runs:
///
/// | work | runs |
/// |---|---|
/// | `async { … }`, `async move { … }`, any other future: `fetch(x)`, a variable | on the runtime's workers |
/// | a closure that ends in an `async` block, an `async` closure | the same; the task calls it |
/// | any other closure | on the runtime's blocking pool |
///
/// The closure is written in place: wrap one that is in a variable, and a function: `move || work()`. It may stand at the end of a
/// block that clones what the closure captures: `{ let text = text.clone(); move |token| async move { … } }`.
///
/// A closure may take a [`ShutdownToken`](crate::ShutdownToken) and [`State<_>`](crate::State)s, in any order. A single
/// parameter without a type is the token. What else the work needs, it captures: write `move`.
///
/// # Options
///
/// `timeout`, `retry`, `concurrency`, `rate`, `coalesce`, `essential`, `on_shutdown`, `warn_after` and `log`, written as on
/// [`#[background]`](macro@crate::background#options) and with the same meaning.
///
/// - A `key` is evaluated before the call, and may use variables that the work captures.
/// - With `retry` each attempt runs a copy of the block or the closure, so what it captures has to be `Clone`. An attempt that changes
///   a capture changes its own copy: to count across attempts, capture an `Arc<AtomicU32>`. A future that exists already cannot be
///   made anew: write `async move { fetch(x).await }` rather than `fetch(x)`.
/// - What runs without being called, by `every`, `cron` or `on_start`, is a function with `#[background]`.
///
/// # Examples
///
/// A future, which runs by itself, and one that is waited for:
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
/// let page = bgtask::spawn!("fetch", fetch(1)).await??; // a TaskError, then the work's own
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
/// The compiler has to know it at the call, because the report of an error depends on it. An output that only a later line
/// determines is taken to be `()`, and that line is an error such as "expected `()`, found `u64`": write the type of the handle,
/// `let handle: TaskHandle<u64> = spawn!(…)`, or of the channel, `oneshot::channel::<u64>()`. Work that ends in `Ok(x)` has to name
/// its error: `Ok::<_, io::Error>(x)`, `anyhow::Ok(x)`, or `TaskHandle<anyhow::Result<_>>` as the type of the handle. The page on
/// blocks, [docs/blocks.md](https://github.com/bgtask/bgtask/blob/main/docs/blocks.md), has a table of the errors and their cures.
///
/// # Panics
/// The call panics where no manager can be found. The message names the cure.
#[macro_export]
macro_rules! spawn {
    ($($tokens:tt)*) => {
        $crate::__private::spawn!($crate; $($tokens)*)
    };
}
