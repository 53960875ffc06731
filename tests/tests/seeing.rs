//! Seeing: behaviours 34 to 37.

// What `renamed = { package = "bgtask" }` in Cargo.toml comes to: the crate under another name.
extern crate bgtask as renamed;

use bgtask::{ShutdownToken, TaskState, WarnAfter, background};
use bgtask_tests::{on_both_flavors, record_events, recorded, recorded_of, until};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tower::ServiceExt;
use tracing::{Instrument, Level};

#[background(log = "info")]
async fn logs_a_line(password: String) {
    tracing::info!("inside the task");
    drop(password);
}

#[background(log = "info")]
fn logs_a_line_blocking(password: String) {
    tracing::info!("inside the task");
    drop(password);
}

#[test]
fn b34_the_callers_span_is_the_tasks_parent_and_arguments_are_never_logged() {
    record_events();
    on_both_flavors(async |_| {
        async {
            logs_a_line("secret".to_owned()).await.unwrap();
            logs_a_line_blocking("secret".to_owned()).await.unwrap();
        }
        .instrument(tracing::info_span!("request", path = "/b34"))
        .await;
    });
    for name in ["::logs_a_line", "::logs_a_line_blocking"] {
        let events = recorded_of(name);
        let inside: Vec<_> = events
            .iter()
            .filter(|event| event.message == "inside the task")
            .collect();
        assert_eq!(inside.len(), 2);
        for event in inside {
            let (task, caller) = (&event.spans[0], &event.spans[1]);
            assert_eq!(task.0, "task");
            assert!(task.1["name"].ends_with(name));
            assert!(task.1["id"].parse::<u64>().is_ok());
            assert_eq!(caller.0, "request");
            assert_eq!(caller.1["path"], "/b34");
        }
        for message in ["task started", "task finished"] {
            let told = events.iter().filter(|event| event.message == message);
            assert!(told.clone().all(|event| event.level == Level::INFO));
            assert_eq!(told.count(), 2, "{message}");
        }
        assert!(!format!("{events:?}").contains("secret"));
    }
}

#[background(log = "trace", name = "told at trace", warn_after = "1m30s")]
async fn told_at_trace() {}

#[background(log = "warn", name = "told at warn")]
async fn told_at_warn() {}

#[background(log = "error", name = "told at error")]
async fn told_at_error() {}

#[test]
fn b34_the_log_option_sets_the_level_of_the_started_and_finished_events() {
    record_events();
    on_both_flavors(async |_| {
        told_at_trace().await.unwrap();
        told_at_warn().await.unwrap();
        told_at_error().await.unwrap();
    });
    for (name, level) in [
        ("told at trace", Level::TRACE),
        ("told at warn", Level::WARN),
        ("told at error", Level::ERROR),
    ] {
        let events = recorded_of(name);
        assert_eq!(events.len(), 4);
        assert!(events.iter().all(|event| event.level == level));
        assert_eq!(events[1].field("outcome"), "succeeded");
    }
}

#[background]
async fn runs_until_told(token: ShutdownToken) {
    token.cancelled().await;
}

#[test]
fn b35_tasks_stats_and_handlers_agree_with_what_runs() {
    on_both_flavors(async |manager| {
        let line = line!() + 1;
        let handles: Vec<_> = (0..100).map(|_| runs_until_told()).collect();
        until("all run", || {
            let tasks = manager.tasks();
            tasks.iter().all(|task| task.state == TaskState::Running)
        })
        .await;
        let tasks = bgtask::tasks();
        assert_eq!(tasks.len(), 100);
        assert_eq!(bgtask::stats().running, 100);
        let known: HashSet<_> = bgtask::handlers()
            .iter()
            .map(|handler| handler.name())
            .collect();
        for (task, handle) in tasks.iter().zip(&handles) {
            assert!(known.contains(task.name));
            assert_eq!(task.id, handle.id());
            assert_eq!(task.name, handle.name());
            assert_eq!(task.called_at.file(), file!());
            assert_eq!(task.called_at.line(), line);
            assert_eq!(task.attempt, 1);
        }
        handles[50].cancel();
        until("one has ended", || manager.stats().running == 99).await;
        assert!(
            manager
                .tasks()
                .iter()
                .all(|task| task.id != handles[50].id())
        );
    });
}

#[background(log = "off")]
async fn passes_by() {
    tokio::task::yield_now().await;
}

#[test]
fn b35_snapshots_under_load_add_up() {
    on_both_flavors(async |manager| {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let caller = scope.spawn(|| {
                let _entered = manager.enter();
                for _ in 0..20_000 {
                    passes_by();
                }
                stop.store(true, Ordering::Relaxed);
            });
            while !stop.load(Ordering::Relaxed) {
                let stats = manager.stats();
                assert_eq!(stats.accepted, stats.running + stats.ended());
                let snapshot = manager.snapshot();
                let stats = snapshot.stats;
                assert_eq!(stats.accepted, stats.running + stats.ended());
                assert!(snapshot.tasks.len() <= 50);
                let tasks = manager.tasks();
                let ids: HashSet<_> = tasks.iter().map(|task| task.id).collect();
                assert_eq!(ids.len(), tasks.len(), "no task is listed twice");
            }
            caller.join().unwrap();
        });
        until("all ended", || manager.stats().running == 0).await;
        assert_eq!(manager.stats().succeeded, 20_000);
    });
}

#[background(warn_after = "never")]
#[allow(dead_code, reason = "what this shows is that it is listed")]
async fn may_take_for_ever() {}

#[test]
fn b35_handlers_describe_every_function_linked() {
    let handlers = bgtask::handlers();
    let find = |name: &str| {
        let found = handlers
            .iter()
            .find(|handler| handler.name().ends_with(name));
        *found.unwrap_or_else(|| panic!("{name} is missing"))
    };
    let handler = find("::runs_until_told");
    assert_eq!(handler.name(), concat!(module_path!(), "::runs_until_told"));
    assert_eq!(handler.module_path(), module_path!());
    assert_eq!(handler.file(), file!());
    let line = include_str!("seeing.rs")
        .lines()
        .position(|line| line.starts_with("async fn runs_until_told"));
    assert_eq!(handler.line() as usize, line.unwrap() + 1);
    assert!(handler.takes_token());
    assert_eq!(handler.kind(), bgtask::Kind::Async);
    assert_eq!(handler.on_shutdown(), bgtask::OnShutdown::Drain);
    assert_eq!(handler.log(), bgtask::Log::Debug);
    assert_eq!(handler.warn_after(), WarnAfter::Unsaid);
    let handler = find("told at trace");
    assert_eq!(handler.log(), bgtask::Log::Trace);
    let limit = Duration::from_secs(90);
    assert_eq!(handler.warn_after(), WarnAfter::After(limit));
    assert!(!handler.takes_token());
    assert_eq!(
        find("::logs_a_line_blocking").kind(),
        bgtask::Kind::Blocking
    );
    assert_eq!(find("::may_take_for_ever").warn_after(), WarnAfter::Never);
    // Uncalled, generic and never instantiated, in an impl: linked all the same.
    find("::never_called");
    find("::never_instantiated");
    find("::associated");
}

#[background]
#[allow(dead_code, reason = "what this shows is that it is listed")]
async fn never_called() {}

#[background]
#[allow(dead_code, reason = "what this shows is that it is listed")]
async fn never_instantiated<T: Send + 'static>(value: T) {
    drop(value);
}

struct Service;

impl Service {
    #[background]
    async fn associated(self: Arc<Self>) -> usize {
        Arc::strong_count(&self)
    }
}

#[test]
fn b37_a_method_holds_its_receiver_until_it_ends() {
    on_both_flavors(async |_| {
        let service = Arc::new(Service);
        assert_eq!(service.clone().associated().await, Ok(2));
    });
}

mod reexport {
    pub(crate) use ::bgtask as background_work;
}

#[renamed::background(crate = "::renamed")]
async fn through_a_renamed_crate() -> u32 {
    1
}

#[reexport::background_work::background(crate = "crate::reexport::background_work")]
async fn through_a_reexport(token: ShutdownToken) -> bool {
    token.is_cancelled()
}

macro_rules! make_task {
    ($name:ident, $argument:ident: $type:ty => $body:expr) => {
        #[background]
        async fn $name($argument: $type, token: ShutdownToken) -> $type {
            assert!(!token.is_cancelled());
            $body
        }
    };
}

make_task!(made_by_a_macro, number: u32 => number + 1);

#[test]
fn b37_a_renamed_crate_a_reexport_and_a_macro_rules_work() {
    on_both_flavors(async |_| {
        assert_eq!(through_a_renamed_crate().await, Ok(1));
        assert_eq!(through_a_reexport().await, Ok(false));
        assert_eq!(made_by_a_macro(1).await, Ok(2));
    });
}

#[test]
fn what_a_user_debugs_says_what_it_is_and_how_it_is() {
    on_both_flavors(async |manager| {
        let handle = runs_until_told();
        let text = format!("{handle:?}");
        let id = format!("{:?}", handle.id());
        for part in ["TaskHandle", &id, handle.name(), "is_finished: false"] {
            assert!(text.contains(part), "{text}");
        }
        let token = manager.token();
        let text = format!("{token:?}");
        assert!(text.starts_with("ShutdownToken") && text.contains("is_cancelled: false"));
        assert!(format!("{:?}", token.cancelled_owned()).starts_with("Cancelled"));
        handle.cancel();
    });
    let builder = bgtask::Manager::builder().grace(Duration::from_secs(7));
    assert_eq!(
        format!("{builder:?}"),
        "ManagerBuilder { grace: 7s, warn_after: None, .. }"
    );
    let handlers = bgtask::handlers();
    let handler = handlers[0];
    let (name, file, line) = (handler.name(), handler.file(), handler.line());
    assert_eq!(handler.to_string(), format!("{name} ({file}:{line})"));
    assert!(format!("{handler:?}").contains(name), "{handler:?}");
    assert_eq!(TaskState::BackingOff.to_string(), "backing off");
    let access = bgtask::dashboard::Access::from(true);
    assert_eq!(format!("{access:?}"), "Access(true)");
    let error = bgtask::Manager::install().unwrap_err();
    assert_eq!(error, bgtask::InstallError::NoRuntime);
    assert!(error.to_string().contains("runtime"), "{error}");
}

#[test]
fn b34_refusals_of_the_dashboard_are_told_once_a_minute_for_each_cause() {
    record_events();
    on_both_flavors(async |_| {
        let router: axum::Router = bgtask::dashboard::router();
        let ask = async |host: Option<&str>| {
            let mut request = axum::extract::Request::get("/");
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let request = request.body(axum::body::Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap()
        };
        for _ in 0..3 {
            for host in [None, Some("example.org")] {
                assert_eq!(ask(host).await.status(), 403);
            }
        }
    });
    let told = recorded(|event| event.message == "a request for the dashboard was refused");
    let causes: HashSet<_> = told.iter().map(|event| event.field("reason")).collect();
    // For each of the two dashboards.
    assert_eq!((told.len(), causes.len()), (4, 2), "{told:?}");
}

#[background(
    name = "seeing: all policies",
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
#[allow(dead_code, reason = "what this shows is how it is listed")]
async fn all_policies(number: u32) -> Result<(), String> {
    Err(number.to_string())
}

#[background(name = "seeing: as if not said", retry(max = 3, base = "200ms", last_attempt = true), coalesce(key = number), rate = "5/30s", log = "debug")]
#[allow(dead_code, reason = "what this shows is how it is listed")]
async fn as_if_not_said(number: u32) -> Result<(), String> {
    Err(number.to_string())
}

#[background(
    name = "seeing: cron",
    cron = "0 3 * * *",
    timezone = "Europe/Berlin",
    jitter = "10s",
    missed = "skip"
)]
async fn by_cron() {}

#[background(name = "seeing: every", every = "5m", immediately, overlap)]
async fn every() {}

#[background(
    name = "seeing: essential",
    on_start,
    essential,
    timeout = "1h",
    warn_after = "never"
)]
async fn essential() {}

#[background(
    name = "seeing: on start",
    on_start,
    restart(max = 2, window = "10s", base = "1s", when = "always"),
    on_shutdown = "cancel",
    log = "off"
)]
async fn on_start() {}

#[test]
fn b35_handlers_tell_their_options_as_they_are_written() {
    let handlers = bgtask::handlers();
    for (name, expected) in [
        ("::never_called", ""),
        (
            "seeing: all policies",
            "timeout = 1m30s, retry(max = 5, backoff = linear, base = 50ms, cap = 1h, jitter, panics, last_attempt = false), \
             concurrency(max = 8, queue = 100, overflow = drop_oldest), rate(limit = 100/s, overflow = refuse), warn_after = 2h, \
             on_shutdown = finish, log = warn",
        ),
        (
            "seeing: as if not said",
            "retry(max = 3), coalesce(policy = join), rate = 5/30s",
        ),
        (
            "seeing: cron",
            "cron = 0 3 * * *, timezone = Europe/Berlin, missed = skip, jitter = 10s",
        ),
        ("seeing: every", "every = 5m, immediately, overlap"),
        (
            "seeing: essential",
            "on_start, essential, timeout = 1h, warn_after = never",
        ),
        (
            "seeing: on start",
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

#[test]
fn what_comes_instead_of_a_value_says_so_in_words_of_its_own() {
    use bgtask::{InstallError, RefusedReason, ShutdownReason, Signal, TaskError};
    let texts = [
        TaskError::TimedOut.to_string(),
        TaskError::Cancelled.to_string(),
        TaskError::Aborted.to_string(),
        TaskError::Skipped.to_string(),
        TaskError::Replaced.to_string(),
        TaskError::Refused(RefusedReason::ShutDown).to_string(),
        TaskError::Refused(RefusedReason::GroupClosed).to_string(),
        TaskError::Refused(RefusedReason::QueueFull).to_string(),
        TaskError::Refused(RefusedReason::DroppedFromQueue).to_string(),
        TaskError::Refused(RefusedReason::RateExceeded).to_string(),
        TaskError::Refused(RefusedReason::MissingState("Pool")).to_string(),
        InstallError::NoRuntime.to_string(),
        InstallError::AlreadyInstalled.to_string(),
        InstallError::CalledBefore.to_string(),
        ShutdownReason::from("why").to_string(),
        ShutdownReason::from("why else".to_owned()).to_string(),
        ShutdownReason::from(Signal::Interrupt).to_string(),
        ShutdownReason::from(Signal::Terminate).to_string(),
        ShutdownReason::MainReturned.to_string(),
        ShutdownReason::MainPanicked.to_string(),
        ShutdownReason::ManagerDropped.to_string(),
    ];
    for words in [
        "out of time",
        "was cancelled",
        "was aborted",
        "skipped",
        "replaced by a later call",
        "has shut down",
        "the wait queue is full",
        "took its place in the line",
        "the rate limit was exceeded",
        "`State<Pool>`",
        "no tokio runtime",
        "one manager a runtime",
        "requested: why",
        "requested: why else",
        "SIGINT",
        "SIGTERM",
        "main returned",
        "main panicked",
        "the manager was dropped",
    ] {
        assert!(texts.iter().any(|text| text.contains(words)), "{words}");
    }
    let all: HashSet<_> = texts.iter().collect();
    assert_eq!(all.len(), texts.len(), "{texts:?}");
}
