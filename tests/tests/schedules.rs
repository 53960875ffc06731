//! What runs without a caller: behaviours 25, 30, 32 and 33. Each function here takes a state of a type of its own, so that
//! it runs only where a test provides that.

use bgtask::{
    Manager, ScheduleInfo, ShutdownReason, ShutdownReport, ShutdownToken, State, TaskState,
    background,
};
use bgtask_tests::{FOREVER, record_events, recorded, recorded_of, settle, until};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

/// Recorded: each test lacks the state of all the others, and that is reported.
fn in_paused_time(test: impl AsyncFn(&Manager)) -> ShutdownReport {
    record_events();
    bgtask_tests::in_paused_time(test)
}

fn on_both_flavors(test: impl AsyncFn(&Manager)) {
    record_events();
    bgtask_tests::on_both_flavors(test);
}

/// Notes when a run begins.
#[derive(Clone)]
struct Diary {
    begin: Instant,
    starts: Arc<Mutex<Vec<Instant>>>,
}

impl Diary {
    fn new() -> Self {
        Self {
            begin: Instant::now(),
            starts: Arc::default(),
        }
    }

    fn note(&self) -> usize {
        let mut starts = self.starts.lock().unwrap();
        starts.push(Instant::now());
        starts.len()
    }

    /// In whole seconds from the start.
    fn seconds(&self) -> Vec<u64> {
        let starts = self.starts.lock().unwrap();
        starts
            .iter()
            .map(|start| (*start - self.begin).as_secs())
            .collect()
    }

    fn len(&self) -> usize {
        self.starts.lock().unwrap().len()
    }
}

/// A type of its own for each schedule.
macro_rules! diaries {
    ($($name:ident),* $(,)?) => {$(
        #[derive(Clone)]
        struct $name(Diary);
    )*};
}

diaries!(
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
    Nightly,
    Starting,
    Restarting,
    Persistent,
    GivingUp,
    Essential,
    EssentialCall,
    Late,
    Plain,
    TimedOut,
    Hourly,
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

fn info(manager: &Manager, name: &str) -> ScheduleInfo {
    let schedules = manager.schedules();
    assert_eq!(bgtask::schedules().len(), schedules.len());
    *schedules
        .iter()
        .find(|info| info.name.ends_with(name))
        .unwrap_or_else(|| panic!("{name} in {schedules:?}"))
}

/// What a snapshot's table says of the next run.
fn next_in_the_table(manager: &Manager, name: &str) -> String {
    let table = manager.snapshot().to_string();
    // The table of functions comes before that of schedules.
    let mut lines = table.lines().map(str::trim_start);
    let line = lines.rfind(|line| line.starts_with(name));
    // Behind the name, the runs and the ticks that were missed.
    let cells = line.unwrap_or_else(|| panic!("{table}"))[name.len()..].split_whitespace();
    cells.skip(2).collect::<Vec<_>>().join(" ")
}

// ---- 30: every and cron ----

#[background(every = "1m", log = "off")]
async fn minutely(State(Minutely(diary)): State<Minutely>) {
    diary.note();
}

#[test]
fn b30_a_function_runs_every_so_often_and_an_hour_passes_in_no_time() {
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
    // The first run takes three minutes and a half, the others none.
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

#[test]
fn b30_runs_do_not_overlap_unless_asked_and_missed_ticks_run_once_or_as_told() {
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

#[test]
fn b30_a_panic_ends_no_schedule_neither_its_own_nor_another() {
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

#[test]
fn b30_a_first_run_comes_at_the_start_where_asked_and_jitter_puts_ticks_off() {
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
        // A hundred draws from half a minute that come to less than a minute in all: never.
        assert!(put_off > 60, "{put_off}");
    });
}

#[background(every = "1m", jitter = "30s", log = "off")]
async fn always_late(State(AlwaysLate(diary)): State<AlwaysLate>) {
    diary.note();
    sleep(300 * SECOND).await;
}

#[test]
fn b30_jitter_puts_off_nothing_that_is_late_already() {
    in_paused_time(async |manager| {
        let diary = Diary::new();
        manager.provide(AlwaysLate(diary.clone()));
        manager.start_schedules();
        sleep(3600 * SECOND).await;
        let starts = diary.starts.lock().unwrap();
        let between: Vec<_> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(between.len() >= 10, "{between:?}");
        // But for what the clock's own steps come to.
        let is_at_once = |between: &Duration| between.as_secs() == 300;
        assert!(between.iter().all(is_at_once), "{between:?}");
    });
}

#[background(every = "10ms", log = "off")]
async fn draining(token: ShutdownToken, State(Draining(diary)): State<Draining>) {
    diary.note();
    token.cancelled().await;
}

#[test]
fn b30_a_tick_does_not_hold_the_drain_and_a_run_under_way_is_drained() {
    on_both_flavors(async |manager| {
        let diary = Diary::new();
        manager.provide(Draining(diary.clone()));
        manager.start_schedules();
        until("the first run has begun", || diary.len() == 1).await;
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

#[background(cron = "30 3 * * *", timezone = "Europe/Berlin", log = "off")]
async fn nightly(State(Nightly(diary)): State<Nightly>) {
    diary.note();
}

#[test]
fn b30_cron_runs_by_the_wall_clock_of_its_time_zone() {
    in_paused_time(async |manager| {
        let diary = Diary::new();
        manager.provide(Nightly(diary.clone()));
        manager.start_schedules();
        settle().await;
        let next = info(manager, "::nightly").next.unwrap();
        let seconds = next
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64()
            .round() as u64;
        // Half past three in Berlin is half past one or half past two in UTC.
        let of_day = seconds % 86_400;
        assert!([5_400, 9_000].contains(&of_day), "{of_day}");
        // Three days and the hour that one of them may be longer.
        sleep(3 * 86_400 * SECOND + 3_700 * SECOND).await;
        let runs = diary.seconds();
        assert!((3..=4).contains(&runs.len()), "{runs:?}");
        for pair in runs.windows(2) {
            let day = (pair[1] - pair[0]) as i64;
            assert!((day - 86_400).abs() <= 3_602, "{runs:?}");
        }
    });
}

#[background(cron = "0 * * * *", jitter = "10m", log = "off")]
async fn hourly(State(Hourly(diary)): State<Hourly>) {
    diary.note();
}

#[test]
fn b30_jitter_puts_off_the_ticks_of_the_clock_too_for_longer_than_it_is_looked_at() {
    in_paused_time(async |manager| {
        let diary = Diary::new();
        manager.provide(Hourly(diary.clone()));
        manager.start_schedules();
        sleep(48 * 3600 * SECOND).await;
        let runs = diary.seconds();
        assert!((47..=48).contains(&runs.len()), "{runs:?}");
        let from_an_hour = runs
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).abs_diff(3600));
        // Of 47 differences of two draws from ten minutes, all less than one and a half: never.
        assert!(from_an_hour.max() > Some(90), "{runs:?}");
    });
}

#[background(every = "1s", overlap, log = "off")]
async fn stalled(State(Stalled(diary)): State<Stalled>) {
    diary.note();
}

#[test]
fn b30_ticks_that_a_stalled_runtime_has_missed_come_in_no_burst_though_runs_may_overlap() {
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

#[test]
fn b30_a_tick_that_a_blocked_runtime_delays_is_missed() {
    in_paused_time(async |manager| {
        let diaries: Vec<_> = (0..3).map(|_| Diary::new()).collect();
        manager.provide(LateOnce(diaries[0].clone()));
        manager.provide(LateSkip(diaries[1].clone()));
        manager.provide(LateAll(diaries[2].clone()));
        manager.start_schedules();
        settle().await;
        // As if something had blocked the only worker: the ticks at 60, 120 and 180 have come meanwhile.
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

#[test]
fn b30_a_tick_is_late_after_a_second() {
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

#[test]
fn b30_a_tick_is_late_once_the_next_one_has_come() {
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

// ---- 25 and 32: what runs from the start on ----

#[background(on_start, log = "off")]
async fn starting(token: ShutdownToken, State(Starting(diary)): State<Starting>) {
    diary.note();
    token.cancelled().await;
}

#[test]
fn b32_a_function_is_started_with_the_program_and_drained_with_it() {
    on_both_flavors(async |manager| {
        let diary = Diary::new();
        manager.provide(Starting(diary.clone()));
        manager.start_schedules();
        until("it runs", || diary.len() == 1).await;
        assert!(
            manager
                .tasks()
                .iter()
                .any(|task| task.name.ends_with("::starting")
                    && task.state == TaskState::Running
                    && task.called_at.file() == file!())
        );
        let report = manager.shutdown("end").await;
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.drained, 1);
    });
}

#[background(
    on_start,
    restart(max = 3, window = "1m", backoff = "linear", base = "1s"),
    log = "off"
)]
async fn restarting(State(Restarting(diary)): State<Restarting>) -> Result<(), &'static str> {
    match diary.note() {
        1 => Err("once"),
        2 => panic!("twice"),
        _ => Ok(()),
    }
}

#[background(
    on_start,
    restart(
        when = "always",
        max = 5,
        window = "10s",
        backoff = "constant",
        base = "4s"
    ),
    log = "off"
)]
async fn persistent(State(Persistent(diary)): State<Persistent>) {
    diary.note();
}

#[test]
fn b32_a_failure_is_a_reason_to_start_again_and_a_normal_end_where_asked() {
    in_paused_time(async |manager| {
        let (restarting, persistent) = (Diary::new(), Diary::new());
        manager.provide(Restarting(restarting.clone()));
        manager.provide(Persistent(persistent.clone()));
        manager.start_schedules();
        sleep(SECOND / 2).await;
        let next = info(manager, "::restarting").next;
        assert!(
            next.is_some_and(|next| next > SystemTime::now()),
            "{next:?}"
        );
        sleep(30 * SECOND).await;
        assert_eq!(restarting.seconds(), [0, 1, 3]);
        assert!(info(manager, "::restarting").has_ended);
        assert_eq!(persistent.seconds(), [0, 4, 8, 12, 16, 20, 24, 28]);
        assert!(!info(manager, "::persistent").has_ended);
        assert!(!manager.is_shutting_down());
    });
}

#[background(
    on_start,
    restart(max = 2, window = "1m", base = "1s"),
    name = "gives up after two"
)]
async fn giving_up(State(GivingUp(diary)): State<GivingUp>) -> Result<(), &'static str> {
    diary.note();
    Err("always")
}

#[test]
fn b32_after_so_many_restarts_in_a_window_it_gives_up_and_says_so() {
    record_events();
    in_paused_time(async |manager| {
        let diary = Diary::new();
        manager.provide(GivingUp(diary.clone()));
        manager.start_schedules();
        sleep(120 * SECOND).await;
        assert_eq!(diary.seconds(), [0, 1, 3]);
        assert!(info(manager, "gives up after two").has_ended);
        assert!(!manager.is_shutting_down());
    });
    let events = recorded_of("gives up after two");
    let messages: Vec<_> = events
        .iter()
        .filter(|event| event.field("name") == "gives up after two")
        .filter(|event| event.message.contains("restarted"))
        .map(|event| event.message.as_str())
        .collect();
    let again = "a background function has ended and is restarted";
    let enough = "a background function is not restarted: it ended too often";
    assert_eq!(messages, [again, again, enough]);
}

#[background(
    on_start,
    essential,
    timeout = "1m",
    restart(max = 1, base = "1s"),
    log = "off"
)]
async fn is_essential(State(Essential(diary)): State<Essential>) {
    match diary.note() {
        1 => panic!("a reason to restart"),
        2 => sleep(10 * SECOND).await,
        _ => {}
    }
}

#[background(essential, name = "essential and told")]
async fn essential_and_told() {}

#[background(essential, name = "essential and silent", log = "off")]
async fn essential_and_silent() {}

#[test]
fn b25_the_end_of_an_essential_task_is_told_unless_it_is_silent() {
    for essential in [essential_and_told, essential_and_silent] {
        in_paused_time(async |manager| {
            essential();
            until("it has ended", || manager.is_shutting_down()).await;
        });
    }
    let told = |name| {
        let start = "an essential task has ended";
        recorded(|event| event.message.starts_with(start) && event.field("name") == name).len()
    };
    assert_eq!(
        (told("essential and told"), told("essential and silent")),
        (1, 0)
    );
}

#[test]
fn b25_an_essential_task_that_ends_even_normally_starts_the_shutdown() {
    in_paused_time(async |manager| {
        let diary = Diary::new();
        manager.provide(Essential(diary.clone()));
        manager.start_schedules();
        sleep(10 * SECOND).await;
        // The first end was made up for by a restart.
        assert!(!manager.is_shutting_down());
        assert_eq!(diary.len(), 2);
        sleep(2 * SECOND).await;
        until("the shutdown has been asked for", || {
            manager.is_shutting_down()
        })
        .await;
        let report = manager.shutdown("the test ends").await;
        match &report.reason {
            ShutdownReason::EssentialEnded(name) => assert!(name.ends_with("::is_essential")),
            other => panic!("{other:?}"),
        }
    });
}

#[background(essential, log = "off")]
async fn is_essential_and_called(
    token: ShutdownToken,
    State(EssentialCall(diary)): State<EssentialCall>,
    panics: bool,
) {
    diary.note();
    assert!(!panics, "essential");
    token.cancelled().await;
}

#[test]
fn b25_an_essential_call_starts_the_shutdown_whether_it_panics_or_is_aborted() {
    for panics in [true, false] {
        on_both_flavors(async |manager| {
            let diary = Diary::new();
            manager.provide(EssentialCall(diary.clone()));
            let task = is_essential_and_called(panics);
            until("it has begun", || diary.len() == 1).await;
            if !panics {
                assert!(!manager.is_shutting_down());
                task.abort();
            }
            assert!(task.await.is_err());
            until("the shutdown has been asked for", || {
                manager.is_shutting_down()
            })
            .await;
        });
    }
}

#[test]
fn b25_an_essential_task_that_ends_in_a_shutdown_is_not_its_reason() {
    on_both_flavors(async |manager| {
        let diary = Diary::new();
        manager.provide(EssentialCall(diary.clone()));
        let task = is_essential_and_called(false);
        let report = manager.shutdown("asked").await;
        assert_eq!(report.reason, "asked".into());
        assert_eq!(task.await, Ok(()));
    });
}

#[background(on_start, timeout = "1s", restart(max = 1, base = "1s"), log = "off")]
async fn runs_out_of_time(State(TimedOut(diary)): State<TimedOut>) {
    diary.note();
    std::future::pending::<()>().await;
}

#[test]
fn b32_a_run_that_ran_out_of_time_has_failed() {
    in_paused_time(async |manager| {
        let diary = Diary::new();
        manager.provide(TimedOut(diary.clone()));
        manager.start_schedules();
        sleep(10 * SECOND).await;
        assert_eq!(diary.seconds(), [0, 2]);
        assert_eq!(manager.stats().timed_out, 2);
    });
}

#[background(every = "1s", name = "stops with the request")]
async fn stops_with_the_request(State(Stopped(diary)): State<Stopped>) {
    diary.note();
}

#[background(
    on_start,
    restart(when = "always", max = 1_000_000, base = "1s", backoff = "constant"),
    name = "is not restarted",
    log = "off"
)]
async fn is_not_started_again(State(StartedAgain(diary)): State<StartedAgain>) {
    diary.note();
}

/// The clock jumps ahead as soon as this thread waits, whatever other threads have yet to do.
#[test]
fn b30_when_a_request_has_returned_no_tick_and_no_restart_comes() {
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
            manager.request_shutdown("the test says so");
            sleep(10 * SECOND).await;
            assert_eq!((ticks.seconds(), starts.len()), before);
        });
    }
}

#[background(every = "1ms", overlap, name = "ticks in a hurry")]
async fn ticks_in_a_hurry(State(Hurried(diary)): State<Hurried>) {
    diary.note();
}

/// From a thread that is not the runtime's, beside workers that tick.
#[test]
fn b30_when_a_request_from_another_thread_has_returned_no_run_is_accepted() {
    record_events();
    for _ in 0..20 {
        let [_, runtime] = bgtask_tests::runtimes();
        let manager = bgtask_tests::manager_within(FOREVER, &runtime);
        manager.provide(Hurried(Diary::new()));
        manager.start_schedules();
        bgtask_tests::blocking_until("it ticks", || info_of(&manager).runs >= 3);
        manager.request_shutdown("the test says so");
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
        .find(|info| info.name == "ticks in a hurry");
    *info.expect("it was started")
}

// ---- 33: state ----

#[background(every = "1h", immediately, name = "starts late")]
async fn starts_late(State(Late(diary)): State<Late>) {
    diary.note();
}

#[test]
fn b33_a_schedule_begins_once_its_state_is_there_and_its_lack_is_named_at_the_start() {
    record_events();
    in_paused_time(async |manager| {
        manager.start_schedules();
        sleep(10 * SECOND).await;
        assert!(info(manager, "starts late").waits_for_state);
        let next = next_in_the_table(manager, "starts late");
        assert_eq!(next, "waits for its state");
        let diary = Diary::new();
        manager.provide(Late(diary.clone()));
        settle().await;
        assert_eq!(diary.seconds(), [0]);
        assert!(!info(manager, "starts late").waits_for_state);
        let next = next_in_the_table(manager, "starts late");
        assert!(next.starts_with("in "), "{next}");
    });
    let events = recorded(|event| {
        event
            .message
            .starts_with("a background function needs state")
            && event.field("name") == "starts late"
            && event.field("state").ends_with("::Late")
    });
    assert!(!events.is_empty());
    assert!(events[0].field("location").contains("tests/schedules.rs:"));
}

#[derive(Clone)]
struct ProvidedByNobody;

#[background(on_start, name = "never starts")]
async fn never_starts(State(_state): State<ProvidedByNobody>) {}

#[test]
fn b33_state_that_was_never_provided_is_named_at_the_shutdown() {
    record_events();
    let report = in_paused_time(async |manager| {
        manager.start_schedules();
        settle().await;
        manager.request_shutdown("now");
        until("all schedules have ended", || {
            manager.schedules().iter().all(|info| info.has_ended)
        })
        .await;
        assert_eq!(next_in_the_table(manager, "never starts"), "ended");
    });
    assert!(report.is_clean());
    let events = recorded(|event| {
        event.message == "a background function never started: nobody provided its state"
            && event.field("name") == "never starts"
    });
    assert!(!events.is_empty());
    assert!(events[0].field("state").ends_with("::ProvidedByNobody"));
}

// ---- the builder ----

#[background(on_start, log = "off")]
fn plain(
    State(Plain(diary)): State<Plain>,
    count: State<Arc<AtomicU32>>,
    gate: State<Arc<Notify>>,
) {
    diary.note();
    count.fetch_add(1, Ordering::SeqCst);
    gate.notify_one();
}

#[test]
fn b33_a_builder_provides_state_and_starts_schedules() {
    record_events();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let count = Arc::new(AtomicU32::new(0));
    let gate = Arc::new(Notify::new());
    let manager = Manager::builder()
        .grace(FOREVER)
        .provide(Plain(Diary::new()))
        .provide(count.clone())
        .provide(gate.clone())
        .schedules(true)
        .install_on(runtime.handle())
        .unwrap();
    runtime.block_on(async {
        gate.notified().await;
        assert_eq!(count.load(Ordering::SeqCst), 1);
        assert!(manager.shutdown("end").await.is_clean());
    });
    runtime.shutdown_background();
}
