//! Schedules that a program pauses, resumes, runs, changes, stops and adds.

use crate::support::{Diary, SECOND, in_paused_time};
use bgtask::{Manager, Overrides, ScheduleError, ScheduleHandle, State, background};
use bgtask_tests::{settle, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;

crate::support::diaries!(Handled, Configured, Once, ByTheClock);

#[background(name = "handled", every = "1m", log = "off")]
async fn handled(State(Handled(diary)): State<Handled>) {
    diary.note();
}

fn find(manager: &Manager, name: &str) -> ScheduleHandle {
    let schedules = manager.schedules();
    let mut found = schedules
        .into_iter()
        .filter(|schedule| schedule.name() == name);
    found.next().unwrap_or_else(|| panic!("{name}"))
}

#[test]
fn a_paused_schedule_runs_when_it_is_asked_to_and_goes_on_when_it_is_resumed() {
    in_paused_time(async |manager| {
        let diary = Diary::new();
        manager.provide(Handled(diary.clone()));
        manager.start_schedules();
        let schedule = find(manager, "handled");
        sleep(90 * SECOND).await;
        schedule.pause().unwrap();
        schedule.pause().unwrap();
        settle().await;
        assert!(schedule.info().is_paused);
        assert_eq!(schedule.info().next, None);
        let text = manager.snapshot().to_string();
        assert!(
            text.lines()
                .any(|line| line.contains("handled") && line.contains("paused")),
            "{text}"
        );
        sleep(10 * 60 * SECOND).await;
        assert_eq!(diary.seconds(), [60]);
        schedule.run_now().unwrap();
        settle().await;
        assert_eq!(diary.seconds(), [60, 690]);
        schedule.resume().unwrap();
        sleep(61 * SECOND).await;
        assert_eq!(diary.seconds(), [60, 690, 750]);
        let info = schedule.info();
        assert_eq!((info.is_paused, info.runs, info.missed), (false, 3, 0));
    });
}

#[test]
fn a_run_now_leaves_the_ticks_as_they_are() {
    in_paused_time(async |manager| {
        let diary = Diary::new();
        manager.provide(Handled(diary.clone()));
        manager.start_schedules();
        let schedule = find(manager, "handled");
        sleep(20 * SECOND).await;
        schedule.run_now().unwrap();
        schedule.run_now().unwrap();
        sleep(100 * SECOND + SECOND / 2).await;
        assert_eq!(diary.seconds(), [20, 60, 120]);
    });
}

#[test]
fn a_new_period_holds_at_once() {
    in_paused_time(async |manager| {
        let diary = Diary::new();
        manager.provide(Handled(diary.clone()));
        manager.start_schedules();
        let schedule = find(manager, "handled");
        sleep(70 * SECOND).await;
        schedule.set_every(5 * SECOND).unwrap();
        sleep(11 * SECOND).await;
        assert_eq!(diary.seconds(), [60, 75, 80]);
        schedule.stop().unwrap();
        until("it has ended", || schedule.info().has_ended).await;
        sleep(600 * SECOND).await;
        assert_eq!(diary.len(), 3);
        for refused in [
            schedule.pause(),
            schedule.resume(),
            schedule.run_now(),
            schedule.set_every(SECOND),
            schedule.stop(),
        ] {
            assert_eq!(refused, Err(ScheduleError::HasEnded));
        }
    });
}

#[background(name = "handled once", on_start, log = "off")]
async fn once(State(Once(diary)): State<Once>) {
    diary.note();
}

#[test]
fn what_a_schedule_cannot_do_is_an_error() {
    in_paused_time(async |manager| {
        manager.provide(Handled(Diary::new()));
        manager.provide(Once(Diary::new()));
        manager.start_schedules();
        let schedule = find(manager, "handled");
        assert_eq!(
            schedule.set_every(Duration::ZERO),
            Err(ScheduleError::ZeroPeriod)
        );
        let once = find(manager, "handled once");
        assert_eq!(once.run_now(), Err(ScheduleError::OnStart));
        assert_eq!(once.pause(), Err(ScheduleError::OnStart));
        settle().await;
        manager.shutdown("the test").await;
        assert_eq!(schedule.run_now(), Err(ScheduleError::HasEnded));
    });
}

#[background(name = "configured", every = "1h", log = "off")]
async fn configured(State(Configured(diary)): State<Configured>) {
    diary.note();
}

#[test]
fn overrides_change_a_period_before_and_after_the_start() {
    in_paused_time(async |manager| {
        let to = |period| Overrides::new().set("configured", |options| options.every(period));
        manager.reconfigure(&to(10 * SECOND)).unwrap();
        let diary = Diary::new();
        manager.provide(Configured(diary.clone()));
        manager.start_schedules();
        sleep(21 * SECOND).await;
        assert_eq!(diary.seconds(), [10, 20]);
        manager.reconfigure(&to(60 * SECOND)).unwrap();
        sleep(61 * SECOND).await;
        assert_eq!(diary.seconds(), [10, 20, 81]);
        manager.reconfigure(&Overrides::new()).unwrap();
        sleep(3598 * SECOND).await;
        assert_eq!(diary.len(), 3, "one an hour again");
        sleep(3 * SECOND).await;
        assert_eq!(diary.len(), 4);
        let zero = manager.reconfigure(&to(Duration::ZERO)).unwrap_err();
        assert_eq!(
            zero.to_string(),
            "`configured`: `every` must be longer than zero"
        );
    });
}

#[background(log = "off")]
async fn polls(count: Arc<AtomicU32>, gate: Option<Arc<Notify>>) -> Result<(), String> {
    count.fetch_add(1, Ordering::Relaxed);
    if let Some(gate) = gate {
        gate.notified().await;
    }
    Err("polled".to_owned())
}

#[test]
fn code_adds_a_schedule_whose_ticks_wait_for_the_run_before() {
    in_paused_time(async |manager| {
        let (count, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let schedule = bgtask::every("polls", 10 * SECOND, {
            let (count, gate) = (count.clone(), gate.clone());
            move || polls(count.clone(), Some(gate.clone()))
        });
        assert_eq!(schedule.name(), "polls");
        sleep(35 * SECOND).await;
        assert_eq!(count.load(Ordering::Relaxed), 1);
        gate.notify_one();
        settle().await;
        assert_eq!(
            count.load(Ordering::Relaxed),
            2,
            "one run replaces the ticks that it missed"
        );
        let info = find(manager, "polls").info();
        assert_eq!((info.runs, info.missed), (2, 1));
        gate.notify_one();
        settle().await;
        schedule.stop().unwrap();
        until("it is forgotten", || {
            manager
                .schedules()
                .iter()
                .all(|schedule| schedule.name() != "polls")
        })
        .await;
        // Nothing has read the errors.
        assert_eq!(manager.stats().failed, 2);
    });
}

#[test]
fn a_closure_that_panics_costs_its_tick_alone() {
    in_paused_time(async |_| {
        let count = Arc::new(AtomicU32::new(0));
        let schedule = bgtask::every("panics at first", SECOND, {
            let (count, mut is_first) = (count.clone(), true);
            move || {
                assert!(!std::mem::take(&mut is_first), "the first tick");
                polls(count.clone(), None)
            }
        });
        sleep(3 * SECOND + SECOND / 2).await;
        assert_eq!(count.load(Ordering::Relaxed), 2);
        assert_eq!(schedule.info().runs, 3);
    });
}

#[background(name = "by the clock", cron = "0 3 * * *", log = "off")]
async fn by_the_clock(State(ByTheClock(diary)): State<ByTheClock>) {
    diary.note();
}

#[test]
fn a_cron_expression_is_changed_and_added_and_a_wrong_one_is_an_error() {
    in_paused_time(async |manager| {
        let diary = Diary::new();
        manager.provide(ByTheClock(diary.clone()));
        manager.start_schedules();
        let schedule = find(manager, "by the clock");
        let wrong = schedule.set_cron("0 25 * * *", "UTC").unwrap_err();
        assert!(matches!(wrong, ScheduleError::InvalidCron(_)), "{wrong}");
        let wrong = schedule.set_cron("0 3 * * *", "Atlantis").unwrap_err();
        assert!(
            wrong.to_string().contains("\"Atlantis\" is no time zone"),
            "{wrong}"
        );
        schedule
            .set_cron("*/10 * * * * *", "Europe/Berlin")
            .unwrap();
        sleep(35 * SECOND).await;
        let runs = diary.len();
        assert!((3..=4).contains(&runs), "{runs}");

        let count = Arc::new(AtomicU32::new(0));
        let of_closure = count.clone();
        let added = bgtask::cron("added", "*/10 * * * * *", "UTC", move || {
            polls(of_closure.clone(), None)
        });
        sleep(35 * SECOND).await;
        let runs = count.load(Ordering::Relaxed);
        assert!((3..=4).contains(&runs), "{runs}");
        added.unwrap().stop().unwrap();
        let wrong = bgtask::cron("wrong", "no expression", "UTC", move || {
            polls(count.clone(), None)
        });
        assert!(wrong.is_err());

        let overrides = Overrides::new().set("by the clock", |options| options.timezone("Nowhere"));
        let error = manager.reconfigure(&overrides).unwrap_err().to_string();
        assert!(
            error.starts_with("`by the clock`: invalid cron expression: \"Nowhere\""),
            "{error}"
        );
    });
}
