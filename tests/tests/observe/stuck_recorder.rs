//! The feature `metrics`: a recorder that is stuck. It serves the whole process, so this has one to itself.

use bgtask::background;
use bgtask_tests::{FOREVER, manager_within, runtimes};
use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    set_global_recorder,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

static IS_STUCK: AtomicBool = AtomicBool::new(false);

/// Never comes back from what it is told of managers.
struct Stuck;

impl Recorder for Stuck {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        while key.name() == "bgtask_managers" && IS_STUCK.load(Ordering::Relaxed) {
            thread::park();
        }
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[background]
async fn ends() {}

#[test]
fn a_recorder_that_is_stuck_holds_neither_the_shutdown_nor_the_drop_of_the_manager() {
    set_global_recorder(Stuck).unwrap();
    let [runtime, _] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    IS_STUCK.store(true, Ordering::Relaxed);
    let (is_over, has_ended) = mpsc::channel();
    thread::spawn(move || {
        let report = runtime.block_on(async {
            ends();
            manager.shutdown("end").await
        });
        is_over.send(Some(report)).unwrap();
        drop((manager, runtime));
        is_over.send(None).unwrap();
    });
    let report = has_ended.recv_timeout(FOREVER).unwrap();
    let report = report.expect("the report comes first");
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.totals.succeeded, 1);
    assert!(has_ended.recv_timeout(FOREVER).unwrap().is_none());
}
