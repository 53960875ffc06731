//! `State<T>`: the values that a manager fills in for its calls.

use crate::support::Settings;
use bgtask::{RefusedReason, ShutdownToken, State, TaskError, background};
use bgtask_tests::{in_paused_time, on_both_flavors, record_events, recorded_of};

#[background]
async fn counts_up(mut state: State<Settings>, token: ShutdownToken) -> u32 {
    state.0.0 += 1;
    let Settings(count) = &mut *state;
    *count += u32::from(!token.is_cancelled());
    state.0.0
}

/// Behaviour 33.
#[test]
fn each_task_receives_its_own_copy() {
    on_both_flavors(async |manager| {
        manager.provide(Settings(40));
        assert_eq!(counts_up().await, Ok(42));
        assert_eq!(counts_up().await, Ok(42));
    });
}

#[background(log = "off")]
async fn reads_settings(token: ShutdownToken, State(settings): State<Settings>, add: u32) -> u32 {
    assert!(!token.is_cancelled());
    settings.0 + add
}

#[background(log = "off")]
fn reads_settings_blocking(add: u32, settings: State<Settings>) -> u32 {
    settings.0.0 + add
}

/// Behaviour 33.
#[test]
fn state_is_filled_in_by_type_and_belongs_to_one_manager() {
    for number in [1, 100] {
        on_both_flavors(async |manager| {
            bgtask::provide(Settings(number));
            assert_eq!(reads_settings(1).await, Ok(number + 1));
            assert_eq!(reads_settings_blocking(2).await, Ok(number + 2));
            assert_eq!(manager.stats().succeeded, 2);
            // A state is no policy: such calls are in no statistics of policies.
            assert_eq!(manager.handler_stats(), []);
        });
    }
}

#[derive(Clone)]
struct NeverProvided;

#[background(name = "lacks its state")]
async fn lacks_its_state(State(_state): State<NeverProvided>) {}

/// Behaviour 33.
#[test]
fn a_call_without_its_state_is_refused_with_the_missing_type() {
    record_events();
    in_paused_time(async |manager| {
        let refused = lacks_its_state();
        let error = refused.await.unwrap_err();
        match &error {
            TaskError::Refused(RefusedReason::MissingState(name)) => {
                assert!(name.ends_with("NeverProvided"));
            }
            other => panic!("{other:?}"),
        }
        assert!(error.to_string().contains("bgtask::provide"), "{error}");
        assert_eq!((manager.stats().accepted, manager.stats().refused), (0, 1));
    });
    let events = recorded_of("lacks its state");
    assert_eq!(events.len(), 1);
    assert!(events[0].field("reason").contains("NeverProvided"));
    assert!(events[0].field("called_at").contains(file!()));
}

/// Behaviour 33.
#[test]
fn state_provided_twice_is_logged_and_the_first_stays() {
    record_events();
    on_both_flavors(async |manager| {
        bgtask::provide(Settings(1));
        manager.provide(Settings(2));
        assert_eq!(reads_settings(0).await, Ok(1));
    });
    let events = bgtask_tests::recorded(|event| {
        event.message.starts_with("state provided twice")
            && event.field("state").ends_with("Settings")
    });
    assert_eq!(events.len(), 2);
    assert!(events[0].field("first").contains(file!()));
    assert_ne!(events[0].field("first"), events[0].field("second"));
}
