//! `after` and `at`: calls that wait in memory for their time.

use bgtask::testing::set_now;
use bgtask::{RefusedReason, ShutdownToken, StopReason, TaskError, background};
use bgtask_tests::{
    in_paused_time, on_both_flavors, record_events, recorded_of, settle, silence_panics,
};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

type Times = Arc<Mutex<Vec<(u32, u64)>>>;

#[background]
async fn notes(number: u32, times: Times, begin: Instant) -> u32 {
    times
        .lock()
        .unwrap()
        .push((number, begin.elapsed().as_secs()));
    number
}

#[background]
async fn until_cancelled(token: ShutdownToken) -> Option<StopReason> {
    token.cancelled().await;
    token.reason()
}

#[background(name = "later: fails")]
async fn fails() -> Result<(), String> {
    Err("its own error".to_owned())
}

/// Behaviour 30.
#[test]
fn a_call_is_made_after_its_delay_and_its_handle_returns_the_outcome() {
    let report = in_paused_time(async |manager| {
        let (times, begin) = (Times::default(), Instant::now());
        let later = |number, seconds| {
            let times = times.clone();
            bgtask::after(seconds * SECOND, move || notes(number, times, begin))
        };
        // A handle that is dropped cancels nothing.
        drop(later(1, 20));
        let second = later(2, 10);
        let third = later(3, 3600);
        settle().await;
        assert!(second.is_scheduled());
        assert_eq!(manager.stats().accepted, 0);
        assert_eq!(manager.tasks().len(), 0);
        manager.idle().await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
        assert_eq!(second.await, Ok(2));
        assert_eq!(begin.elapsed().as_secs(), 10);
        assert_eq!(third.await, Ok(3));
        assert_eq!(*times.lock().unwrap(), [(2, 10), (1, 20), (3, 3600)]);
    });
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.scheduled_count, 0);
}

/// Behaviour 30.
#[test]
fn a_call_that_is_cancelled_before_its_time_is_never_made() {
    in_paused_time(async |manager| {
        let (times, begin) = (Times::default(), Instant::now());
        let noted = times.clone();
        let cancelled = bgtask::after(SECOND, move || notes(1, noted, begin));
        cancelled.cancel();
        assert_eq!(manager.snapshot().scheduled_count, 0);
        assert_eq!(cancelled.await, Err(TaskError::Cancelled));
        sleep(10 * SECOND).await;
        assert_eq!(manager.stats().accepted, 0);
        assert_eq!(times.lock().unwrap().len(), 0);
    });
}

/// Behaviour 30.
#[test]
fn a_call_that_has_been_made_is_cancelled_through_the_same_handle() {
    in_paused_time(async |manager| {
        let handle = bgtask::after(SECOND, until_cancelled);
        sleep(2 * SECOND).await;
        assert!(!handle.is_scheduled());
        assert_eq!(manager.stats().running, 1);
        handle.cancel();
        assert_eq!(handle.await, Ok(Some(StopReason::Cancelled)));
    });
}

/// Behaviour 35.
#[test]
fn a_snapshot_shows_the_calls_that_wait_for_their_time() {
    in_paused_time(async |manager| {
        let line = line!() + 1;
        let _last = bgtask::after(3600 * SECOND, fails);
        let _first = bgtask::after(60 * SECOND, || fails());
        let snapshot = manager.snapshot();
        assert_eq!(snapshot.scheduled_count, 2);
        let [first, last] = &snapshot.scheduled[..] else {
            panic!("{snapshot}");
        };
        assert!(first.due < last.due);
        assert_eq!(last.called_at.line(), line);
        assert!(last.name.ends_with("::fails"), "{}", last.name);
        let around = "::a_snapshot_shows_the_calls_that_wait_for_their_time";
        assert!(first.name.ends_with(around), "{}", first.name);
        let table = snapshot.to_string();
        for part in ["scheduled call", "in 60.0 s", around, "later.rs:"] {
            assert!(table.contains(part), "{table}");
        }
    });
}

/// Behaviour 6.
#[test]
fn a_shutdown_does_not_wait_for_a_scheduled_call_and_names_it() {
    record_events();
    for report in on_both_flavors(async |manager| {
        let hour = 3600 * SECOND;
        let handle = bgtask::after(hour, || fails());
        let _other = bgtask::at(SystemTime::now() + hour, || fails());
        // Its time may still come before `main` has ended.
        manager.request_shutdown("the test ends");
        assert!(handle.is_scheduled());
        let report = manager.shutdown("the test ends").await;
        assert_eq!(handle.await, Err(TaskError::Cancelled));
        assert_eq!(report.scheduled_count, 2);
        let refused = bgtask::after(SECOND, || fails());
        let error = TaskError::Refused(RefusedReason::ShutDown);
        assert_eq!(refused.await.map(drop), Err(error));
    }) {
        assert!(report.is_clean(), "{report}");
        let name = "::a_shutdown_does_not_wait_for_a_scheduled_call_and_names_it";
        assert!(report.scheduled[0].name.contains(name));
        let text = report.to_string();
        assert!(text.contains("2 scheduled calls were not made"), "{text}");
        assert!(text.contains(name), "{text}");
    }
    let name = "later::a_shutdown_does_not_wait_for_a_scheduled_call_and_names_it";
    let logged = bgtask_tests::recorded(|event| {
        event.message.starts_with("scheduled call was not made")
            && event.field("name").contains(name)
    });
    assert_eq!(logged.len(), 4);
}

/// Behaviour 20.
#[test]
fn an_error_of_a_scheduled_call_is_logged_if_no_handle_takes_it() {
    record_events();
    in_paused_time(async |manager| {
        drop(bgtask::after(SECOND, fails));
        let held = bgtask::after(SECOND, fails);
        sleep(2 * SECOND).await;
        manager.idle().await;
        let failed = || {
            recorded_of("later: fails")
                .into_iter()
                .filter(|event| event.message == "task failed")
                .count()
        };
        assert_eq!(failed(), 1);
        assert_eq!(held.await, Ok(Err("its own error".to_owned())));
        assert_eq!(failed(), 1);
        assert_eq!(manager.stats().failed, 2);
    });
}

/// Behaviour 19.
#[test]
fn a_panic_of_the_code_that_makes_the_call_is_reported_and_returned() {
    silence_panics("nothing to call");
    in_paused_time(async |manager| {
        let handle = bgtask::after(SECOND, || -> bgtask::TaskHandle<()> {
            panic!("nothing to call")
        });
        let ended = handle.await;
        assert!(
            matches!(&ended, Err(TaskError::Panicked { message, .. }) if message == "nothing to call"),
            "{ended:?}"
        );
        assert_eq!(manager.stats().accepted, 0);
    });
}

/// Behaviour 40.
#[bgtask::test(start_paused = true)]
async fn a_call_at_a_time_follows_the_clock_of_the_test() {
    let new_year = SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000);
    set_now(new_year);
    let (times, begin) = (Times::default(), Instant::now());
    let at = |number, time| {
        let times = times.clone();
        bgtask::at(time, move || notes(number, times, begin))
    };
    let tomorrow = at(1, new_year + 24 * 3600 * SECOND);
    let past = at(2, new_year - SECOND);
    assert_eq!(past.await, Ok(2));
    assert_eq!(tomorrow.await, Ok(1));
    assert_eq!(*times.lock().unwrap(), [(2, 0), (1, 24 * 3600)]);
}
