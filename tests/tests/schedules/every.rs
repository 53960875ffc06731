//! `every`: when a run starts, what happens to a tick that is missed, and what ends a schedule.

use crate::support::{Diary, SECOND, in_paused_time, info, on_both_flavors};
use bgtask::{Manager, ScheduleInfo, ShutdownToken, State, background};
use bgtask_tests::{FOREVER, record_events, settle, until};
use std::time::{Duration, SystemTime};
use tokio::time::sleep;

crate::support::diaries!(
    Minutely,
    Lengthy,
    Skipping,
    CatchingUp,
    Overlapping,
    Panicking,
    Neighbour,
    Immediate,
    Jittered,
    Draining,
    Stalled,
    Stopped,
    Hurried,
    StartedAgain,
    LateOnce,
    LateSkip,
    LateAll,
    QuickSkip,
    AlwaysLate
);

#[background(every = "1m", log = "off")]
async fn minutely(State(Minutely(diary)): State<Minutely>) {
    diary.note();
}

/// Behaviour 30.
#[test]
fn a_function_runs_once_per_period_and_an_hour_passes_in_no_time() {
    in_paused_time(async |manager| {
        let diary = Diary::new();
        manager.provide(Minutely(diary.clone()));
        manager.start_schedules();
        manager.start_schedules();
        settle().await;
        assert_eq!(diary.len(), 0, "the first run comes after one period");
        let next = info(manager, "::minutely").next.unwrap();
        let left = next.duration_since(SystemTime::now()).unwrap();
        assert!(left > 50 * SECOND && left <= 60 * SECOND, "{left:?}");
        sleep(3600 * SECOND + SECOND).await;
        let minutes: Vec<_> = (1..=60).map(|minute| minute * 60).collect();
        assert_eq!(diary.seconds(), minutes);
        let info = info(manager, "::minutely");
        assert_eq!((info.runs, info.missed, info.has_ended), (60, 0, false));
        assert_eq!(manager.stats().succeeded, 60);
    });
}

#[background(every = "1m", log = "off")]
async fn lengthy(State(Lengthy(diary)): State<Lengthy>) {
    // The first run takes three minutes and a half, the others no time.
    if diary.note() == 1 {
        sleep(210 * SECOND).await;
    }
}

#[background(every = "1m", missed = "skip", log = "off")]
async fn skipping(State(Skipping(diary)): State<Skipping>) {
    if diary.note() == 1 {
        sleep(210 * SECOND).await;
    }
}

#[background(every = "1m", missed = "all", log = "off")]
async fn catching_up(State(CatchingUp(diary)): State<CatchingUp>) {
    if diary.note() == 1 {
        sleep(210 * SECOND).await;
    }
}

#[background(every = "1m", overlap, log = "off")]
async fn overlapping(State(Overlapping(diary)): State<Overlapping>) {
    if diary.note() == 1 {
        sleep(210 * SECOND).await;
    }
}

/// Behaviour 30.
#[test]
fn runs_do_not_overlap_unless_requested_and_missed_ticks_run_once_or_as_configured() {
    in_paused_time(async |manager| {
        let diaries: Vec<_> = (0..4).map(|_| Diary::new()).collect();
        manager.provide(Lengthy(diaries[0].clone()));
        manager.provide(Skipping(diaries[1].clone()));
        manager.provide(CatchingUp(diaries[2].clone()));
        manager.provide(Overlapping(diaries[3].clone()));
        manager.start_schedules();
        sleep(361 * SECOND).await;
        assert_eq!(diaries[0].seconds(), [60, 270, 300, 360]);
        assert_eq!(diaries[1].seconds(), [60, 300, 360]);
        assert_eq!(diaries[2].seconds(), [60, 270, 270, 270, 300, 360]);
        assert_eq!(diaries[3].seconds(), [60, 120, 180, 240, 300, 360]);
        let missed = ["::lengthy", "::skipping", "::catching_up", "::overlapping"];
        let missed = missed.map(|name| info(manager, name).missed);
        assert_eq!(missed, [2, 3, 0, 0]);
    });
}

#[background(every = "1m", log = "off")]
async fn panicking(State(Panicking(diary)): State<Panicking>) {
    diary.note();
    panic!("every time");
}

#[background(every = "1m", log = "off")]
fn neighbour(State(Neighbour(diary)): State<Neighbour>) {
    diary.note();
}

/// Behaviour 30.
#[test]
fn a_panic_ends_neither_its_own_schedule_nor_another() {
    in_paused_time(async |manager| {
        let (panicking, neighbour) = (Diary::new(), Diary::new());
        manager.provide(Panicking(panicking.clone()));
        manager.provide(Neighbour(neighbour.clone()));
        manager.start_schedules();
        sleep(181 * SECOND).await;
        until("the last runs have ended", || manager.stats().running == 0).await;
        assert_eq!(panicking.len(), 3);
        assert_eq!(neighbour.len(), 3);
        assert_eq!(manager.stats().panicked, 3);
    });
}

#[background(every = "1h", immediately, log = "off")]
async fn immediate(State(Immediate(diary)): State<Immediate>) {
    diary.note();
}

#[background(every = "1m", jitter = "30s", log = "off")]
async fn jittered(State(Jittered(diary)): State<Jittered>) {
    diary.note();
}

/// Behaviour 30.
#[test]
fn the_first_run_is_immediate_if_requested_and_jitter_delays_ticks() {
    in_paused_time(async |manager| {
        let (immediate, jittered) = (Diary::new(), Diary::new());
        manager.provide(Immediate(immediate.clone()));
        manager.provide(Jittered(jittered.clone()));
        manager.start_schedules();
        sleep(7000 * SECOND).await;
        assert_eq!(immediate.seconds(), [0, 3600]);
        let seconds = jittered.seconds();
        assert!(seconds.len() >= 115, "{seconds:?}");
        let mut put_off = 0;
        for (index, second) in seconds.iter().enumerate() {
            let tick = (index as u64 + 1) * 60;
            assert!((tick..=tick + 30).contains(second), "{second} for {tick}");
            put_off += second - tick;
        }
        // That a hundred draws from half a minute add up to less than a minute is impossible in practice.
        assert!(put_off > 60, "{put_off}");
    });
}

#[background(every = "1m", jitter = "30s", log = "off")]
async fn always_late(State(AlwaysLate(diary)): State<AlwaysLate>) {
    diary.note();
    sleep(300 * SECOND).await;
}

/// Behaviour 30.
#[test]
fn jitter_does_not_delay_a_run_that_is_already_late() {
    in_paused_time(async |manager| {
        let diary = Diary::new();
        manager.provide(AlwaysLate(diary.clone()));
        manager.start_schedules();
        sleep(3600 * SECOND).await;
        let starts = diary.starts.lock().unwrap();
        let between: Vec<_> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(between.len() >= 10, "{between:?}");
        // Apart from the steps of the clock.
        let is_at_once = |between: &Duration| between.as_secs() == 300;
        assert!(between.iter().all(is_at_once), "{between:?}");
    });
}

#[background(every = "10ms", log = "off")]
async fn draining(token: ShutdownToken, State(Draining(diary)): State<Draining>) {
    diary.note();
    token.cancelled().await;
}

/// Behaviour 30.
#[test]
fn a_tick_does_not_delay_the_drain_and_a_run_in_flight_is_drained() {
    on_both_flavors(async |manager| {
        let diary = Diary::new();
        manager.provide(Draining(diary.clone()));
        manager.start_schedules();
        until("the first run has started", || diary.len() == 1).await;
        manager.request_shutdown("now");
        until("the schedule has ended", || {
            info(manager, "::draining").has_ended
        })
        .await;
        // Its token has not fired yet.
        assert_eq!(manager.stats().running, 1);
        let report = manager.shutdown("now").await;
        assert!(report.is_clean(), "{report}");
        assert_eq!((diary.len(), report.drained), (1, 1));
    });
}

#[background(every = "1s", overlap, log = "off")]
async fn stalled(State(Stalled(diary)): State<Stalled>) {
    diary.note();
}

/// Behaviour 30.
#[test]
fn missed_ticks_of_a_stalled_runtime_cause_no_burst_even_if_runs_may_overlap() {
    in_paused_time(async |manager| {
        let diary = Diary::new();
        manager.provide(Stalled(diary.clone()));
        manager.start_schedules();
        settle().await;
        tokio::time::advance(100 * SECOND).await;
        sleep(SECOND / 2).await;
        assert!((1..=2).contains(&diary.len()), "{:?}", diary.seconds());
        assert!(info(manager, "::stalled").missed >= 98);
    });
}

#[background(every = "1m", log = "off")]
async fn late_once(State(LateOnce(diary)): State<LateOnce>) {
    diary.note();
}

#[background(every = "1m", missed = "skip", log = "off")]
async fn late_skip(State(LateSkip(diary)): State<LateSkip>) {
    diary.note();
}

#[background(every = "1m", missed = "all", log = "off")]
async fn late_all(State(LateAll(diary)): State<LateAll>) {
    diary.note();
}

/// Behaviour 30.
#[test]
fn a_tick_that_a_blocked_runtime_delays_is_missed() {
    in_paused_time(async |manager| {
        let diaries: Vec<_> = (0..3).map(|_| Diary::new()).collect();
        manager.provide(LateOnce(diaries[0].clone()));
        manager.provide(LateSkip(diaries[1].clone()));
        manager.provide(LateAll(diaries[2].clone()));
        manager.start_schedules();
        settle().await;
        // As if something had blocked the only worker during the ticks at 60, 120 and 180 s.
        tokio::time::advance(210 * SECOND).await;
        sleep(31 * SECOND).await;
        assert_eq!(diaries[0].seconds(), [210, 240]);
        assert_eq!(diaries[1].seconds(), [240]);
        assert_eq!(diaries[2].seconds(), [210, 210, 210, 240]);
        let missed = ["::late_once", "::late_skip", "::late_all"];
        let missed = missed.map(|name| info(manager, name).missed);
        assert_eq!(missed, [2, 3, 0]);
    });
}

/// Behaviour 30.
#[test]
fn a_tick_is_late_after_a_second() {
    in_paused_time(async |manager| {
        let diary = Diary::new();
        manager.provide(LateSkip(diary.clone()));
        manager.start_schedules();
        settle().await;
        tokio::time::advance(60 * SECOND + SECOND / 2).await;
        settle().await;
        assert_eq!(diary.seconds(), [60], "half a second is not late");
        sleep(SECOND / 2).await;
        tokio::time::advance(61 * SECOND).await;
        settle().await;
        assert_eq!(diary.seconds(), [60], "two seconds are late");
        sleep(60 * SECOND).await;
        assert_eq!(diary.seconds(), [60, 180]);
        assert_eq!(info(manager, "::late_skip").missed, 1);
    });
}

#[background(every = "100ms", missed = "skip", log = "off")]
async fn quick_skip(State(QuickSkip(diary)): State<QuickSkip>) {
    diary.note();
}

/// Behaviour 30.
#[test]
fn a_tick_is_late_once_the_next_one_has_come() {
    in_paused_time(async |manager| {
        let diary = Diary::new();
        manager.provide(QuickSkip(diary.clone()));
        manager.start_schedules();
        settle().await;
        tokio::time::advance(Duration::from_millis(150)).await;
        settle().await;
        assert_eq!(diary.len(), 1, "the second tick has not come");
        tokio::time::advance(Duration::from_millis(260)).await;
        settle().await;
        assert_eq!(
            diary.len(),
            2,
            "at 410 ms the ticks at 200 and 300 ms are missed, and the one at 400 ms is in time"
        );
        assert_eq!(info(manager, "::quick_skip").missed, 2);
        sleep(Duration::from_millis(100)).await;
        assert_eq!(diary.len(), 3);
    });
}

#[background(every = "1s", name = "stops with the request")]
async fn stops_with_the_request(State(Stopped(diary)): State<Stopped>) {
    diary.note();
}

#[background(
    on_start,
    restart(when = "always", max = 1_000_000, base = "1s", backoff = "constant"),
    name = "not restarted",
    log = "off"
)]
async fn is_not_started_again(State(StartedAgain(diary)): State<StartedAgain>) {
    diary.note();
}

/// The clock jumps ahead as soon as this thread waits, even if other threads still have work.
/// Behaviour 30.
#[test]
fn no_tick_and_no_restart_follows_a_shutdown_request() {
    for _ in 0..20 {
        in_paused_time(async |manager| {
            let [ticks, starts] = [(); 2].map(|()| Diary::new());
            manager.provide(Stopped(ticks.clone()));
            manager.provide(StartedAgain(starts.clone()));
            manager.start_schedules();
            sleep(2 * SECOND + SECOND / 2).await;
            let before = (ticks.seconds(), starts.len());
            assert_eq!(before.0, [1, 2]);
            assert!(before.1 >= 2);
            manager.request_shutdown("the test");
            sleep(10 * SECOND).await;
            assert_eq!((ticks.seconds(), starts.len()), before);
        });
    }
}

#[background(every = "1ms", overlap, name = "ticks in a hurry")]
async fn ticks_in_a_hurry(State(Hurried(diary)): State<Hurried>) {
    diary.note();
}

/// The request comes from a thread outside the runtime, while its workers tick.
/// Behaviour 30.
#[test]
fn no_run_is_accepted_after_a_shutdown_request_from_another_thread() {
    record_events();
    for _ in 0..20 {
        let [_, runtime] = bgtask_tests::runtimes();
        let manager = bgtask_tests::manager_within(FOREVER, &runtime);
        manager.provide(Hurried(Diary::new()));
        manager.start_schedules();
        bgtask_tests::blocking_until("it ticks", || info_of(&manager).runs >= 3);
        manager.request_shutdown("the test");
        let before = (manager.stats().accepted, info_of(&manager).runs);
        let report = runtime.block_on(manager.shutdown("the test ends"));
        let after = (report.totals.accepted, info_of(&manager).runs);
        assert_eq!(after, before);
    }
}

fn info_of(manager: &Manager) -> ScheduleInfo {
    let schedules = manager.schedules();
    let info = schedules
        .iter()
        .find(|schedule| schedule.name() == "ticks in a hurry");
    info.expect("it was started").info()
}
