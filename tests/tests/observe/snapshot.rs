//! The snapshot and its table.

use bgtask::{Phase, ShutdownToken, TaskState, background};
use bgtask_tests::{FOREVER, manager_within, subscribe, until};
use tokio::runtime::Runtime;
use tracing::subscriber::NoSubscriber;

#[background(log = "off")]
async fn waits_for_its_token(token: ShutdownToken) {
    token.cancelled().await;
}

#[background(log = "off")]
async fn waits(token: ShutdownToken) {
    token.cancelled().await;
}

#[background(concurrency(max = 1, key = line))]
async fn waits_for_a_permit(token: ShutdownToken, line: u8) {
    token.cancelled().await;
    let _ = line;
}

/// Behaviour 35.
#[test]
fn a_snapshot_prints_as_a_table_with_states_ages_and_locations() {
    let runtime = Runtime::new().unwrap();
    let manager = manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        assert!(bgtask::snapshot().to_string().ends_with("no live tasks"));
        let line = line!() + 1;
        let first = waits_for_its_token();
        let second = waits_for_a_permit(1);
        let third = waits_for_a_permit(1);
        until("the calls with permits run", || {
            let states: Vec<_> = manager.tasks().iter().map(|task| task.state).collect();
            states == [TaskState::Running, TaskState::Running, TaskState::Waiting]
        })
        .await;
        let snapshot = bgtask::snapshot();
        assert_eq!(snapshot.phase, Phase::Running);
        assert_eq!(snapshot.shutdown, None);
        assert_eq!(snapshot.others, []);
        let text = snapshot.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].ends_with("Z, running"), "{text}");
        assert_eq!(lines[1], "3 accepted = 3 running (1 waiting)");
        assert_eq!(lines.len(), 8, "{text}");
        assert!(lines.iter().all(|line| !line.ends_with(' ')), "{text}");
        // Each value is in its column.
        let column = |name: &str| lines[2].find(name).unwrap_or_else(|| panic!("{text}"));
        let ids = [&first, &second, &third].map(|task| task.id());
        let states = ["running", "running", "waiting"];
        for (row, (id, state)) in lines[3..].iter().zip(ids.iter().zip(states)) {
            assert!(row[column("state")..].starts_with(state), "{text}");
            assert!(row[..column("id") + 2].ends_with(&format!(" {id}")));
            assert!(row[..column("age") + 3].ends_with(" s"), "{text}");
            assert!(row[..column("attempt") + 7].ends_with(" 1"), "{text}");
            assert!(row[column("called at")..].starts_with(file!()), "{text}");
            assert!(row[column("function at")..].starts_with(file!()), "{text}");
        }
        assert!(lines[3].contains(&format!("{}:{line}:", file!())), "{text}");
        assert!(lines[3][column("task")..].starts_with("observe::snapshot::waits_for_its_token "));
        // The row of the function.
        let cells: Vec<_> = lines[7].split_whitespace().collect();
        assert_eq!(
            cells,
            [
                "observe::snapshot::waits_for_a_permit",
                "1",
                "1",
                "0",
                "0",
                "0",
                "0",
                "0"
            ]
        );
        manager.request_shutdown("it is late");
        let snapshot = manager.snapshot();
        assert_eq!(snapshot.shutdown.as_ref().unwrap().draining, None);
        let text = snapshot.to_string();
        let head = text.lines().next().unwrap();
        assert!(head.contains("Z, stopping for "), "{head}");
        assert!(head.contains(" s (requested: it is late), "), "{head}");
        assert!(head.ends_with(" s left"), "{head}");
        manager.shutdown("the test ends").await;
        let over = manager.snapshot();
        assert_eq!(over.phase, Phase::Over);
        let head = over.to_string();
        assert!(
            head.lines()
                .next()
                .unwrap()
                .ends_with("Z, over (requested: it is late)")
        );
        let shutdown = over.shutdown.unwrap();
        assert!(shutdown.draining.unwrap() <= shutdown.elapsed);
    });
}

#[background(every = "1h")]
async fn every_hour() {}

/// Behaviour 35.
#[test]
fn a_snapshot_shows_that_a_schedule_has_ended() {
    let runtime = Runtime::new().unwrap();
    let manager = manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        manager.start_schedules();
        let row = || {
            let text = manager.snapshot().to_string();
            let mut lines = text.lines();
            let row = lines.find(|line| {
                line.trim_start()
                    .starts_with("observe::snapshot::every_hour ")
            });
            row.map(|row| row.trim_end().to_owned())
        };
        until("it is due", || {
            row().is_some_and(|row| row.contains("  in "))
        })
        .await;
        manager.shutdown("the test ends").await;
        until("it has ended", || {
            row().is_some_and(|row| row.ends_with("  ended"))
        })
        .await;
    });
}

/// Behaviour 35.
#[test]
fn a_snapshot_of_a_hundred_thousand_tasks_lists_the_oldest_and_sums_up_the_rest() {
    // Other tests of the process record every span.
    let _without_spans = subscribe(NoSubscriber::new());
    let runtime = Runtime::new().unwrap();
    let manager = manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        let oldest: Vec<_> = (0..50).map(|_| waits().id()).collect();
        for number in 0..99_950 {
            match number % 5 {
                0 | 1 => drop(waits_for_its_token()),
                _ => drop(waits()),
            }
        }
        let snapshot = bgtask::snapshot();
        let listed: Vec<_> = snapshot.tasks.iter().map(|task| task.id).collect();
        assert_eq!(listed, oldest);
        let others = [("observe::snapshot::waits", 59_970), ("observe::snapshot::waits_for_its_token", 39_980)];
        assert_eq!(snapshot.others, others);
        let text = snapshot.to_string();
        assert_eq!(text.lines().count(), 54, "{text}");
        let totals = "100 000 accepted = 100 000 running";
        assert_eq!(text.lines().nth(1), Some(totals));
        let last = "  … and 99 950 more: 59 970 × observe::snapshot::waits, 39 980 × observe::snapshot::waits_for_its_token";
        assert_eq!(text.lines().last(), Some(last));
        manager.shutdown("the test ends").await;
    });
}

/// An ended call leaves its slot to a later one, which the scan then visits before older ones.
/// Behaviour 35.
#[test]
fn calls_in_reused_slots_are_not_among_the_oldest() {
    let runtime = Runtime::new().unwrap();
    let manager = manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        let mut oldest: Vec<_> = (0..60).map(|_| waits()).collect();
        for ended in oldest.drain(..10) {
            ended.cancel();
            ended.await.unwrap();
        }
        for _ in 0..10 {
            drop(waits_for_its_token());
        }
        let snapshot = manager.snapshot();
        let listed: Vec<_> = snapshot.tasks.iter().map(|task| task.id).collect();
        let oldest: Vec<_> = oldest.iter().map(|task| task.id()).collect();
        assert_eq!(listed, oldest);
        assert_eq!(
            snapshot.others,
            [("observe::snapshot::waits_for_its_token", 10)]
        );
        manager.shutdown("the test ends").await;
    });
}
