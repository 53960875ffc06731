//! A subscriber that records events and spans for a test to read. Owns the records; knows nothing of what any test expects.

use crate::until;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Its type: `text`, `number` or `bool`.
    pub kind: &'static str,
    /// Its text.
    pub text: String,
}

/// Fields by their name.
pub(crate) type Fields = BTreeMap<&'static str, Value>;

fn text<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).map_or("", |value| &value.text)
}

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its level.
    pub level: Level,
    /// Its target.
    pub target: &'static str,
    /// Its message.
    pub message: String,
    /// Its other fields.
    pub fields: Fields,
    /// The spans around it, innermost first, as they were at the event.
    pub spans: Vec<Span>,
}

impl Event {
    /// Returns the field's text, or nothing. An event in the span of its call leaves `name` and `id` to that span.
    pub fn field(&self, name: &str) -> &str {
        let of_span = || self.task().filter(|_| ["name", "id"].contains(&name));
        match self.fields.get(name) {
            Some(value) => &value.text,
            None => of_span().map_or("", |span| span.field(name)),
        }
    }

    /// Returns a field of the innermost span, or nothing.
    pub fn span_field(&self, name: &str) -> &str {
        self.spans.first().map_or("", |span| span.field(name))
    }

    /// Returns the innermost span of a task around it.
    pub fn task(&self) -> Option<&Span> {
        self.spans.iter().find(|span| span.name() == "task")
    }
}

/// One span.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its name, level, target and declared fields.
    pub metadata: &'static Metadata<'static>,
    /// The name of the span around it.
    pub parent: Option<&'static str>,
    /// The fields that have a value.
    pub fields: Fields,
    /// Whether it has closed.
    pub is_closed: bool,
}

impl Span {
    /// Returns its name.
    pub fn name(&self) -> &'static str {
        self.metadata.name()
    }

    /// Returns the field's text, or nothing.
    pub fn field(&self, name: &str) -> &str {
        text(&self.fields, name)
    }
}

/// A layer that records. Clones share their records.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Records>>);

#[derive(Debug, Default)]
struct Records {
    events: Vec<Event>,
    open: BTreeMap<u64, Span>,
    /// Apart from the open ones, because a subscriber reuses the ids.
    closed: Vec<Span>,
    /// Most tests read events only, and some open a hundred thousand spans.
    keeps_closed: bool,
}

impl Recorder {
    /// Returns the recorder of the process, which is its global subscriber. Tests of one process
    /// select their events by the names of their functions.
    pub fn global() -> &'static Self {
        static GLOBAL: OnceLock<Recorder> = OnceLock::new();
        GLOBAL.get_or_init(|| {
            let recorder = Recorder::default();
            let subscriber = tracing_subscriber::registry().with(recorder.clone());
            tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");
            recorder
        })
    }

    /// Keeps spans that close from now on.
    #[must_use]
    pub fn keeping_spans(self) -> Self {
        self.with(|records| records.keeps_closed = true);
        self
    }

    fn with<T>(&self, work: impl FnOnce(&mut Records) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the events that `fits` selects.
    pub fn events(&self, fits: impl Fn(&Event) -> bool) -> Vec<Event> {
        self.with(|records| {
            let events = records.events.iter().filter(|event| fits(event));
            events.cloned().collect()
        })
    }

    /// Returns the events about calls whose name ends with `name`.
    pub fn events_about(&self, name: &str) -> Vec<Event> {
        self.events(|event| event.field("name").ends_with(name))
    }

    /// Returns the open and the closed spans that `fits` selects.
    pub fn spans(&self, fits: impl Fn(&Span) -> bool) -> Vec<Span> {
        self.with(|records| {
            let spans = records.closed.iter().chain(records.open.values());
            spans.filter(|span| fits(span)).cloned().collect()
        })
    }

    /// Returns the spans of tasks whose name ends with `name`.
    pub fn task_spans(&self, name: &str) -> Vec<Span> {
        self.spans(|span| span.name() == "task" && span.field("name").ends_with(name))
    }

    /// Waits until `count` spans of tasks whose name ends with `name` have closed.
    pub async fn until_closed(&self, name: &str, count: usize) {
        let closed = || {
            let spans = self.task_spans(name);
            spans.iter().filter(|span| span.is_closed).count()
        };
        until("the spans have closed", || closed() >= count).await;
    }
}

#[derive(Default)]
struct Visitor(Fields);

impl Visitor {
    fn insert(&mut self, field: &Field, kind: &'static str, text: String) {
        self.0.insert(field.name(), Value { kind, text });
    }
}

impl Visit for Visitor {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, "text", format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, "text", value.to_owned());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, "number", value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, "bool", value.to_string());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut visitor = Visitor::default();
        attributes.record(&mut visitor);
        let parent = context
            .span(id)
            .and_then(|span| Some(span.parent()?.name()));
        let span = Span {
            metadata: attributes.metadata(),
            parent,
            fields: visitor.0,
            is_closed: false,
        };
        self.with(|records| records.open.insert(id.into_u64(), span));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut visitor = Visitor::default();
        values.record(&mut visitor);
        self.with(|records| {
            if let Some(span) = records.open.get_mut(&id.into_u64()) {
                span.fields.extend(visitor.0);
            }
        });
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.with(|records| {
            let span = records.open.remove(&id.into_u64());
            if let Some(mut span) = span.filter(|_| records.keeps_closed) {
                span.is_closed = true;
                records.closed.push(span);
            }
        });
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let mut visitor = Visitor::default();
        event.record(&mut visitor);
        let scope = context.event_scope(event).into_iter().flatten();
        let ids: Vec<_> = scope.map(|span| span.id().into_u64()).collect();
        let message = visitor.0.remove("message");
        self.with(|records| {
            let spans = ids.iter().filter_map(|id| records.open.get(id).cloned());
            let spans = spans.collect();
            records.events.push(Event {
                level: *event.metadata().level(),
                target: event.metadata().target(),
                message: message.map(|value| value.text).unwrap_or_default(),
                fields: visitor.0,
                spans,
            });
        });
    }
}
