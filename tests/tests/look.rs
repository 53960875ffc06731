//! A look at what runs: the snapshot and its table. Part of behaviour 35. No subscriber here, for the sake of the many tasks.

use bgtask::{Phase, ShutdownToken, TaskState, background};
use bgtask_tests::{FOREVER, manager_within, until};
use tokio::runtime::Runtime;

#[background]
async fn runs_until_told(token: ShutdownToken) {
    token.cancelled().await;
}

#[background]
async fn waits(token: ShutdownToken) {
    token.cancelled().await;
}

#[background(concurrency(max = 1, key = line))]
async fn stands_in_line(token: ShutdownToken, line: u8) {
    token.cancelled().await;
    let _ = line;
}

#[test]
fn b35_a_snapshot_prints_as_a_table_with_states_ages_and_places() {
    let runtime = Runtime::new().unwrap();
    let manager = manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        assert!(bgtask::snapshot().to_string().ends_with("no live tasks"));
        let line = line!() + 1;
        let first = runs_until_told();
        let second = stands_in_line(1);
        let third = stands_in_line(1);
        until("those begin that can", || {
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
        // Under its column, each of them.
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
        assert!(lines[3][column("task")..].starts_with("look::runs_until_told "));
        // And the line that the function has.
        let cells: Vec<_> = lines[7].split_whitespace().collect();
        assert_eq!(
            cells,
            ["look::stands_in_line", "1", "1", "0", "0", "0", "0", "0"]
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

#[test]
fn b35_a_snapshot_says_when_a_schedule_has_ended() {
    let runtime = Runtime::new().unwrap();
    let manager = manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        manager.start_schedules();
        let row = || {
            let text = manager.snapshot().to_string();
            let mut lines = text.lines();
            let row = lines.find(|line| line.trim_start().starts_with("look::every_hour "));
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

#[test]
fn b35_of_a_hundred_thousand_tasks_a_snapshot_lists_the_oldest_and_sums_up_the_rest() {
    let runtime = Runtime::new().unwrap();
    let manager = manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        let oldest: Vec<_> = (0..50).map(|_| waits().id()).collect();
        for number in 0..99_950 {
            match number % 5 {
                0 | 1 => drop(runs_until_told()),
                _ => drop(waits()),
            }
        }
        let snapshot = bgtask::snapshot();
        let listed: Vec<_> = snapshot.tasks.iter().map(|task| task.id).collect();
        assert_eq!(listed, oldest);
        let others = [("look::waits", 59_970), ("look::runs_until_told", 39_980)];
        assert_eq!(snapshot.others, others);
        let text = snapshot.to_string();
        assert_eq!(text.lines().count(), 54, "{text}");
        let totals = "100 000 accepted = 100 000 running";
        assert_eq!(text.lines().nth(1), Some(totals));
        let last = "  … and 99 950 more: 59 970 × look::waits, 39 980 × look::runs_until_told";
        assert_eq!(text.lines().last(), Some(last));
        manager.shutdown("the test ends").await;
    });
}

/// A call that ended leaves its slot to a later one, which is then gone through before older ones.
#[test]
fn b35_calls_in_the_places_of_ended_ones_are_not_among_the_oldest() {
    let runtime = Runtime::new().unwrap();
    let manager = manager_within(FOREVER, &runtime);
    runtime.block_on(async {
        let mut oldest: Vec<_> = (0..60).map(|_| waits()).collect();
        for ended in oldest.drain(..10) {
            ended.cancel();
            ended.await.unwrap();
        }
        for _ in 0..10 {
            drop(runs_until_told());
        }
        let snapshot = manager.snapshot();
        let listed: Vec<_> = snapshot.tasks.iter().map(|task| task.id).collect();
        let oldest: Vec<_> = oldest.iter().map(|task| task.id()).collect();
        assert_eq!(listed, oldest);
        assert_eq!(snapshot.others, [("look::runs_until_told", 10)]);
        manager.shutdown("the test ends").await;
    });
}
