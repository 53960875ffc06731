//! Schedules in tests: they run only if requested, by the test's clock, and an hour of them passes in no time.

use bgtask::testing::{self, Kit};
use bgtask::{ShutdownToken, State, background};
use bgtask_tests::FOREVER;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::time::{Instant as PausedInstant, sleep};

const HOUR: Duration = Duration::from_secs(3600);

#[background(every = "1m")]
async fn every_minute() {}

#[background(every = "5m", immediately)]
fn every_five_minutes() {}

#[background(every = "1m")]
async fn needs_state(State(runs): State<Arc<AtomicU32>>) {
    runs.fetch_add(1, Ordering::Relaxed);
}

#[background(cron = "30 2 * * *", timezone = "Europe/Berlin")]
async fn at_half_past_two_in_berlin() {}

#[background(cron = "0 0 1 1 *")]
async fn at_new_year() {}

#[background(cron = "*/10 * * * *")]
async fn every_ten_minutes_by_the_clock() {}

#[background(cron = "* * * * * *")]
async fn every_second_by_the_clock() {}

#[background(on_start)]
async fn from_the_start_on() {}

#[background(every = "1m", log = "off")]
async fn fails_every_minute() -> Result<(), String> {
    Err("as declared".to_owned())
}

/// 2030-01-01T00:00:00Z
fn new_year() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000)
}

/// Behaviour 40.
#[bgtask::test(start_paused = true)]
async fn no_schedule_starts_unless_the_test_starts_it() {
    sleep(HOUR).await;
    testing::assert_not_called(every_minute);
    testing::assert_not_called(from_the_start_on);
    assert!(bgtask::schedules().is_empty());
}

/// Behaviour 40.
#[bgtask::test(schedules, start_paused = true)]
async fn an_hour_of_ticks_passes_in_no_time() {
    let (real, paused) = (Instant::now(), PausedInstant::now());
    testing::expect_error(fails_every_minute);
    sleep(HOUR + Duration::from_secs(1)).await;
    testing::assert_called(every_minute, 60);
    assert_eq!(testing::runs(every_five_minutes), 13);
    testing::assert_called(from_the_start_on, 1);
    for _ in 1..60 {
        testing::expect_error(fails_every_minute);
    }
    assert!(paused.elapsed() >= HOUR);
    assert!(real.elapsed() < FOREVER);
}

/// Behaviour 40.
#[bgtask::test(start_paused = true)]
async fn schedules_started_later_run_from_then_on_and_wait_for_state() {
    sleep(HOUR).await;
    let runs = Arc::new(AtomicU32::new(0));
    bgtask::provide(runs.clone());
    testing::start_schedules();
    testing::start_schedules();
    sleep(Duration::from_secs(5 * 60 + 1)).await;
    assert_eq!(runs.load(Ordering::Relaxed), 5);
    testing::assert_called(every_minute, 5);
    for _ in 0..5 {
        testing::expect_error(fails_every_minute);
    }
}

#[background]
async fn is_cancelled_within_a_year(token: ShutdownToken) -> bool {
    let year = Duration::from_secs(365 * 24 * 3600);
    token.run_until_cancelled(sleep(year)).await.is_none()
}

/// Paused time advances when no task can run, and the tokens fire on another thread.
/// Behaviour 40.
#[test]
fn at_the_end_neither_a_tick_nor_a_timer_comes_before_the_tokens() {
    for _ in 0..20 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let kit = Kit::install().unwrap();
            testing::start_schedule(every_minute);
            testing::start_schedule(at_new_year);
            let cancelled = is_cancelled_within_a_year();
            testing::started(is_cancelled_within_a_year).await;
            sleep(Duration::from_secs(60)).await;
            testing::started(every_minute).await;
            let runs = Arc::new(AtomicU32::new(0));
            let counts = runs.clone();
            bgtask::on_finish(move |_| {
                counts.fetch_add(1, Ordering::Relaxed);
            });
            kit.finish().await;
            assert_eq!(cancelled.await, Ok(true));
            // That one, and at most a run in flight.
            assert!(runs.load(Ordering::Relaxed) <= 2, "{runs:?}");
        });
    }
}

/// Behaviour 40.
#[bgtask::test(start_paused = true)]
async fn one_schedule_is_started_without_the_others_and_once() {
    testing::start_schedule(every_five_minutes);
    testing::start_schedule("every_five_minutes");
    testing::started(every_five_minutes).await;
    sleep(HOUR + Duration::from_secs(1)).await;
    testing::assert_called(every_five_minutes, 13);
    testing::assert_not_called(every_minute);
    let names: Vec<_> = bgtask::schedules()
        .iter()
        .map(bgtask::ScheduleHandle::name)
        .collect();
    assert_eq!(names, ["kit::clock::every_five_minutes"]);
}

#[background(every = "1h", name = "same_name")]
async fn first_of_two() {}

#[background(every = "1h", name = "same_name")]
async fn second_of_two() {}

/// Behaviour 40.
#[bgtask::test]
async fn two_functions_with_one_name_have_a_schedule_each() {
    testing::start_schedules();
    let mut same_name = bgtask::schedules();
    same_name.retain(|schedule| schedule.name() == "same_name");
    assert_eq!(same_name.len(), 2);
}

#[bgtask::test]
async fn a_scheduled_function_can_be_called_like_any_other() {
    every_minute().await.unwrap();
    testing::assert_called(every_minute, 1);
}

/// Behaviour 40.
#[bgtask::test(start_paused = true)]
async fn cron_follows_a_clock_that_the_test_sets_and_paused_time_advances() {
    let real = Instant::now();
    let days = |days: u64| Duration::from_secs(days * 24 * 3600);
    let next = || {
        let all = bgtask::schedules();
        all[0]
            .info()
            .next
            .unwrap()
            .duration_since(new_year())
            .unwrap()
    };
    // It is the 30th of March, and clocks go from two to three in the coming night.
    testing::set_now(new_year() + days(88));
    testing::start_schedule(at_half_past_two_in_berlin);
    tokio::task::yield_now().await;
    assert_eq!(next(), days(88) + HOUR + HOUR / 2);
    sleep(HOUR + HOUR / 2).await;
    testing::started(at_half_past_two_in_berlin).await;
    assert_eq!(testing::runs(at_half_past_two_in_berlin), 1);

    sleep(days(2)).await;
    // Half past two is now half past midnight in UTC.
    assert_eq!(next(), days(91) + HOUR / 2);
    let so_far = testing::runs(at_half_past_two_in_berlin);
    sleep(days(2)).await;
    assert_eq!(testing::runs(at_half_past_two_in_berlin), so_far + 2);
    assert!(real.elapsed() < FOREVER);
}

/// Behaviour 40.
#[bgtask::test(start_paused = true)]
async fn a_clock_that_the_test_moves_forward_starts_due_runs() {
    testing::set_now(new_year() - 48 * HOUR);
    testing::start_schedule(at_new_year);
    sleep(HOUR).await;
    testing::assert_not_called(at_new_year);
    testing::set_now(new_year() + HOUR);
    testing::started(at_new_year).await;
    testing::idle().await;
    testing::assert_called(at_new_year, 1);
}

#[background(cron = "0 * * * *")]
async fn hourly_once() {}

#[background(cron = "0 * * * *", missed = "skip")]
async fn hourly_skip() {}

#[background(cron = "0 * * * *", missed = "all")]
async fn hourly_all() {}

/// Behaviour 40.
#[bgtask::test(start_paused = true)]
async fn ticks_that_a_clock_skips_when_it_moves_forward_are_missed() {
    testing::set_now(new_year() - HOUR / 2);
    testing::start_schedule(hourly_once);
    testing::start_schedule(hourly_skip);
    testing::start_schedule(hourly_all);
    sleep(HOUR / 60).await;
    // The clock skips midnight, one, two and three o'clock.
    testing::set_now(new_year() + 3 * HOUR + HOUR / 2);
    sleep(HOUR / 60).await;
    testing::assert_called(hourly_once, 1);
    testing::assert_not_called(hourly_skip);
    testing::assert_called(hourly_all, 4);
    let missed: Vec<_> = bgtask::schedules()
        .iter()
        .map(|schedule| {
            (
                schedule.name().rsplit("::").next().unwrap(),
                schedule.info().missed,
            )
        })
        .collect();
    assert_eq!(
        missed,
        [("hourly_all", 0), ("hourly_once", 3), ("hourly_skip", 4)]
    );
    sleep(HOUR / 2).await;
    testing::assert_called(hourly_once, 2);
    testing::assert_called(hourly_skip, 1);
    testing::assert_called(hourly_all, 5);
}

#[bgtask::test(start_paused = true)]
async fn a_clock_that_was_a_year_ahead_delays_no_schedule_when_it_is_corrected() {
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    testing::set_now(new_year() + 365 * 24 * HOUR);
    testing::start_schedule(every_ten_minutes_by_the_clock);
    sleep(minutes(11)).await;
    testing::assert_called(every_ten_minutes_by_the_clock, 1);
    testing::set_now(new_year() + minutes(1));
    sleep(minutes(11)).await;
    testing::assert_called(every_ten_minutes_by_the_clock, 2);
}

#[bgtask::test(start_paused = true)]
async fn a_clock_that_started_in_1970_is_caught_up_in_one_run() {
    testing::set_now(SystemTime::UNIX_EPOCH);
    testing::start_schedule(every_second_by_the_clock);
    sleep(Duration::from_millis(1500)).await;
    testing::assert_called(every_second_by_the_clock, 1);
    // About two thousand million ticks later.
    testing::set_now(new_year() + Duration::from_millis(500));
    sleep(Duration::from_millis(600)).await;
    let caught_up = testing::runs(every_second_by_the_clock);
    assert!((2..=3).contains(&caught_up), "{caught_up}");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(testing::runs(every_second_by_the_clock), caught_up + 10);
}

#[background(every = "1m", missed = "skip")]
async fn long_skip() {
    // The first run takes two minutes and half a second, the others no time.
    if testing::runs(long_skip) == 1 {
        sleep(Duration::from_millis(120_500)).await;
    }
}

#[background(every = "1m")]
async fn long_once() {
    if testing::runs(long_once) == 1 {
        sleep(Duration::from_millis(120_500)).await;
    }
}

#[background(every = "1m", missed = "skip")]
async fn stalled_skip() {}

/// State of the schedules with many ticks: a test that starts all schedules for an hour does not provide it.
#[derive(Clone)]
struct Quick;

#[background(every = "100ms", missed = "skip")]
async fn every_tenth_skip(_quick: State<Quick>) {}

#[background(every = "10ms", missed = "skip")]
async fn every_hundredth_skip(_quick: State<Quick>) {}

/// Returns the runs and the missed ticks of the schedule whose function has this name.
fn runs_and_missed(name: &str) -> (u64, u64) {
    let all = bgtask::schedules();
    let ends_so = |schedule: &&bgtask::ScheduleHandle| schedule.name().ends_with(name);
    let schedule = all.iter().find(ends_so).unwrap().info();
    (schedule.runs, schedule.missed)
}

/// Behaviour 30.
#[bgtask::test(start_paused = true)]
async fn a_tick_in_time_runs_though_a_long_run_missed_the_one_before() {
    testing::start_schedule(long_skip);
    testing::start_schedule(long_once);
    // The first run ends at 180.5 s: the tick at 120 s is missed, and the tick at 180 s is half a second late.
    sleep(Duration::from_secs(185)).await;
    assert_eq!(runs_and_missed("::long_skip"), (2, 1));
    // One run at 180.5 s, for the missed tick and for the one in time.
    assert_eq!(runs_and_missed("::long_once"), (2, 1));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(runs_and_missed("::long_skip"), (3, 1));
    assert_eq!(runs_and_missed("::long_once"), (3, 1));
}

/// Starts a schedule, and moves the clock on by `stall` at once, as a blocked runtime sees it.
async fn after_a_stall(function: &str, stall: Duration) -> (u64, u64) {
    testing::start_schedule(function);
    // The driver has to wait for its first tick before the clock moves.
    sleep(Duration::from_millis(1)).await;
    tokio::time::advance(stall - Duration::from_millis(1)).await;
    sleep(Duration::from_millis(1)).await;
    runs_and_missed(function)
}

/// Behaviour 30.
#[bgtask::test(start_paused = true)]
async fn a_tick_in_time_runs_though_a_stall_missed_those_before() {
    let millis = Duration::from_millis;
    // The ticks at 60 s and 120 s are missed, and the tick at 180 s is half a second late.
    let minutely = after_a_stall("stalled_skip", millis(180_500)).await;
    assert_eq!(minutely, (1, 2));
}

/// Behaviour 30.
#[bgtask::test(start_paused = true)]
async fn ticks_less_than_a_second_apart_are_each_judged_separately() {
    bgtask::provide(Quick);
    let millis = Duration::from_millis;
    // The ticks at 100, 200 and 300 ms are missed, and the next one after 400 ms has not come.
    let tenths = after_a_stall("every_tenth_skip", millis(420)).await;
    assert_eq!(tenths, (1, 3));
    // Neither the tick at 10 ms nor the one at 20 ms is more than 20 ms late.
    let hundredths = after_a_stall("every_hundredth_skip", millis(25)).await;
    assert_eq!(hundredths, (2, 0));
}
