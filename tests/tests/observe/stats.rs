//! `tasks()`, `stats()` and `handlers()` agree with what runs, at rest and under load.

use bgtask::{ShutdownToken, TaskState, background};
use bgtask_tests::{on_both_flavors, until};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

#[background]
async fn waits_for_its_token(token: ShutdownToken) {
    token.cancelled().await;
}

/// Behaviour 35.
#[test]
fn tasks_stats_and_handlers_agree_with_what_runs() {
    on_both_flavors(async |manager| {
        let line = line!() + 1;
        let handles: Vec<_> = (0..100).map(|_| waits_for_its_token()).collect();
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

/// Behaviour 35.
#[test]
fn snapshots_under_load_add_up() {
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
