//! `docs/tracing.md` is true: of the sources, which emit every event it names and no other, and of what a subscriber sees.

use bgtask::{Manager, RefusedReason, ShutdownReason, TaskError, TaskHandle, background};
use bgtask_tests::{
    FOREVER, blocking_until, manager_within, on_both_flavors, runtimes, subscribe, until,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Instrument, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

// ---- The page ----

/// As the page says of these two.
const NEVER_ON_STDERR: [&str; 2] = ["attempt failed, another follows", "shutdown ended"];

const WHOLE: &str = "the tables of docs/tracing.md";

/// What the page or the sources say of one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    levels: BTreeSet<String>,
    /// In their order.
    fields: Vec<String>,
    /// It goes to stderr where there is no subscriber.
    goes_to_stderr: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The rows of the table under a heading, a cell each; without its head.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let page = fs::read_to_string(root().join("docs/tracing.md")).unwrap();
    let (_, section) = page.split_once(&format!("## {heading}\n")).expect(heading);
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let rows = rows.map(|row| {
        let cells = row.trim_matches('|').split(" | ");
        cells.map(|cell| cell.trim().to_owned()).collect()
    });
    rows.collect()
}

fn in_backticks(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Every event the page names, by its message.
fn page() -> BTreeMap<String, Told> {
    let rows = rows("Events");
    assert!(rows.len() > 20, "{WHOLE}: {rows:?}");
    let told = rows.into_iter().map(|row| {
        let message = row[0].trim_matches('`').trim().to_owned();
        let levels: BTreeSet<_> = in_backticks(&row[1]).into_iter().collect();
        let is_loud = levels.contains("error") || levels.contains("warn");
        let told = Told {
            levels,
            fields: in_backticks(&row[2]),
            goes_to_stderr: is_loud && !NEVER_ON_STDERR.contains(&&*message),
        };
        (message, told)
    });
    told.collect()
}

/// What each field is, by its name: `text`, `number` or `bool`.
fn kinds() -> BTreeMap<String, String> {
    let rows = rows("Fields").into_iter();
    let kinds = rows.flat_map(|row| {
        let names = in_backticks(&row[0]).into_iter();
        names.map(move |name| (name, row[1].clone()))
    });
    kinds.collect()
}

// ---- The sources ----

fn sources(folder: &Path, into: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            into.push((path, source));
        }
    }
}

/// The arguments of a macro whose `(` has just been passed, split at the commas and semicolons that are not within brackets or
/// strings.
fn arguments(source: &str) -> Vec<String> {
    let mut arguments = vec![String::new()];
    let (mut depth, mut in_string) = (0, false);
    let mut characters = source.chars();
    while let Some(character) = characters.next() {
        let last = arguments.last_mut().unwrap();
        match character {
            '"' => in_string = !in_string,
            '\\' if in_string => {
                last.push(character);
                last.extend(characters.next());
                continue;
            }
            _ if in_string => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' | ';' if depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        last.push(character);
    }
    let arguments = arguments.iter().map(|argument| argument.trim().to_owned());
    arguments.filter(|argument| !argument.is_empty()).collect()
}

/// The text of a string literal.
fn text(literal: &str) -> String {
    let inner = literal
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let inner = inner.unwrap_or_else(|| panic!("{literal} is no literal"));
    let mut lines = inner.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let whole = lines.fold(first, |whole, line| whole + line.trim_start());
    whole.replace("\\\"", "\"")
}

/// The page has messages as code, and so without those of their own.
fn without_backticks(message: &str) -> String {
    message.replace('`', "")
}

/// Every event that the sources emit, by its message.
fn emitted() -> BTreeMap<String, Told> {
    let mut files = Vec::new();
    sources(&root().join("bgtask/src"), &mut files);
    let kinds = kinds();
    let mut all: BTreeMap<String, Told> = BTreeMap::new();
    for (path, source) in &files {
        if path.ends_with("notice.rs") {
            continue;
        }
        for name in ["report!(", "mention!(", "mention_at!("] {
            for call in source.split(name).skip(1) {
                let arguments = arguments(call);
                let [level, message, fields @ ..] = &arguments[..] else {
                    panic!("{path:?}: {arguments:?}");
                };
                let fields = fields.iter().map(|field| {
                    let at = field.find(['=', ':', '~']).unwrap();
                    let (name, sign) = (field[..at].trim(), &field[at..=at]);
                    let kind = kinds
                        .get(name)
                        .unwrap_or_else(|| panic!("{name} is not in {WHOLE}"));
                    // What the span has too is of the type that it has there.
                    let is_of_span = sign == "~" && ["name", "id"].contains(&name);
                    let is_text = sign == "=";
                    assert!(
                        is_of_span || is_text == (kind == "text"),
                        "{path:?}: {field}"
                    );
                    name.to_owned()
                });
                let fields: Vec<_> = fields.collect();
                let told = all.entry(without_backticks(&text(message))).or_default();
                told.levels.insert(match name {
                    "mention_at!(" => "log".to_owned(),
                    _ => level.clone(),
                });
                assert!(
                    told.fields.is_empty() || told.fields == fields,
                    "{message} has two lists of fields"
                );
                told.fields = fields;
                told.goes_to_stderr = name == "report!(";
            }
        }
    }
    all
}

#[test]
fn the_page_on_tracing_names_every_event_with_its_level_and_fields() {
    let (page, emitted) = (page(), emitted());
    for (message, told) in &emitted {
        assert_eq!(
            page.get(message),
            Some(told),
            "{message:?} in docs/tracing.md"
        );
    }
    let gone: Vec<_> = page
        .keys()
        .filter(|message| !emitted.contains_key(*message))
        .collect();
    assert!(gone.is_empty(), "only in docs/tracing.md: {gone:?}");
    let used: BTreeSet<_> = emitted
        .values()
        .flat_map(|told| told.fields.clone())
        .collect();
    let span: BTreeSet<_> = rows("The span")
        .iter()
        .flat_map(|row| in_backticks(&row[0]))
        .collect();
    let unused: Vec<_> = kinds()
        .into_keys()
        .filter(|name| !used.contains(name) && !span.contains(name))
        .collect();
    assert!(unused.is_empty(), "no event has the fields {unused:?}");
}

#[test]
fn events_are_emitted_in_no_other_way() {
    let mut files = Vec::new();
    sources(&root().join("bgtask/src"), &mut files);
    let mut found = Vec::new();
    for (path, source) in &files {
        for what in [
            "trace!", "debug!", "info!", "warn!", "error!", "event!", "span!",
        ] {
            let lines = source
                .lines()
                .filter(|line| line.contains("tracing::") && line.contains(what));
            found.extend(
                lines.map(|line| (path.file_name().unwrap().to_str().unwrap(), line.trim())),
            );
        }
    }
    found.sort_unstable();
    // The report for people, and the span: the page speaks of both.
    let report = |level| format!("tracing::{level}!(target: \"bgtask\", \"{{report}}\");");
    let (debug, warn) = (report("debug"), report("warn"));
    let [("shutdown.rs", first), ("shutdown.rs", second), spans @ ..] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!((*first, *second), (&*debug, &*warn));
    assert_eq!(spans.len(), 2, "{spans:?}");
    let is_span = |(file, line): &(&str, &str)| *file == "span.rs" && line.contains("\"task\"");
    assert!(spans.iter().all(is_span), "{spans:?}");
}

// ---- What a subscriber sees ----

type Fields = BTreeMap<String, (&'static str, String)>;

#[derive(Clone, Debug)]
struct Event {
    level: Level,
    target: String,
    message: String,
    fields: Fields,
    /// The names of the spans it stands in, innermost first.
    spans: Vec<Span>,
}

#[derive(Clone, Debug, Default)]
struct Span {
    name: String,
    level: Option<Level>,
    target: String,
    parent: Option<String>,
    /// Those it may have.
    declared: Vec<String>,
    fields: Fields,
    closed: bool,
}

impl Event {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |(_, text)| text)
    }
}

impl Span {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |(_, text)| text)
    }
}

#[derive(Default)]
struct Visitor(Fields);

impl Visit for Visitor {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.0.insert(field.name().to_owned(), ("text", text));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0
            .insert(field.name().to_owned(), ("text", value.to_owned()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0
            .insert(field.name().to_owned(), ("number", value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0
            .insert(field.name().to_owned(), ("bool", value.to_string()));
    }
}

/// Keeps what it sees. Clones share it.
#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    events: Vec<Event>,
    spans: BTreeMap<u64, Span>,
    /// Ids of spans are used again.
    closed: Vec<Span>,
}

impl Recorder {
    /// The one for the whole process. Tests tell what they have caused by the names of functions.
    fn global() -> Self {
        static ONE: std::sync::OnceLock<Recorder> = std::sync::OnceLock::new();
        let recorder = ONE.get_or_init(|| {
            let recorder = Recorder::default();
            let subscriber = tracing_subscriber::registry().with(recorder.clone());
            tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");
            recorder
        });
        recorder.clone()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The events whose field `name` ends with `name`.
    fn events_of(&self, name: &str) -> Vec<Event> {
        let mut events = self.change(|seen| seen.events.clone());
        // An event in the span of its call leaves it to that to name the call.
        events.retain(|event| match event.fields.get("name") {
            Some((_, own)) => own.ends_with(name),
            None => {
                let mut spans = event.spans.iter();
                let task = spans.find(|span| span.name == "task");
                task.is_some_and(|task| task.field("name").ends_with(name))
            }
        });
        events
    }

    /// The spans of tasks whose name ends with `name`: those that are open, and those that have closed.
    fn spans_of(&self, name: &str) -> Vec<Span> {
        let mut spans: Vec<_> =
            self.change(|seen| seen.spans.values().chain(&seen.closed).cloned().collect());
        spans.retain(|span: &Span| span.name == "task" && span.field("name").ends_with(name));
        spans
    }

    async fn until_closed(&self, name: &str, count: usize) -> Vec<Span> {
        let closed = || {
            self.spans_of(name)
                .iter()
                .filter(|span| span.closed)
                .count()
        };
        until("the spans have closed", || closed() >= count).await;
        self.spans_of(name)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut visitor = Visitor::default();
        attributes.record(&mut visitor);
        let metadata = attributes.metadata();
        let parent = context
            .span(id)
            .and_then(|span| Some(span.parent()?.name().to_owned()));
        let span = Span {
            name: metadata.name().to_owned(),
            level: Some(*metadata.level()),
            target: metadata.target().to_owned(),
            parent,
            declared: metadata
                .fields()
                .iter()
                .map(|field| field.name().to_owned())
                .collect(),
            fields: visitor.0,
            closed: false,
        };
        self.change(|seen| seen.spans.insert(id.into_u64(), span));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut visitor = Visitor::default();
        values.record(&mut visitor);
        self.change(|seen| {
            if let Some(span) = seen.spans.get_mut(&id.into_u64()) {
                span.fields.extend(visitor.0);
            }
        });
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.change(|seen| {
            if let Some(span) = seen.spans.remove(&id.into_u64()) {
                seen.closed.push(Span {
                    closed: true,
                    ..span
                });
            }
        });
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let mut visitor = Visitor::default();
        event.record(&mut visitor);
        let scope = context.event_scope(event).into_iter().flatten();
        let ids: Vec<_> = scope.map(|span| span.id().into_u64()).collect();
        let (_, message) = visitor.0.remove("message").unwrap_or_default();
        self.change(|seen| {
            let spans = ids
                .iter()
                .filter_map(|id| seen.spans.get(id).cloned())
                .collect();
            seen.events.push(Event {
                level: *event.metadata().level(),
                target: event.metadata().target().to_owned(),
                message,
                fields: visitor.0,
                spans,
            });
        });
    }
}

#[background]
async fn succeeds() -> u32 {
    1
}

#[background]
async fn fails() -> Result<(), String> {
    Err("its error".to_owned())
}

#[background]
async fn panics() {
    panic!("its panic");
}

#[background(timeout = "1ms")]
async fn times_out() {
    std::future::pending().await
}

#[background(retry(max = 2, backoff = "constant", base = "1ms"))]
async fn fails_twice() -> Result<(), &'static str> {
    Err("not today")
}

#[background(coalesce(policy = "skip"))]
async fn runs_alone() {
    std::future::pending().await
}

#[background(rate(limit = "1/h", overflow = "refuse"))]
async fn runs_hourly() {}

#[background]
async fn returns_a_bomb() -> Bomb {
    Bomb
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("its output's panic");
        }
    }
}

#[background]
async fn is_refused() {}

#[background]
async fn is_late() {
    std::future::pending().await
}

/// One call for each of the events that a call may cause.
#[test]
fn b34_events_are_what_the_page_says() {
    let recorder = Recorder::global();
    for runtime in runtimes() {
        let manager = Manager::builder()
            .grace(Duration::from_millis(200))
            .on_finish(|task| assert!(!task.name.ends_with("::succeeds"), "the hook's panic"))
            .install_on(runtime.handle())
            .unwrap();
        runtime.block_on(async {
            succeeds().await.unwrap();
            for detached in [fails().detached(), fails_twice().detached()] {
                until("it has ended", || detached.is_over()).await;
            }
            returns_a_bomb();
            let panicked = panics().await;
            assert!(matches!(panicked, Err(TaskError::Panicked { .. })));
            assert_eq!(times_out().await, Err(TaskError::TimedOut));
            let first = runs_alone();
            assert_eq!(runs_alone().await, Err(TaskError::Skipped));
            first.abort();
            assert_eq!(first.await, Err(TaskError::Aborted));
            runs_hourly().await.unwrap();
            let refused = runs_hourly().await;
            assert_eq!(
                refused,
                Err(TaskError::Refused(RefusedReason::RateExceeded))
            );
            until("all have ended", || manager.stats().running == 0).await;
            is_late();
            manager.shutdown("the test is over").await;
            let refused = is_refused().await;
            assert_eq!(refused, Err(TaskError::Refused(RefusedReason::ShutDown)));
        });
        runtime.shutdown_background();
    }
    let (page, kinds) = (page(), kinds());
    let events = recorder.change(|seen| seen.events.clone());
    let mut seen = BTreeSet::new();
    for event in events.iter().filter(|event| event.target == "bgtask") {
        let told = page
            .get(&without_backticks(&event.message))
            .unwrap_or_else(|| panic!("{event:?} is not on the page"));
        let names: BTreeSet<_> = event.fields.keys().cloned().collect();
        let mut expected: BTreeSet<_> = told.fields.iter().cloned().collect();
        // What is shown with the span leaves it to that to say which call it is. A filter may let warnings and errors through alone.
        let is_in_span = event.spans.iter().any(|span| span.name == "task");
        if is_in_span && event.level >= Level::INFO {
            expected.remove("name");
            expected.remove("id");
        }
        assert_eq!(names, expected, "{event:?}");
        for (name, (kind, _)) in &event.fields {
            assert_eq!(
                kinds.get(name).map(String::as_str),
                Some(*kind),
                "{name} of {event:?}"
            );
        }
        let level = event.level.to_string().to_lowercase();
        assert!(
            told.levels.contains(&level) || told.levels.contains("log"),
            "{event:?}"
        );
        seen.insert(&*event.message);
    }
    for message in [
        "task started",
        "task finished",
        "task panicked",
        "task failed",
        "task ran out of time",
        "task aborted without a shutdown",
        "task's output panicked while it was dropped",
        "task did not finish in time",
        "attempt failed, another follows",
        "call coalesced",
        "call refused",
        "call refused: the background work has shut down",
        "a hook panicked",
        "background functions are linked",
        "shutdown asked for",
        "draining",
        "shutdown ended",
    ] {
        assert!(seen.contains(message), "{message:?} is not among {seen:?}");
    }
    // Each says of which call it is.
    for event in events
        .iter()
        .filter(|event| event.fields.contains_key("called_at"))
    {
        assert!(
            event.field("called_at").contains("tracing.rs:"),
            "{event:?}"
        );
        // In its span, or by itself.
        let task = event.spans.iter().find(|span| span.name == "task");
        let fields = task.map_or(&event.fields, |task| &task.fields);
        assert!(fields.contains_key("name") && fields.contains_key("id"));
    }
    let attempts = recorder.events_of("::fails_twice");
    let attempt = attempts
        .iter()
        .find(|event| event.message.starts_with("attempt"))
        .unwrap();
    assert_eq!((attempt.field("attempt"), attempt.field("of")), ("1", "2"));
    assert_eq!(attempt.field("error"), "not today");
}

/// Drops the handle, and tells when the call is over.
trait Detached {
    fn detached(self) -> Over;
}

struct Over(bgtask::TaskId);

impl Over {
    fn is_over(&self) -> bool {
        bgtask::tasks().iter().all(|task| task.id != self.0)
    }
}

impl<T> Detached for TaskHandle<T> {
    fn detached(self) -> Over {
        Over(self.id())
    }
}

#[background(name = "b34 span succeeds")]
async fn span_succeeds() {}

#[background(name = "b34 span fails")]
fn span_fails() -> Result<(), String> {
    Err("its error".to_owned())
}

#[background(name = "b34 span panics")]
async fn span_panics() {
    panic!("its panic");
}

#[background(name = "b34 span times out", timeout = "1ms")]
async fn span_times_out() {
    std::future::pending().await
}

#[background(name = "b34 span is aborted")]
async fn span_is_aborted() {
    std::future::pending().await
}

#[test]
fn b34_a_tasks_span_says_how_it_ended_also_to_opentelemetry() {
    let recorder = Recorder::global();
    on_both_flavors(async |_| {
        async {
            span_succeeds().await.unwrap();
            span_fails().await.unwrap().unwrap_err();
            span_panics().await.unwrap_err();
            span_times_out().await.unwrap_err();
            let aborted = span_is_aborted();
            aborted.abort();
            aborted.await.unwrap_err();
        }
        .instrument(tracing::info_span!("request"))
        .await;
        for name in ["succeeds", "fails", "panics", "times out", "is aborted"] {
            recorder.until_closed(&format!("b34 span {name}"), 1).await;
        }
    });
    let declared: Vec<_> = rows("The span")
        .iter()
        .flat_map(|row| in_backticks(&row[0]))
        .collect();
    for (name, outcome, status, description) in [
        ("b34 span succeeds", "succeeded", "", ""),
        ("b34 span fails", "failed", "ERROR", "its error"),
        ("b34 span panics", "panicked", "ERROR", "its panic"),
        ("b34 span times out", "timed out", "ERROR", "time"),
        ("b34 span is aborted", "aborted", "", ""),
    ] {
        let spans = recorder.spans_of(name);
        assert_eq!(spans.len(), 2, "{name}");
        for span in spans {
            assert_eq!((span.level, &*span.target), (Some(Level::INFO), "bgtask"));
            assert_eq!(span.declared, declared);
            assert_eq!(span.parent.as_deref(), Some("request"));
            assert_eq!(span.fields["id"].0, "number");
            assert_eq!(span.field("outcome"), outcome, "{span:?}");
            assert_eq!(span.field("otel.name"), name);
            assert_eq!(span.field("otel.status_code"), status, "{span:?}");
            let told = span.field("otel.status_description");
            assert!(told.contains(description), "{span:?}");
            assert_eq!(told.is_empty(), description.is_empty(), "{span:?}");
        }
    }
}

#[background]
async fn ends_before_its_handle_is_asked() -> u32 {
    7
}

#[test]
fn b34_a_span_closes_with_its_task_though_the_handle_is_kept() {
    let recorder = Recorder::global();
    on_both_flavors(async |_| {
        let handle = ends_before_its_handle_is_asked();
        until("it has ended", || handle.is_finished()).await;
        for span in recorder.spans_of("::ends_before_its_handle_is_asked") {
            assert!(span.closed, "{span:?}");
        }
        assert_eq!(handle.await, Ok(7));
    });
    assert_eq!(
        recorder.spans_of("::ends_before_its_handle_is_asked").len(),
        2
    );
}

#[background]
async fn is_queued_at_the_deadline() {}

#[test]
fn b34_a_call_that_the_deadline_finds_queued_has_not_started() {
    let recorder = Recorder::global();
    let [runtime, _] = runtimes();
    let manager = manager_within(Duration::ZERO, &runtime);
    runtime.block_on(async {
        is_queued_at_the_deadline();
        manager.request_shutdown("the test is over");
        let name = "::is_queued_at_the_deadline";
        // Blocks the only worker: the call stays queued until the shutdown has struck it out.
        blocking_until("it is named", || {
            let events = recorder.events_of(name);
            events
                .iter()
                .any(|event| event.message == "task did not finish in time")
        });
        manager.shutdown("the test is over").await;
        recorder.until_closed(name, 1).await;
        let events = recorder.events_of(name);
        assert!(
            events.iter().all(|event| event.message != "task started"),
            "{events:?}"
        );
    });
}

#[background(concurrency(max = 1, queue = 0))]
async fn holds_the_permit() {
    std::future::pending().await
}

#[background]
async fn calls_what_is_refused() {
    holds_the_permit();
    assert!(holds_the_permit().await.is_err());
}

/// The event is about the refused call, and stands in the span of the one that made it.
#[test]
fn b34_an_event_in_the_span_of_another_call_names_its_own() {
    let recorder = Recorder::global();
    let [runtime, _] = runtimes();
    let manager = manager_within(Duration::ZERO, &runtime);
    runtime.block_on(async {
        calls_what_is_refused().await.unwrap();
        manager.shutdown("the test is over").await;
    });
    let events = recorder.events_of("::holds_the_permit");
    let refused = events.iter().find(|event| event.message == "call refused");
    let refused = refused.expect("it was refused");
    assert!(
        refused.spans[0]
            .field("name")
            .ends_with("::calls_what_is_refused")
    );
    assert!(refused.field("name").ends_with("::holds_the_permit"));
    assert!(!refused.field("id").is_empty());
}

#[background]
async fn drains_in_silence(token: bgtask::ShutdownToken) {
    token.cancelled().await;
}

#[test]
fn b34_a_shutdown_in_which_all_goes_well_is_one_line_at_info() {
    let recorder = Recorder::global();
    for runtime in runtimes() {
        let manager = manager_within(FOREVER, &runtime);
        runtime.block_on(async {
            drains_in_silence();
            manager.request_shutdown("b34 in silence");
            assert!(manager.shutdown("the test is over").await.is_clean());
        });
    }
    let events = recorder.change(|seen| seen.events.clone());
    let of_shutdown: Vec<_> = events
        .iter()
        .filter(|event| event.field("reason") == "requested: b34 in silence")
        .map(|event| (event.level, &*event.message))
        .collect();
    let each = [
        (Level::DEBUG, "shutdown asked for"),
        (Level::INFO, "shutdown ended"),
    ];
    assert_eq!(of_shutdown, [each, each].concat());
    let draining = events.iter().filter(|event| event.message == "draining");
    assert!(
        draining
            .map(|event| event.level)
            .all(|level| level == Level::DEBUG)
    );
}

#[background(log = "error")]
async fn is_told_at_error() {}

#[test]
fn b34_events_name_their_call_where_its_span_is_filtered_out() {
    let recorder = Recorder::default();
    let subscriber =
        tracing_subscriber::registry().with(recorder.clone().with_filter(LevelFilter::ERROR));
    let _subscribed = subscribe(subscriber);
    let [runtime, _] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        is_told_at_error().await.unwrap();
        manager.shutdown(ShutdownReason::MainReturned).await;
    });
    let events = recorder.events_of("::is_told_at_error");
    let messages: Vec<_> = events.iter().map(|event| &*event.message).collect();
    assert_eq!(messages, ["task started", "task finished"]);
    assert!(events.iter().all(|event| event.spans.is_empty()));
    assert!(events[0].field("id").parse::<u64>().is_ok());
    assert_eq!(events[0].field("id"), events[1].field("id"));
}

#[background(name = "shop::import")]
async fn imports() {
    tracing::info!("from the task");
    tracing::debug!("in detail");
}

#[background(name = "shop::export")]
async fn exports() {
    tracing::debug!("in detail");
    panic!("its panic");
}

/// What the rows of the page's table on filters let through, of one run.
fn seen_with(filter: &str) -> Vec<String> {
    let recorder = Recorder::default();
    let subscriber = tracing_subscriber::registry()
        .with(EnvFilter::new(filter))
        .with(recorder.clone());
    let subscribed = subscribe(subscriber);
    let [runtime, _] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        tracing::info!("from elsewhere");
        imports().await.unwrap();
        exports().await.unwrap_err();
        manager.shutdown(ShutdownReason::MainReturned).await;
    });
    drop(subscribed);
    let mut seen: Vec<_> = recorder.change(|seen| {
        let of_tasks = |span: &&Span| span.name == "task";
        let spans = seen
            .closed
            .iter()
            .chain(seen.spans.values())
            .filter(of_tasks);
        let spans = spans.map(|span| format!("span {}", span.field("name")));
        let events = seen.events.iter().map(|event| {
            let span = event.spans.first().map_or("", |span| span.field("name"));
            format!(
                "{}{}{}",
                event.message,
                if span.is_empty() { "" } else { " in " },
                span
            )
        });
        spans.chain(events).collect()
    });
    seen.retain(|what| !what.contains("are linked"));
    seen
}

#[test]
fn b34_the_filters_of_the_page_let_through_what_it_says() {
    let spans = ["span shop::import", "span shop::export"];
    let panicked = "task panicked in shop::export";
    let expected: [(&str, Vec<&str>); 5] = [
        (
            "info,bgtask=warn",
            vec!["from elsewhere", "from the task", "task panicked"],
        ),
        (
            "info",
            vec![
                spans[0],
                spans[1],
                "from elsewhere",
                "from the task in shop::import",
                panicked,
            ],
        ),
        (
            "info,bgtask=debug",
            vec![
                spans[0],
                spans[1],
                "from elsewhere",
                "task started in shop::import",
                "from the task in shop::import",
                "task finished in shop::import",
                "task started in shop::export",
                panicked,
                "task finished in shop::export",
            ],
        ),
        (
            "warn,bgtask[task]=info",
            vec![
                spans[0],
                spans[1],
                "from the task in shop::import",
                panicked,
            ],
        ),
        (
            "info,bgtask[task{name=shop::import}]=debug",
            vec![
                spans[0],
                spans[1],
                "from elsewhere",
                "task started in shop::import",
                "from the task in shop::import",
                "in detail in shop::import",
                "task finished in shop::import",
                panicked,
            ],
        ),
    ];
    let lines: Vec<_> = rows("Filters")
        .iter()
        .flat_map(|row| in_backticks(&row[0]))
        .collect();
    assert_eq!(
        lines,
        expected.iter().map(|(line, _)| *line).collect::<Vec<_>>()
    );
    for (line, expected) in expected {
        assert_eq!(seen_with(line), expected, "{line}");
    }
}
