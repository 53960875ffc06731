//! User text in events and reports: an error, a panic, a reason. It forges no line and moves no cursor, and long text is
//! truncated.

use bgtask::{
    InstallError, RefusedReason, ShutdownReason, Signal, TaskError, background, dashboard,
};
use bgtask_tests::{on_both_flavors, record_events, recorded, recorded_of};
use std::fmt::Display;
use std::sync::{Arc, Mutex};

/// Ends the line, moves the cursor and reverses the text direction; `SHOWN` is the same text as bgtask prints it.
const HOSTILE: &str = "a\r\nb\tc\u{1b}[2J\u{9b}1m\u{85}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}\u{7f}\u{0}z\\n é";
const SHOWN: &str = r"a\r\nb\tc\u{1b}[2J\u{9b}1m\u{85}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}\u{7f}\u{0}z\n é";

/// The default limit of a printed text, in bytes.
const LIMIT: usize = 4096;

fn is_harmless(text: &str) -> bool {
    let deceives = |character: char| {
        character.is_control()
            || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    !text.chars().any(deceives)
}

#[background(name = "hostile_texts::fails")]
async fn fails(text: String) -> Result<(), String> {
    Err(text)
}

#[background(name = "hostile_texts::panics")]
async fn panics(text: String) {
    std::panic::panic_any(text);
}

#[background(name = "hostile_texts::tries", retry(max = 2, base = "1ms"))]
async fn tries(text: String) -> Result<(), String> {
    Err(text)
}

struct PanicsOnDrop(String);

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        std::panic::panic_any(self.0.clone());
    }
}

#[background(name = "hostile_texts::returns_a_bomb")]
async fn returns_a_bomb(text: String) -> PanicsOnDrop {
    PanicsOnDrop(text)
}

#[test]
fn user_text_is_escaped_in_every_event() {
    record_events();
    on_both_flavors(async |manager| {
        bgtask::on_error(|task| {
            assert!(task.name != "hostile_texts::fails", "{}", task.error);
        });
        fails(HOSTILE.to_owned());
        panics(HOSTILE.to_owned());
        tries(HOSTILE.to_owned());
        returns_a_bomb(HOSTILE.to_owned());
        bgtask_tests::until("all have ended", || manager.stats().running == 0).await;
        manager.request_shutdown(HOSTILE.to_owned());
    });
    for (message, field) in [
        ("task failed", "error"),
        ("task panicked", "panic"),
        ("task output panicked on drop", "panic"),
        ("attempt failed, retrying", "error"),
        ("hook panicked", "panic"),
        ("shutdown requested", "reason"),
        ("shutdown complete", "reason"),
    ] {
        // At least one per flavor; other tests of the process have events too.
        let events = recorded(|event| event.message == message);
        let fits = events
            .iter()
            .filter(|event| event.field(field).contains(SHOWN));
        assert!(fits.count() >= 2, "{message}: {events:#?}");
    }
    for event in recorded_of("") {
        let of_spans = event.spans.iter().flat_map(|span| &span.fields);
        for (field, value) in event.fields.iter().chain(of_spans) {
            assert!(is_harmless(&value.text), "{field} of {event:?}");
        }
    }
}

#[test]
fn a_long_text_is_truncated_with_its_length_in_events_and_whole_for_the_program() {
    record_events();
    let long = "é".repeat(50_000);
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    on_both_flavors(async |_| {
        let (errors, panicked) = (seen.clone(), seen.clone());
        bgtask::on_error(move |task| errors.lock().unwrap().push(task.error.to_owned()));
        bgtask::on_panic(move |task| panicked.lock().unwrap().push(task.message.to_owned()));
        let error = named_fails(long.clone()).await.unwrap().unwrap_err();
        assert_eq!(error, long);
        drop(named_fails(long.clone()));
        let Err(error) = named_panics(long.clone()).await else {
            panic!("it should have panicked");
        };
        let line = error.to_string();
        assert!(line.ends_with("… (100000 bytes)"), "{line}");
        assert!(line.len() < LIMIT + 200, "{}", line.len());
        assert!(matches!(error, TaskError::Panicked { message, .. } if message == long));
        bgtask_tests::until("it has ended", || bgtask::stats().running == 0).await;
    });
    assert!(seen.lock().unwrap().iter().all(|text| *text == long));
    assert_eq!(seen.lock().unwrap().len(), 6);
    for (task, field) in [
        ("hostile_texts::named_fails", "error"),
        ("hostile_texts::named_panics", "panic"),
    ] {
        let cut = format!("{}… (100000 bytes)", "é".repeat(LIMIT / 2));
        let events = recorded_of(task);
        let texts: Vec<_> = events
            .iter()
            .map(|event| event.field(field))
            .filter(|text| !text.is_empty())
            .collect();
        assert_eq!(texts, [&cut, &cut], "{task}");
    }
}

#[background(name = "hostile_texts::tries_named", retry(max = 2, base = "1ms"))]
async fn tries_named(text: String) -> Result<(), String> {
    Err(text)
}

#[background(
    name = "hostile_texts::panics_twice",
    retry(max = 2, base = "1ms", panics)
)]
async fn panics_twice(text: String) {
    std::panic::panic_any(text);
}

#[test]
fn a_text_of_any_length_leaves_the_number_of_attempts_whole() {
    record_events();
    let long = "é".repeat(50_000);
    let note = "(after 2 attempts)";
    let cut = format!("{}… (100000 bytes) {note}", "é".repeat(LIMIT / 2));
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    on_both_flavors(async |manager| {
        let (errors, panicked) = (seen.clone(), seen.clone());
        bgtask::on_error(move |task| errors.lock().unwrap().push(task.error.to_owned()));
        bgtask::on_panic(move |task| panicked.lock().unwrap().push(task.message.to_owned()));
        let router: axum::Router = dashboard::router();
        drop(tries_named(long.clone()));
        drop(panics_twice(long.clone()));
        bgtask_tests::until("both have ended", || manager.stats().running == 0).await;
        let shown = dashboard_snapshot(router).await;
        for latest in [0, 1] {
            assert_eq!(shown["failures"]["latest"][latest]["message"], cut);
        }
    });
    for (task, message, field) in [
        ("hostile_texts::tries_named", "task failed", "error"),
        ("hostile_texts::panics_twice", "task panicked", "panic"),
    ] {
        let mut events = recorded_of(task);
        events.retain(|event| event.message == message);
        let texts: Vec<_> = events.iter().map(|event| event.field(field)).collect();
        assert_eq!(texts, [&cut, &cut], "{task}");
    }
    // The hooks receive the whole text.
    let whole = format!("{long} {note}");
    assert_eq!(*seen.lock().unwrap(), vec![whole; 4]);
}

#[background(
    name = "hostile_texts::tries_late",
    log = "off",
    retry(max = 2, base = "1ms", last_attempt = false)
)]
async fn tries_late(text: String, token: bgtask::ShutdownToken) -> Result<(), String> {
    token.cancelled().await;
    Err(text)
}

#[test]
fn a_report_keeps_the_number_of_attempts_after_a_truncated_text() {
    let reports = on_both_flavors(async |manager| {
        drop(tries_late("é".repeat(50_000)));
        manager.request_shutdown("now");
    });
    for report in reports {
        let message = &report.failures[0].message;
        let note = "… (100000 bytes) (gave up after 1 attempt)";
        assert!(message.ends_with(note), "{report}");
        assert!(report.to_string().contains(note), "{report}");
    }
}

#[background(name = "hostile_texts::named_fails")]
async fn named_fails(text: String) -> Result<(), String> {
    Err(text)
}

#[background(name = "hostile_texts::named_panics")]
async fn named_panics(text: String) {
    std::panic::panic_any(text);
}

#[test]
fn an_escape_counts_with_its_full_length_and_is_never_split() {
    // `\u{1b}` has six bytes, and 4096 is no multiple of six.
    let escapes = "\u{1b}".repeat(5000);
    let shown = ShutdownReason::Requested(escapes.into()).to_string();
    let text = shown.strip_prefix("requested: ").unwrap();
    let cut = r"\u{1b}".repeat(LIMIT / 6);
    assert_eq!(text, format!("{cut}… (5000 bytes)"));
}

#[test]
fn a_text_of_the_maximum_length_is_whole() {
    for text in ["a".repeat(LIMIT), "é".repeat(LIMIT / 2)] {
        let shown = ShutdownReason::Requested(text.clone().into()).to_string();
        assert_eq!(shown, format!("requested: {text}"));
    }
    let longer = "a".repeat(LIMIT + 1);
    let shown = ShutdownReason::Requested(longer.into()).to_string();
    assert!(shown.ends_with("a… (4097 bytes)"), "{shown}");
}

#[test]
fn errors_and_reasons_print_harmless_lines_and_keep_the_original_text() {
    on_both_flavors(async |_| {
        let Err(error) = panics(HOSTILE.to_owned()).await else {
            panic!("it should have panicked");
        };
        let line = error.to_string();
        assert!(line.ends_with(&format!(": {SHOWN}")), "{line}");
        assert!(is_harmless(&line));
        assert!(matches!(error, TaskError::Panicked { message, .. } if message == HOSTILE));
    });
    let reason = ShutdownReason::from(HOSTILE.to_owned());
    assert_eq!(reason.to_string(), format!("requested: {SHOWN}"));
    assert_eq!(reason, ShutdownReason::Requested(HOSTILE.into()));
}

#[background(name = "hostile_texts::fails_late", log = "off")]
async fn fails_late(text: String, token: bgtask::ShutdownToken) -> Result<(), String> {
    token.cancelled().await;
    Err(text)
}

#[test]
fn a_report_and_a_snapshot_have_only_their_own_lines_and_keep_no_long_text() {
    let reports = on_both_flavors(async |manager| {
        fails_late(HOSTILE.to_owned());
        fails_late("é".repeat(50_000));
        manager.request_shutdown(HOSTILE.to_owned());
        let snapshot = bgtask::snapshot().to_string();
        let first = snapshot.lines().next().unwrap();
        assert!(first.contains(SHOWN), "{first}");
        assert!(snapshot.lines().all(is_harmless), "{snapshot}");
    });
    for report in reports {
        let text = report.to_string();
        // The summary, the table head, and one line for each of the two.
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.lines().all(is_harmless), "{text}");
        assert!(text.contains(SHOWN), "{text}");
        assert!(
            text.contains(&format!("{}… (100000 bytes)", "é".repeat(LIMIT / 2))),
            "{text}"
        );
        // As data, the report has the original text, up to the limit.
        let of = |id: usize| report.failures[id].message.clone();
        let messages = [of(0), of(1)];
        assert!(messages.contains(&HOSTILE.to_owned()), "{messages:?}");
        assert!(
            messages.iter().all(|text| text.len() < LIMIT + 30),
            "{messages:?}"
        );
    }
}

#[test]
fn a_report_shows_every_line_of_a_failure_text() {
    let reports = on_both_flavors(async |manager| {
        fails_late("first line\nsecond line".to_owned());
        let long = format!("short line\n{}", "é".repeat(50_000));
        fails_late(long);
        manager.request_shutdown("now");
    });
    for report in reports {
        let text = report.to_string();
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains(r"first line\nsecond line"), "{text}");
        assert!(text.contains(r"short line\né"), "{text}");
        assert!(text.contains("… (100011 bytes)"), "{text}");
    }
}

#[test]
fn the_dashboard_keeps_and_shows_no_more_of_a_text_than_an_event_does() {
    on_both_flavors(async |_| {
        let router: axum::Router = dashboard::router();
        let _ = fails(HOSTILE.to_owned()).await;
        let _ = panics("é".repeat(50_000)).await;
        let shown = dashboard_snapshot(router.clone()).await;
        let latest = &shown["failures"]["latest"];
        assert_eq!(latest[1]["message"], SHOWN);
        let cut = format!("{}… (100000 bytes)", "é".repeat(LIMIT / 2));
        assert_eq!(latest[0]["message"], cut);

        // The page of a function, too: escaped, and of bounded length.
        let shown =
            dashboard_json(router.clone(), "/function.json?name=hostile_texts::fails").await;
        let group = &shown["groups"][0];
        assert_eq!(group["last_message"], SHOWN);
        for message in [&group["message"], &shown["ended"][0]["message"]] {
            assert!(is_harmless(message.as_str().unwrap()), "{message}");
        }
        let shown = dashboard_json(router, "/function.json?name=hostile_texts::panics").await;
        assert_eq!(shown["groups"][0]["last_message"], cut);
        assert_eq!(shown["groups"][0]["message"], "é".repeat(200));
        let beginning = format!("{}…", "é".repeat(200));
        assert_eq!(shown["ended"][0]["message"], beginning);
    });
}

async fn dashboard_snapshot(router: axum::Router) -> serde_json::Value {
    dashboard_json(router, "/snapshot.json").await
}

async fn dashboard_json(router: axum::Router, path: &str) -> serde_json::Value {
    let mut request = axum::extract::Request::get(path)
        .header("host", "localhost")
        .body(axum::body::Body::empty())
        .unwrap();
    let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 50_000));
    let peer = axum::extract::ConnectInfo(peer);
    request.extensions_mut().insert(peer);
    let answer = tower::ServiceExt::oneshot(router, request).await.unwrap();
    let bytes = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
    serde_json::from_slice(&bytes.unwrap()).unwrap()
}

#[cfg(unix)]
mod on_stderr {
    use super::{LIMIT, is_harmless};
    use bgtask_tests::process::Process;

    fn stderr(what: &str) -> String {
        Process::start(env!("CARGO_BIN_EXE_hostile_texts"), &[what])
            .wait()
            .stderr
    }

    #[test]
    fn user_text_forges_no_line() {
        let stderr = stderr("forged");
        let lines: Vec<_> = stderr.lines().collect();
        for event in ["task failed", "task panicked", "hook panicked"] {
            let of = |line: &&&str| line.starts_with(&format!("bgtask: {event}"));
            assert!(lines.iter().filter(of).count() >= 1, "{event}: {stderr}");
        }
        assert!(lines.iter().all(|line| is_harmless(line)), "{stderr:?}");
        let forged = |line: &&str| line.starts_with("bgtask: forged");
        assert!(!lines.iter().any(forged), "{stderr}");
        assert!(stderr.contains(r"disk\r\nbgtask: forged name=forged\u{1b}[2J"));
    }

    #[test]
    fn a_long_text_is_truncated_on_stderr_to_the_configured_length() {
        let default = stderr("long");
        assert!(default.contains("task failed"), "{default}");
        let longest = |text: &str| text.lines().map(str::len).max().unwrap_or(0);
        assert!(longest(&default) < LIMIT + 400, "{}", longest(&default));
        assert!(default.contains("é… (100000 bytes)"), "{default}");
        let short = stderr("short");
        assert!(short.contains("error=0123456789… (16 bytes)"), "{short}");
        assert!(!short.contains("0123456789a"), "{short}");
        let whole = stderr("whole");
        assert!(longest(&whole) > 100_000, "{}", longest(&whole));
    }
}

#[background(log = "off")]
async fn panics_for_a_width() {
    panic!("its message");
}

#[test]
fn a_width_pads_the_text_of_errors_and_reasons() {
    on_both_flavors(async |_| {
        let panicked = panics_for_a_width().await.unwrap_err();
        is_padded(&panicked);
        is_padded(bgtask::handlers().first().unwrap());
    });
    let shown: [Box<dyn Display>; 7] = [
        Box::new(TaskError::TimedOut),
        Box::new(TaskError::Refused(RefusedReason::GroupClosed)),
        Box::new(RefusedReason::GroupClosed),
        Box::new(InstallError::NoRuntime),
        Box::new(Signal::Terminate),
        Box::new(ShutdownReason::MainReturned),
        Box::new(ShutdownReason::from("why")),
    ];
    shown.iter().for_each(is_padded);
}

fn is_padded(shown: &impl Display) {
    let text = shown.to_string();
    assert_eq!(format!("{shown:>500}|"), format!("{text:>500}|"));
    assert_eq!(format!("{shown:<500}|"), format!("{text:<500}|"));
}
