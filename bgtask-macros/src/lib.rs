//! The attributes of the `bgtask` crate: the entry points and nothing else.
//! Depend on `bgtask`, which re-exports them; the code they generate names `bgtask::__private`.

mod arguments;
mod background;
mod entry_point;
mod errors;
mod function;
mod literal;
mod options;
mod policies;
mod spawn;
#[cfg(test)]
mod tests;
mod tokens;

use proc_macro::TokenStream;

/// Turns a function into background work that the process knows about.
///
/// The call keeps its name and its arguments, returns a `TaskHandle` of the function's output at once and never blocks.
/// The work is counted before its first instruction runs, and a shutdown waits for it.
///
/// # What it goes on
///
/// - an `async fn`, which runs on the runtime's workers, or a plain `fn`, which runs on its blocking pool;
/// - a free function, an associated function, or a method that takes `self: Arc<Self>` (or another receiver that owns);
/// - generic or not, of any visibility, also inside a function or a macro.
///
/// The function outlives its caller, so its parameters and its output own their data: `String`, `Arc<_>` or a
/// `'static` reference rather than `&str`. A parameter of type `ShutdownToken`, wherever it stands, is filled in by the
/// runtime and is absent from the caller's signature. The type is known by its name: under another one, from
/// `use bgtask::ShutdownToken as Token`, it is an argument that callers pass, and the compiler warns of it.
///
/// An `Err` that nobody takes from the handle is logged, and counted as `failed`, if the signature names the `Result`. An output
/// whose whole type is a type parameter is never judged: with `-> T`, an `Err` is counted as `succeeded` and not logged.
///
/// Inside the body the function's own name means the same as outside: it starts another task.
///
/// # Options
///
/// | option | value | default |
/// |---|---|---|
/// | `name` | what logs, reports and `handlers()` call the task | `module::path::function` |
/// | `log` | level of the started and finished events: `"off"`, `"trace"`, `"debug"`, `"info"`, `"warn"`, `"error"` | `"debug"` |
/// | `on_shutdown` | when draining starts: `"drain"` fires the task's token, `"cancel"` drops its future (`async fn` only), `"finish"` leaves it alone | `"drain"` |
/// | `warn_after` | a task that takes longer is reported once, at `warn`: `"30s"`, or `"never"`; counted from the call, and of one that waits in a line of its policies from when it is let through | what `#[bgtask::main]` or the `Builder` says, if they do; with `on_start`, `"never"` |
/// | `crate` | where `bgtask` is found, as an absolute path in a string, for re-exports | `"::bgtask"` |
///
/// ## Policies
///
/// They wrap one another in this order, whatever order they are written in.
///
/// | option | value | default |
/// |---|---|---|
/// | `coalesce` | `coalesce(key = expr, policy = "join")`: a call while another with its key is in flight joins it; `"skip"`, `"replace"`, `"trailing"` | each call runs |
/// | `rate` | `"100/s"`, or `rate(limit = "100/s", key = expr, overflow = "wait")`: so many runs begin in a window | no limit |
/// | `concurrency` | `8`, or `concurrency(max = 8, queue = 100, overflow = "refuse", key = expr)`: at most so many bodies run at once; when the queue is full, `overflow = "drop_oldest"` drops the call that has waited longest, and `"wait"` lets the call wait for room while its handle is held | no limit |
/// | `retry` | `retry(max = 3, backoff = "exponential", base = "200ms", cap = "30s", jitter, when = predicate, panics, last_attempt = false)`: at most `max` attempts; a shutdown allows one more attempt at once, or none with `last_attempt = false` | one attempt |
/// | `timeout` | `"30s"`, for each attempt | no limit |
///
/// And what runs without being called, with a token and `State<_>` for its only parameters:
///
/// | option | value | default |
/// |---|---|---|
/// | `every` | `"5m"` | |
/// | `cron` | `"0 3 * * *"`, with 5 fields, or 6 with the second first; feature `cron` | |
/// | `timezone` | of `cron`: `"Europe/Berlin"` | `"UTC"` |
/// | `immediately` | the first run comes at the start | after one period |
/// | `overlap` | a tick does not wait for the run before it | it does |
/// | `missed` | ticks that came meanwhile get `"once"` a run, `"skip"` none, `"all"` one each | `"once"` |
/// | `jitter` | each tick is put off by a random part of this: `"10s"` | none |
/// | `on_start` | runs once, from the start on | |
/// | `restart` | with `on_start`: `restart(max = 5, window = "1m", when = "failure", backoff = "exponential", base = "200ms", cap = "30s", jitter)` | not |
/// | `essential` | when the function ends for good before `main` has ended, the shutdown starts, and the exit code is 1; also for called functions. An end during a poll of `main` is judged after that poll: if `main` has returned, the end is no failure | the end has no effect |
///
/// `key` sees the parameters by reference. With `retry` the arguments have to be `Clone`, and so has the receiver, as an
/// `Arc<Self>` is; with `coalesce`'s `"join"` and `"trailing"` the output has, or at least its `Ok`.
///
/// # Attributes beside it
///
/// Documentation, `cfg`, lint levels, `deprecated` and `must_use` speak of the function that is called; others, such as
/// `tracing::instrument`, go to the function that runs. `cfg` on a parameter works. For a method, these other attributes go to a
/// hidden method beside it, called `name_bgtask_body`. The `impl` of a trait has no room for a hidden method: there, move the
/// body into a function that carries the attributes.
///
/// # What it writes
///
/// A function that registers and launches yours; `cargo expand` shows it, and so does `docs/expansion.md` in the repository.
/// Clippy has nothing to say of it, whatever is turned on.
///
/// # Limits
///
/// An attribute on a function cannot see the `impl` around it. An associated function without a receiver that uses the type
/// parameters of its `impl` works if these are called as such mostly are, by one capital letter; with others it has to say
/// `Self` somewhere (`Self: Sized` in a `where` clause will do).
#[proc_macro_attribute]
pub fn background(arguments: TokenStream, item: TokenStream) -> TokenStream {
    background::attribute(arguments.into(), item.into()).into()
}

/// Builds the runtime, runs `main`, and drains the background work before the process exits.
///
/// It goes on `async fn main()` or `async fn main(shutdown: ShutdownToken)`, with any return type that a plain `main`
/// may have. It installs the manager and the signal watcher, and exits with `main`'s own result.
///
/// A `main` that takes the token is told of a shutdown and ends by itself; one that does not is dropped when the
/// shutdown starts, for it cannot know. The future of `main` need not be `Send`.
///
/// # Signals
///
/// SIGTERM, SIGINT (Ctrl-C) and SIGHUP (a closed terminal) start the shutdown. A second signal ends the process at once, with
/// exit code 128 + the signal's number: 143, 130 or 129. If the process was started with SIGHUP ignored, as `nohup` does, SIGHUP
/// stays ignored on Linux, and starts the shutdown elsewhere. SIGQUIT keeps the operating system's default: it ends the process
/// at once, with a core dump where those are enabled. On Windows, Ctrl-C, Ctrl-Break, a closed console, a log-off and a system
/// shutdown start the shutdown.
///
/// # Options
///
/// | option | value | default |
/// |---|---|---|
/// | `flavor` | `"multi_thread"` or `"current_thread"` | `"multi_thread"` |
/// | `worker_threads` | number of workers, at least 1; not with `"current_thread"` | tokio's own |
/// | `grace` | time for the whole shutdown, such as `"25s"` or `"1m30s"` | `"25s"` |
/// | `warn_after` | a task that takes longer is reported once, at `warn`, if its function does not say otherwise: `"30s"` | nothing is |
/// | `dump` | the signal at which a `Snapshot` is printed to stderr: `"SIGUSR1"` or `"SIGUSR2"`; it works with every worker stuck. On Windows, which has neither, a line at the start says so | none |
/// | `crate` | where `bgtask` is found, as an absolute path in a string, for re-exports | `"::bgtask"` |
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    entry_point::main::attribute(arguments.into(), item.into()).into()
}

/// Runs a test on a runtime and under a manager of its own, drains the background work at its end, and fails it for what has
/// failed there.
///
/// It goes on `async fn`s without parameters, or with a `ShutdownToken`, that return what a `#[test]` may return.
/// `#[should_panic]` and `#[ignore]` work; so does rstest, whose `#[rstest]` has to stand above this.
///
/// # Options
///
/// | option | value | default |
/// |---|---|---|
/// | `flavor` | `"current_thread"` or `"multi_thread"` | `"current_thread"` |
/// | `worker_threads` | number of workers, at least 1; with `"multi_thread"` only | tokio's own |
/// | `start_paused` | `true`: the clock of `tokio::time` moves on only when nothing else can; needs the `test-util` feature of tokio, and one thread | `false` |
/// | `drain` | time that the background work may take at the end, by the real clock, such as `"5s"` | `"5s"` |
/// | `wait` | time that a wait of the test for background work may take, by the real clock | `"10s"` |
/// | `schedules` | no value: starts what says `every`, `cron` or `on_start`, before the test's first line | not |
/// | `crate` | where `bgtask` is found, as an absolute path in a string, for re-exports | `"::bgtask"` |
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    entry_point::test::attribute(arguments.into(), item.into()).into()
}

/// Expands `bgtask::spawn!`, which passes the path of the crate in front of its tokens. That macro has the documentation.
#[doc(hidden)]
#[proc_macro]
pub fn spawn(tokens: TokenStream) -> TokenStream {
    spawn::expression(tokens.into()).into()
}
