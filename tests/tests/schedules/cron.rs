//! `cron`: runs by the wall clock of a time zone.

use crate::support::{Diary, SECOND, in_paused_time, info};
use bgtask::{State, background};
use bgtask_tests::settle;
use tokio::time::sleep;

crate::support::diaries!(Hourly, Nightly);

#[background(cron = "30 3 * * *", timezone = "Europe/Berlin", log = "off")]
async fn nightly(State(Nightly(diary)): State<Nightly>) {
    diary.note();
}

/// Behaviour 30.
#[test]
fn cron_runs_by_the_wall_clock_of_its_time_zone() {
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
        // Three days, and an hour for the end of summer time.
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

/// Behaviour 30.
#[test]
fn jitter_delays_cron_ticks_by_more_than_the_polling_interval() {
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
        // That all 47 differences of two draws from ten minutes are below one and a half is impossible in practice.
        assert!(from_an_hour.max() > Some(90), "{runs:?}");
    });
}
