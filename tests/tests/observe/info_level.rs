//! A process of its own, because the level that tracing lets through is the whole process's. At `info`, as most programs have it,
//! no event states the outcome of a task, but its span does.

use bgtask::background;
use bgtask_tests::on_both_flavors;
use std::fmt;
use std::sync::{Arc, Mutex};
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Id, Record};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// The fields that are recorded after a span was opened.
#[derive(Clone, Default)]
struct Recorded(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Recorded {
    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut self.clone());
    }
}

impl Visit for Recorded {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.lock().unwrap().push(format!("{field}={value:?}"));
    }
}

#[background]
async fn succeeds() {}

/// Behaviour 34.
#[test]
fn at_level_info_a_span_states_the_outcome_of_its_task() {
    let recorded = Recorded::default();
    let subscriber = tracing_subscriber::registry()
        .with(LevelFilter::INFO)
        .with(recorded.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    on_both_flavors(async |_| succeeds().await.unwrap());
    assert_eq!(*recorded.0.lock().unwrap(), ["outcome=succeeded"; 2]);
}
