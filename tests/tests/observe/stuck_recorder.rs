//! A process of its own, because its recorder, which blocks, is the whole process's. The feature `metrics`.

use bgtask::background;
use bgtask_tests::{FOREVER, manager_within, runtimes};
use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    set_global_recorder,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

static BLOCKS: AtomicBool = AtomicBool::new(false);

/// Blocks for ever when it receives the state of the managers.
struct Stuck;

impl Recorder for Stuck {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        while key.name() == "bgtask_managers" && BLOCKS.load(Ordering::Relaxed) {
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
fn a_blocked_recorder_delays_neither_the_shutdown_nor_the_drop_of_the_manager() {
    set_global_recorder(Stuck).unwrap();
    let [runtime, _] = runtimes();
    let manager = manager_within(FOREVER, &runtime);
    BLOCKS.store(true, Ordering::Relaxed);
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
