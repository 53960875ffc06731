//! `spawn!` as users see it: the documentation, and a shell that passes the path of the crate on, whatever name it has there.

/// Runs a block or a closure in the background, at the place where it is written, *tracked* as the call of a
/// [`#[background]`](macro@crate::background) function is.
///
/// `spawn!("name", work)` returns a [`TaskHandle`](crate::TaskHandle) at once and never blocks. The call is counted before the
/// work's first instruction, a shutdown waits for it, its panic or an `Err` that nobody looks at is reported, and drop the
/// handle to let it run by itself. With options: `spawn!("name", timeout = "30s", work)`; in a
/// [`Group`](crate::Group): `spawn!(in &group, "name", work)`.
///
/// # The parts
///
/// - `in &group`, if the call is a member of a group. The group takes part only once the work has come to a value: calls that
///   are made on the way, as by `make()` in `spawn!(in &group, "sync", make())`, are no members.
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
/// A closure may take a [`ShutdownToken`](crate::ShutdownToken) and [`State<_>`](crate::State)s, in any order. A single
/// parameter without a type is the token. What else the work needs, it captures: write `move`.
///
/// # Options
///
/// `timeout`, `retry`, `concurrency`, `rate`, `coalesce`, `essential`, `on_shutdown`, `warn_after` and `log`, written as on
/// [`#[background]`](macro@crate::background#options) and with the same meaning.
///
/// - A `key` sees the variables around the call, before the work moves them.
/// - With `retry` each attempt gets a copy of the block or the closure, so what it captures has to be `Clone`. A future that
///   exists already cannot be made anew: write `async move { fetch(x).await }` rather than `fetch(x)`.
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
/// It is found out where the call is written, for the report of an error depends on it. Of an `Ok(x)` that says nothing of the
/// error the compiler asks for more: `Ok::<_, io::Error>(x)`, or `let handle: TaskHandle<anyhow::Result<_>> = spawn!(…)`. What is
/// not known there, such as the output of a `loop` without an end, is `()`.
///
/// # Panics
/// The call panics where no manager can be found, and says what to do, as that of a function does.
#[macro_export]
macro_rules! spawn {
    ($($tokens:tt)*) => {
        $crate::__private::spawn!($crate; $($tokens)*)
    };
}
