//! The attributes of the `bgtask` crate: their entry points and documentation, and nothing else.
//! Depend on `bgtask`, which re-exports them; the code that they generate names only `bgtask::__private`.

// The folders, from the top; each imports only those below it, which a test checks.
//
// tests        expansions kept as files, random input
// spawn        `spawn!`: the parts of its arguments, the kind of its work, its expansion
// background   `#[background]`: the checks of a function, its plan, its expansion
// entry_point  `#[bgtask::main]` and `#[bgtask::test]`
// options      the table of options of each attribute, and the static of a handler
// policies     one file for each policy: its options, value, rules and tokens
// arguments    the syntax of options: keys, values, parentheses, suggestions, the path of the crate
// function     the annotated function: signature, attributes, types
// literal      durations, rates and cron expressions
// tokens       questions about tokens that are not parsed
// errors       every error of one expansion

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

/// The function keeps its name and its arguments, and a call returns a `TaskHandle` of its output immediately and never blocks.
/// The call is counted before the first instruction of its body runs, and a shutdown waits for it.
///
/// # Supported functions
///
/// - an `async fn`, which runs on the runtime's workers, or a plain `fn`, which runs on its blocking pool;
/// - a free function, an associated function, or a method that takes `self: Arc<Self>` (or another owning receiver);
/// - generic or not, of any visibility, also inside a function or a macro.
///
/// The function outlives its caller, so its parameters and its output own their data: `String`, `Arc<_>` or a `'static`
/// reference rather than `&str`. The runtime fills in a parameter of type `ShutdownToken`, at any position, and callers do not
/// pass it. The attribute knows the type by its name: under another one, from `use bgtask::ShutdownToken as Token`, it is an
/// argument that callers pass, and the compiler warns about it.
///
/// An `Err` that nobody takes from the handle is logged and counted as `failed`, if the signature names the `Result`. An output
/// whose whole type is a type parameter is never judged: with `-> T`, an `Err` is counted as `succeeded` and not logged.
///
/// Inside the body, the function's own name means the same as outside: it starts another task.
///
/// # Options
///
/// [docs/options.md] has every option, including those in parentheses, and [docs/policies.md] explains the policies. Instead of a literal, a
/// duration, a number, a rate, a name, a cron expression or a time zone may be a constant expression; the words in quotes below are
/// literals.
///
/// | Option | Value | Effect | Default |
/// |---|---|---|---|
/// | `name` | `"…"` | The name of the task in logs, reports and `handlers()`. | `module::path::function` |
/// | `log` | `"off"`, `"trace"`, `"debug"`, `"info"`, `"warn"`, `"error"` | The level of the started and finished events. | `"debug"` |
/// | `on_shutdown` | `"drain"`, `"cancel"`, `"finish"` | When draining starts: fires the task's token; drops its future (`async fn` only); leaves it alone. | `"drain"` |
/// | `warn_after` | `"30s"`, `"never"` | Reports a task that takes longer, once, at `warn`. The clock starts at the call, or, if a policy makes the call wait, when it is admitted. | the value of `#[bgtask::main]` or the builder; with `on_start`, `"never"` |
/// | `fields(…)` | `url = %url, order.id = order.id, card = redact(card)` | Records chosen values of each call, in the syntax of `tracing`, for its span, events, hooks, snapshots and the shutdown report. | nothing is recorded |
/// | `crate` | `"::path"` | The absolute path of `bgtask`, for re-exports. | `"::bgtask"` |
///
/// The policies wrap one another in this order, however they are written:
///
/// | Option | Value | Effect | Default |
/// |---|---|---|---|
/// | `coalesce(…)` | `key`, `policy` | A call joins another one with its key that is in flight; other policies are `"skip"`, `"replace"` and `"trailing"`. | each call runs |
/// | `rate` | `"100/s"`, or `rate(limit = "100/s", key, overflow)` | Begins at most this many runs in any window of this length. | no limit |
/// | `concurrency` | `8`, or `concurrency(max = 8, queue, overflow, key)` | Runs at most this many bodies at once. | no limit |
/// | `retry(…)` | `max`, `backoff`, `base`, `cap`, `jitter`, `when`, `after`, `panics`, `last_attempt` | Makes another attempt after one that fails. | one attempt |
/// | `timeout` | `"30s"` | Ends an attempt that takes longer. | no limit |
/// | `wrap` | the path of an `async fn(bgtask::Attempt)` | Runs each attempt within this function. | |
///
/// These run a function that nobody calls, with a token and `State<_>` as its only parameters:
///
/// | Option | Value | Effect | Default |
/// |---|---|---|---|
/// | `every` | `"5m"` | Runs the function at whole periods after the start, in every process unless it is `durable`. | |
/// | `cron` | `"0 3 * * *"` | Runs the function by the wall clock, in every process unless it is `durable`; 5 fields, or 6 with seconds first. Feature `cron`. | |
/// | `timezone` | `"Europe/Berlin"` | The time zone of `cron`. | `"UTC"` |
/// | `immediately` | | Begins the first run at the start. | after one period |
/// | `overlap` | | Runs a tick even if the run before it has not ended. | the tick waits |
/// | `missed` | `"once"`, `"skip"`, `"all"` | Gives missed ticks one run, no run, or one run each. | `"once"` |
/// | `jitter` | `"10s"` | Delays each tick by a random part of this. | none |
/// | `on_start` | | Runs the function once, at the start. | |
/// | `restart(…)` | `max`, `window`, `when`, `backoff`, `base`, `cap`, `jitter` | With `on_start`: starts the function again when it fails. | no restart |
/// | `essential` | | Starts the shutdown, with exit code 1, when the function ends for good before `main` does; also for functions that are called. | the program goes on |
///
/// This one stores the calls, which then have to be awaited and return an `Enqueue`; see [docs/durable.md]:
///
/// | Option | Value | Effect | Default |
/// |---|---|---|---|
/// | `durable` | `durable(queue, priority, keep, unique, was)` | Each call is a job that survives the process. Crate `bgtask-durable`. | calls live in memory |
///
/// `Manager::reconfigure` replaces the values of time limits, attempts, limits, rates and schedules at run time.
///
/// `key` and the values of `fields` see the parameters by reference. With `retry`, the arguments must be `Clone`, and so must the receiver,
/// as `Arc<Self>` is. With the policies `"join"` and `"trailing"` of `coalesce`, the output must be `Clone`, or, of a `Result`, its value.
///
/// # Other attributes
///
/// Documentation, `cfg`, lint levels, `deprecated` and `must_use` apply to the function that is called; others, such as
/// `tracing::instrument`, go to the function that runs. `cfg` on a parameter works. For a method, these other attributes go to a
/// hidden method beside it, called `name_bgtask_body`. The `impl` of a trait has no room for a hidden method: there, move the
/// body into a function that carries the attributes.
///
/// # Generated code
///
/// The attribute generates a function that registers and launches yours; `cargo expand` shows it, and [docs/expansion.md]
/// explains it. No Clippy lint fires on it.
///
/// # Limits
///
/// An attribute on a function cannot see the `impl` around it. An associated function without a receiver that uses the type
/// parameters of its `impl` works if each has a usual name, one capital letter. With other names, it must mention `Self`
/// somewhere (`Self: Sized` in a `where` clause is enough).
///
/// [docs/durable.md]: https://github.com/bgtask/bgtask/blob/main/docs/durable.md
/// [docs/options.md]: https://github.com/bgtask/bgtask/blob/main/docs/options.md
/// [docs/policies.md]: https://github.com/bgtask/bgtask/blob/main/docs/policies.md
/// [docs/expansion.md]: https://github.com/bgtask/bgtask/blob/main/docs/expansion.md
#[proc_macro_attribute]
pub fn background(arguments: TokenStream, item: TokenStream) -> TokenStream {
    background::attribute(arguments.into(), item.into()).into()
}

/// The attribute builds the runtime, installs the manager and the signal watcher, runs `main`, drains the background work, and exits with
/// the result of `main`. It goes on `async fn main()` or `async fn main(shutdown: ShutdownToken)`, with any return type that a plain
/// `main` can have.
///
/// When the shutdown starts, the token fires for a `main` that takes it, and that `main` ends by itself. A `main` without the
/// token is dropped. The future of `main` need not be `Send`.
///
/// # Functions with arguments
///
/// It also goes on an `async fn` with another name, which may have arguments and generics and becomes a plain function of that
/// signature, without the token. A program reads its command line first, and calls the function from its own `main`, as in the second
/// example.
///
/// The function returns its output after the background work has drained, and can then be called again. In two cases it has no
/// output to return, and the process exits after the drain, without dropping the variables of the caller: a function without the
/// token exits with code 0 when the shutdown drops it, and one that has not ended at the deadline with code 1. The process also
/// exits, with code 1, if the output is not an `Err` and an `essential` task has ended early. Once the function has returned, a
/// signal ends the process immediately. It panics inside of another runtime.
///
/// # Signals
///
/// SIGTERM, SIGINT (Ctrl-C) and SIGHUP (a closed terminal) start the shutdown. A second signal ends the process immediately, with
/// exit code 128 + the signal's number: 143, 130 or 129. If the process was started with SIGHUP ignored, as `nohup` does, SIGHUP
/// stays ignored on Linux, and starts the shutdown elsewhere. SIGQUIT keeps the operating system's default: it ends the process
/// immediately, with a core dump where those are enabled. On Windows, Ctrl-C, Ctrl-Break, a closed console, a log-off and a
/// system shutdown start the shutdown.
///
/// # Options
///
/// | Option | Value | Effect | Default |
/// |---|---|---|---|
/// | `flavor` | `"multi_thread"`, `"current_thread"` | The kind of runtime. | `"multi_thread"` |
/// | `worker_threads` | `4` | The number of workers, at least 1; only with `"multi_thread"`. | tokio's default |
/// | `grace` | `"25s"` | The time for the whole shutdown. | `"25s"` |
/// | `pre_stop` | `"5s"` | Fires the token this long after the request, while `is_ready()` is already `false`: the server goes on until no load balancer sends it requests. Counts within `grace`; ends early when `main` returns. | fires immediately |
/// | `strict` | | Exits with code 1, and prints why, if a task was aborted or abandoned at the deadline, a call was refused for missing state, or a final failure was not read from a handle. A failure of `main` itself stays as it is. | `main`'s own result |
/// | `warn_after` | `"30s"` | Reports a task that takes longer, once, at `warn`, unless its function has its own value. | no report |
/// | `dump` | `"SIGUSR1"`, `"SIGUSR2"` | The signal that prints a `Snapshot` to stderr, even if every worker is stuck. Windows has no such signals, and logs this at the start. | none |
/// | `crate` | `"::path"` | The absolute path of `bgtask`, for re-exports. | `"::bgtask"` |
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    entry_point::main::attribute(arguments.into(), item.into()).into()
}

/// The test has a runtime and a manager of its own. The attribute goes on `async fn`s without parameters, or with a `ShutdownToken`, that
/// return any type that a `#[test]` can return. `#[should_panic]` and `#[ignore]` work; so does rstest, whose `#[rstest]` goes above
/// this attribute.
///
/// # Options
///
/// | Option | Value | Effect | Default |
/// |---|---|---|---|
/// | `flavor` | `"current_thread"`, `"multi_thread"` | The kind of runtime. | `"current_thread"` |
/// | `worker_threads` | `2` | The number of workers, at least 1; only with `"multi_thread"`. | tokio's default |
/// | `start_paused` | `true` | Lets the clock of `tokio::time` advance only when nothing else can run. Needs the feature `test-util` of tokio, and one thread. | `false` |
/// | `drain` | `"5s"` | The time that the background work may take at the end, by the real clock. | `"5s"` |
/// | `wait` | `"10s"` | The time that the test may wait for background work, by the real clock. | `"10s"` |
/// | `schedules` | | Starts functions with `every`, `cron` or `on_start` before the first line of the test. | they do not start |
/// | `crate` | `"::path"` | The absolute path of `bgtask`, for re-exports. | `"::bgtask"` |
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    entry_point::test::attribute(arguments.into(), item.into()).into()
}

/// Expands `bgtask::spawn!`, which passes the path of the crate before its tokens and has the documentation.
#[doc(hidden)]
#[proc_macro]
pub fn spawn(tokens: TokenStream) -> TokenStream {
    spawn::expression(tokens.into()).into()
}
