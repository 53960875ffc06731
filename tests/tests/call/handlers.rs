//! `handlers()`: what a program can read of the functions and blocks that are linked into it.

use bgtask::{ShutdownToken, WarnAfter, background};
use std::sync::Arc;
use std::time::Duration;

#[background]
#[allow(dead_code, reason = "the test only lists it")]
async fn waits_for_its_token(token: ShutdownToken) {
    token.cancelled().await;
}

#[background(log = "trace", name = "logs at trace", warn_after = "1m30s")]
#[allow(dead_code, reason = "the test only lists it")]
async fn logs_at_trace() {}

#[background]
#[allow(dead_code, reason = "the test only lists it")]
fn blocks() {}

#[background(warn_after = "never")]
#[allow(dead_code, reason = "the test only lists it")]
async fn never_warns() {}

/// Behaviour 35.
#[test]
fn handlers_describe_every_function_linked() {
    let handlers = bgtask::handlers();
    let find = |name: &str| {
        let found = handlers
            .iter()
            .find(|handler| handler.name().ends_with(name));
        *found.unwrap_or_else(|| panic!("{name} is missing"))
    };
    let handler = find("::waits_for_its_token");
    assert_eq!(
        handler.name(),
        concat!(module_path!(), "::waits_for_its_token")
    );
    assert_eq!(handler.module_path(), module_path!());
    assert_eq!(handler.file(), file!());
    let line = include_str!("handlers.rs")
        .lines()
        .position(|line| line.starts_with("async fn waits_for_its_token"));
    assert_eq!(handler.line() as usize, line.unwrap() + 1);
    assert!(handler.takes_token());
    assert_eq!(handler.kind(), bgtask::Kind::Async);
    assert_eq!(handler.on_shutdown(), bgtask::OnShutdown::Drain);
    assert_eq!(handler.log(), bgtask::Log::Debug);
    assert_eq!(handler.warn_after(), WarnAfter::Default);
    let handler = find("logs at trace");
    assert_eq!(handler.log(), bgtask::Log::Trace);
    let limit = Duration::from_secs(90);
    assert_eq!(handler.warn_after(), WarnAfter::After(limit));
    assert!(!handler.takes_token());
    assert_eq!(find("handlers::blocks").kind(), bgtask::Kind::Blocking);
    assert_eq!(find("::never_warns").warn_after(), WarnAfter::Never);
    // Never called, never instantiated, or in an `impl`: each is linked.
    find("handlers::never_called");
    find("handlers::never_instantiated");
    find("handlers::associated");
}

#[background]
#[allow(dead_code, reason = "the test only lists it")]
async fn never_called() {}

#[background]
#[allow(dead_code, reason = "the test only lists it")]
async fn never_instantiated<T: Send + 'static>(value: T) {
    drop(value);
}

struct Service;

impl Service {
    #[background]
    #[allow(dead_code, reason = "the test only lists it")]
    async fn associated(self: Arc<Self>) {}
}

#[background(
    name = "handlers: all policies",
    timeout = "1m30s",
    retry(
        max = 5,
        backoff = "linear",
        base = "50ms",
        cap = "1h",
        jitter,
        panics,
        last_attempt = false
    ),
    concurrency(max = 8, queue = 100, overflow = "drop_oldest"),
    rate(limit = "100/s", overflow = "refuse"),
    warn_after = "2h",
    on_shutdown = "finish",
    log = "warn"
)]
#[allow(dead_code, reason = "the test only lists it")]
async fn all_policies(number: u32) -> Result<(), String> {
    Err(number.to_string())
}

#[background(name = "handlers: defaults", retry(max = 3, base = "200ms", last_attempt = true), coalesce(key = number), rate = "5/30s", log = "debug")]
#[allow(dead_code, reason = "the test only lists it")]
async fn defaults(number: u32) -> Result<(), String> {
    Err(number.to_string())
}

#[background(
    name = "handlers: cron",
    cron = "0 3 * * *",
    timezone = "Europe/Berlin",
    jitter = "10s",
    missed = "skip"
)]
async fn by_cron() {}

#[background(name = "handlers: every", every = "5m", immediately, overlap)]
async fn every() {}

#[background(
    name = "handlers: essential",
    on_start,
    essential,
    timeout = "1h",
    warn_after = "never"
)]
async fn essential() {}

#[background(
    name = "handlers: on start",
    on_start,
    restart(max = 2, window = "10s", base = "1s", when = "always"),
    on_shutdown = "cancel",
    log = "off"
)]
async fn on_start() {}

/// Behaviour 35.
#[test]
fn handlers_list_their_options_as_they_are_written() {
    let handlers = bgtask::handlers();
    for (name, expected) in [
        ("handlers::never_called", ""),
        (
            "handlers: all policies",
            "timeout = 1m30s, retry(max = 5, backoff = linear, base = 50ms, cap = 1h, jitter, panics, last_attempt = false), \
             concurrency(max = 8, queue = 100, overflow = drop_oldest), rate(limit = 100/s, overflow = refuse), warn_after = 2h, \
             on_shutdown = finish, log = warn",
        ),
        (
            "handlers: defaults",
            "retry(max = 3), coalesce(policy = join), rate = 5/30s",
        ),
        (
            "handlers: cron",
            "cron = 0 3 * * *, timezone = Europe/Berlin, missed = skip, jitter = 10s",
        ),
        ("handlers: every", "every = 5m, immediately, overlap"),
        (
            "handlers: essential",
            "on_start, essential, timeout = 1h, warn_after = never",
        ),
        (
            "handlers: on start",
            "on_start, restart(max = 2, window = 10s, base = 1s, when = always), on_shutdown = cancel, log = off",
        ),
    ] {
        let found = handlers.iter().find(|one| one.name().ends_with(name));
        let options = found.unwrap().options();
        assert_eq!(options.to_string(), expected, "{name}");
        assert_eq!(options.is_empty(), expected.is_empty());
        assert_eq!(options.iter().collect::<Vec<_>>().join(", "), expected);
    }
}

/// Behaviour 35.
#[test]
fn handlers_tell_which_functions_tick_in_every_process() {
    let handlers = bgtask::handlers();
    let own = |name: &str| {
        let found = handlers.iter().find(|handler| handler.name() == name);
        found.unwrap_or_else(|| panic!("{name} is missing"))
    };
    for (name, ticks) in [
        ("handlers: every", true),
        ("handlers: cron", true),
        ("handlers: on start", false),
        ("handlers: essential", false),
        ("logs at trace", false),
    ] {
        assert_eq!(own(name).ticks_in_every_process(), ticks, "{name}");
    }
}
