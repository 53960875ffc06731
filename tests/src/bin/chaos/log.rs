//! The log of the process, and the subscriber that writes the report into it. Of bgtask's records it reads only the totals.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata};

static LOG: OnceLock<(Instant, File)> = OnceLock::new();

pub(crate) fn open(path: &Path) {
    let file = OpenOptions::new().append(true).create(true).open(path);
    LOG.set((Instant::now(), file.expect("the log can be written")))
        .expect("opened once");
}

/// Writes one line in one write to the end of the file, so the lines of all threads have one order.
pub(crate) fn write(line: fmt::Arguments<'_>) {
    let (start, file) = LOG.get().expect("it is open");
    let line = format!("{} {line}\n", start.elapsed().as_micros());
    let mut file: &File = file;
    file.write_all(line.as_bytes())
        .expect("the log can be written");
}

/// A subscriber that logs the report and the totals at that moment, then calls `afterwards`.
pub(crate) struct Listener {
    pub(crate) afterwards: fn(),
}

impl tracing::Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= &Level::DEBUG
    }
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        if !message.0.starts_with("shutdown (") {
            return;
        }
        write(format_args!("X {}", message.0.replace('\n', " | ")));
        let runs: u64 = bgtask::schedules()
            .iter()
            .map(|schedule| schedule.info().runs)
            .sum();
        let totals = bgtask::stats();
        write(format_args!(
            "S {runs} {} {} {} {} {} {} {} {} {} {} {}",
            totals.accepted,
            totals.refused,
            totals.coalesced,
            totals.running,
            totals.succeeded,
            totals.failed,
            totals.panicked,
            totals.timed_out,
            totals.cancelled,
            totals.aborted,
            totals.abandoned,
        ));
        (self.afterwards)();
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
