//! Exhausted resources, and runtimes that end before their manager: every call is still accounted for.

use bgtask::{TaskError, TaskHandle, background};
use bgtask_tests::{
    FOREVER, blocking_until, manager_within, on_both_flavors, record_events, recorded_of, runtimes,
    until,
};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use tokio::runtime::Builder;

#[background(log = "off")]
async fn ends() {}

#[background(log = "off")]
async fn hangs() {
    std::future::pending::<()>().await;
}

#[background(log = "off")]
fn blocks(gate: mpsc::Receiver<()>) {
    let _ = gate.recv();
}

#[background(log = "off")]
fn counts(runs: Arc<AtomicU64>) {
    runs.fetch_add(1, Ordering::Relaxed);
}

#[cfg(target_os = "linux")]
#[test]
fn many_live_tasks_take_little_memory_and_are_all_drained() {
    use bgtask_tests::process::Process;

    // `BGTASK_TASKS=1000000` makes it a million.
    let count = std::env::var("BGTASK_TASKS").unwrap_or_else(|_| "50000".to_owned());
    let ended = Process::start(env!("CARGO_BIN_EXE_exhausted_resources"), &["many", &count]).wait();
    assert!(ended.status.success(), "{}", ended.stderr);
    let kib: Vec<u64> = ended
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("KiB ")?.parse().ok())
        .collect();
    let [first, second] = kib[..] else {
        panic!("{}", ended.stdout);
    };
    let count: u64 = count.parse().unwrap();
    // A slot, the boxed future, the runtime's task, a token and the handle: about 1 KiB.
    assert!(first < 3 * count / 2, "{first} KiB for {count} tasks");
    assert!(second < first * 3 / 2, "{first} KiB, and then {second}");
    assert!(ended.stdout.ends_with("all ended\n"));
}

#[test]
fn two_hundred_calls_made_by_drops_while_a_task_unwinds_are_all_accounted_for() {
    struct Calls(Arc<AtomicU64>);
    impl Drop for Calls {
        fn drop(&mut self) {
            assert!(thread::panicking());
            ends();
            counts(self.0.clone());
        }
    }
    #[background(log = "off")]
    async fn panics(_calls: Vec<Calls>) {
        tokio::task::yield_now().await;
        panic!("and unwinds");
    }
    let runs = Arc::new(AtomicU64::new(0));
    let reports = on_both_flavors(async |_| {
        let calls = (0..100).map(|_| Calls(runs.clone())).collect();
        let panicked = panics(calls).await;
        assert!(matches!(panicked, Err(TaskError::Panicked { .. })));
    });
    assert_eq!(runs.load(Ordering::Relaxed), 200);
    for report in reports {
        let totals = report.totals;
        assert_eq!((totals.accepted, totals.succeeded), (201, 200), "{report}");
        assert_eq!((totals.panicked, totals.running), (1, 0), "{report}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_blocking_function_for_which_no_thread_can_be_started_is_aborted_and_logged() {
    use bgtask_tests::process::Process;

    let program = env!("CARGO_BIN_EXE_exhausted_resources");
    let without_threads = "needs none: Ok(())\na plain function: Err(Aborted)\nwith a policy: Err(Aborted)\n\
                           with a policy: Err(Aborted)\nneeds none: Ok(())\nrunning: 0\n";
    let ended = Process::start(program, &["threads-for-a-while"]).wait();
    let with_threads_again = "a plain function: Ok(())\nwith a policy: Ok(())\n";
    let expected = format!("{without_threads}{with_threads_again}");
    assert_eq!(ended.stdout, expected, "{}", ended.stderr);
    assert_eq!(ended.status.code(), Some(7), "{}", ended.stderr);
    // One line for each: the cause and the remedy.
    let says = |name| {
        format!(
            "bgtask: blocking function aborted: cannot spawn a thread; raise the thread limit, or set `concurrency` \
             name=exhausted_resources::{name} "
        )
    };
    let lines: Vec<_> = ended.stderr.lines().collect();
    let [first, second, third] = lines[..] else {
        panic!("{}", ended.stderr);
    };
    assert!(first.starts_with(&says("on_a_thread")), "{first}");
    for line in [second, third] {
        assert!(
            line.starts_with(&says("one_at_a_time_on_a_thread")),
            "{line}"
        );
    }
    // The shutdown gets no thread either, and runs without one.
    let ended = Process::start(program, &["threads"]).wait();
    assert_eq!(ended.stdout, without_threads, "{}", ended.stderr);
    assert_eq!(ended.status.code(), Some(7), "{}", ended.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn a_shutdown_without_a_helper_thread_notifies_hooks_and_metrics_at_its_end() {
    use bgtask_tests::process::Process;

    let program = env!("CARGO_BIN_EXE_exhausted_resources");
    let ended = Process::start(program, &["threads-at-the-end"]).wait();
    assert_eq!(ended.status.code(), Some(7), "{}", ended.stderr);
    let lines: Vec<_> = ended.stdout.lines().collect();
    let mut expected = vec!["on_finish: exhausted_resources::on_a_thread aborted"];
    if cfg!(feature = "metrics") {
        expected.extend([
            "bgtask_tasks_finished_total exhausted_resources::hangs_on_a_thread abandoned 1",
            "bgtask_tasks_finished_total exhausted_resources::on_a_thread aborted 1",
            "bgtask_managers over 1",
        ]);
    }
    for line in expected {
        let count = lines.iter().filter(|other| **other == line).count();
        assert_eq!(count, 1, "{line}: {}", ended.stdout);
    }
    for line in [
        "bgtask: cannot spawn the shutdown thread: the shutdown blocks its caller",
        "bgtask: shutdown (main returned) took",
        "\n  abandoned  exhausted_resources::hangs_on_a_thread ",
        "\n  aborted    exhausted_resources::on_a_thread ",
    ] {
        assert!(ended.stderr.contains(line), "{line}: {}", ended.stderr);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_blocked_listener_delays_the_exit_once_and_not_at_each_step() {
    use bgtask_tests::process::Process;

    let start = std::time::Instant::now();
    let program = env!("CARGO_BIN_EXE_exhausted_resources");
    let ended = Process::start(program, &["blocked-listeners"]).wait();
    assert_eq!(ended.status.code(), Some(7), "{}", ended.stderr);
    // About two and a half seconds: one for all steps, a moment for each later step, and one for the printed report. A wait at
    // each step would take nine.
    let took = start.elapsed();
    assert!(took < Duration::from_secs(7), "{took:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_pipe_without_a_reader_does_not_delay_the_exit() {
    use std::io::Write;
    use std::process::{Command, Stdio};

    for what in ["readers", "readers-of-events"] {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        // The capacity of a pipe on Linux.
        writer.write_all(&[b'.'; 65536]).expect("it holds that");
        let mut command = Command::new(env!("CARGO_BIN_EXE_exhausted_resources"));
        command.arg(what).stdin(Stdio::null());
        match what {
            "readers" => command.stdout(Stdio::null()).stderr(writer),
            _ => command.stdout(writer).stderr(Stdio::null()),
        };
        let mut child = command.spawn().expect("the program starts");
        let mut status = None;
        blocking_until("it has ended", || {
            status = child.try_wait().expect("a child");
            status.is_some()
        });
        assert_eq!(status.and_then(|status| status.code()), Some(7), "{what}");
        drop(reader);
    }
}

#[test]
fn a_runtime_that_is_shut_down_under_its_manager_aborts_its_tasks_and_the_shutdown_ends() {
    for runtime in runtimes() {
        let manager = manager_within(FOREVER, &runtime);
        let (open, gate) = mpsc::channel();
        let (hanging, blocking) = runtime.block_on(async {
            let tasks = (hangs(), blocks(gate));
            until("both run", || {
                manager
                    .tasks()
                    .iter()
                    .all(|task| task.state == bgtask::TaskState::Running)
            })
            .await;
            tasks
        });
        runtime.shutdown_background();
        let elsewhere = Builder::new_current_thread().enable_all().build().unwrap();
        assert_eq!(elsewhere.block_on(hanging), Err(TaskError::Aborted));
        let entered = manager.enter();
        assert_eq!(elsewhere.block_on(ends()), Err(TaskError::Aborted));
        drop(entered);
        // It runs on its own thread, and the shutdown waits for it.
        assert_eq!(manager.stats().running, 1);
        open.send(()).unwrap();
        assert_eq!(elsewhere.block_on(blocking), Ok(()));
        let report = elsewhere.block_on(manager.shutdown("end"));
        assert!(report.stragglers.is_empty(), "{report}");
        let totals = report.totals;
        assert_eq!((totals.succeeded, totals.aborted), (1, 2), "{report}");
        assert_eq!((totals.accepted, totals.running), (3, 0), "{report}");
    }
}

#[test]
fn calls_from_plain_threads_while_their_runtime_is_dropped_run_or_are_aborted() {
    for mut runtimes in (0..20).map(|_| runtimes()) {
        for runtime in &mut runtimes {
            let [spare, _] = self::runtimes();
            let runtime = std::mem::replace(runtime, spare);
            let manager = manager_within(FOREVER, &runtime);
            let is_dropped = AtomicBool::new(false);
            let called = AtomicU64::new(0);
            let handles: Vec<TaskHandle<()>> = thread::scope(|scope| {
                let callers = [0, 1].map(|_| {
                    scope.spawn(|| {
                        let _entered = manager.enter();
                        let mut handles = Vec::new();
                        let mut beyond = 0;
                        while beyond < 20 {
                            beyond += u32::from(is_dropped.load(Ordering::Relaxed));
                            handles.push(ends());
                            handles.push(counts(Arc::default()));
                            called.fetch_add(2, Ordering::Relaxed);
                            // Limits the calls to a number that the runtime can run.
                            thread::sleep(Duration::from_micros(50));
                        }
                        handles
                    })
                });
                runtime.block_on(until("calls are made", || {
                    called.load(Ordering::Relaxed) > 50
                }));
                drop(runtime);
                is_dropped.store(true, Ordering::Relaxed);
                let handles = callers.map(|caller| caller.join().expect("no call panics"));
                handles.into_iter().flatten().collect()
            });
            let elsewhere = Builder::new_current_thread().enable_all().build().unwrap();
            let (mut ran, mut aborted) = (0, 0);
            for handle in handles {
                match elsewhere.block_on(handle) {
                    Ok(()) => ran += 1,
                    Err(TaskError::Aborted) => aborted += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            let report = elsewhere.block_on(manager.shutdown("end"));
            let totals = report.totals;
            assert_eq!((totals.succeeded, totals.aborted), (ran, aborted));
            assert_eq!(totals.running, 0, "{report}");
            assert!(report.stragglers.is_empty(), "{report}");
            assert!(aborted >= 40, "calls were made when the runtime was gone");
        }
    }
}

#[test]
fn an_error_whose_handle_a_task_drops_is_logged_before_the_drain_ends() {
    #[background]
    async fn fails_at_the_end(token: bgtask::ShutdownToken) -> Result<(), &'static str> {
        token.cancelled().await;
        Err("at the end")
    }
    #[background(log = "off")]
    async fn holds_the_handle_until_it_ends() {
        let handle = fails_at_the_end();
        while !handle.is_finished() {
            tokio::task::yield_now().await;
        }
    }
    record_events();
    for round in 1..=200 {
        let [_, runtime] = runtimes();
        let manager = manager_within(FOREVER, &runtime);
        runtime.block_on(async {
            drop(holds_the_handle_until_it_ends());
            let report = manager.shutdown("end").await;
            let logged = recorded_of("fails_at_the_end")
                .iter()
                .filter(|event| event.message == "task failed")
                .count();
            assert_eq!(logged, round, "{report}");
            assert_eq!(report.failures.len(), 1, "{report}");
        });
    }
}
