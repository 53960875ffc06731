//! `Debug` and `Display` of the public types.

use bgtask::{ShutdownToken, TaskState, background};
use bgtask_tests::on_both_flavors;
use std::collections::HashSet;
use std::time::Duration;

#[background]
async fn waits_for_its_token(token: ShutdownToken) {
    token.cancelled().await;
}

#[test]
fn the_debug_output_names_the_type_and_its_state() {
    on_both_flavors(async |manager| {
        let handle = waits_for_its_token();
        let text = format!("{handle:?}");
        let id = format!("{:?}", handle.id());
        for part in ["TaskHandle", &id, handle.name(), "is_finished: false"] {
            assert!(text.contains(part), "{text}");
        }
        let token = manager.token();
        let text = format!("{token:?}");
        assert!(text.starts_with("ShutdownToken") && text.contains("is_cancelled: false"));
        assert!(format!("{:?}", token.cancelled_owned()).starts_with("Cancelled"));
        handle.cancel();
    });
    let builder = bgtask::Manager::builder().grace(Duration::from_secs(7));
    assert_eq!(
        format!("{builder:?}"),
        "ManagerBuilder { grace: 7s, pre_stop: 0ns, warn_after: None, .. }"
    );
    let handlers = bgtask::handlers();
    let handler = handlers[0];
    let (name, file, line) = (handler.name(), handler.file(), handler.line());
    assert_eq!(handler.to_string(), format!("{name} ({file}:{line})"));
    assert!(format!("{handler:?}").contains(name), "{handler:?}");
    assert_eq!(TaskState::BackingOff.to_string(), "backing off");
    let access = bgtask::dashboard::Access::from(true);
    assert_eq!(format!("{access:?}"), "Access(true)");
    let error = bgtask::Manager::install().unwrap_err();
    assert_eq!(error, bgtask::InstallError::NoRuntime);
    assert!(error.to_string().contains("runtime"), "{error}");
}

#[test]
fn each_reason_for_a_missing_value_has_its_own_text() {
    use bgtask::{InstallError, RefusedReason, ShutdownReason, Signal, TaskError};
    let texts = [
        TaskError::TimedOut.to_string(),
        TaskError::Cancelled.to_string(),
        TaskError::Aborted.to_string(),
        TaskError::Skipped.to_string(),
        TaskError::Replaced.to_string(),
        TaskError::Refused(RefusedReason::ShutDown).to_string(),
        TaskError::Refused(RefusedReason::GroupClosed).to_string(),
        TaskError::Refused(RefusedReason::QueueFull).to_string(),
        TaskError::Refused(RefusedReason::DroppedFromQueue).to_string(),
        TaskError::Refused(RefusedReason::RateExceeded).to_string(),
        TaskError::Refused(RefusedReason::MissingState("Pool")).to_string(),
        InstallError::NoRuntime.to_string(),
        InstallError::AlreadyInstalled.to_string(),
        InstallError::CalledBefore.to_string(),
        ShutdownReason::from("why").to_string(),
        ShutdownReason::from("why else".to_owned()).to_string(),
        ShutdownReason::from(Signal::Interrupt).to_string(),
        ShutdownReason::from(Signal::Terminate).to_string(),
        ShutdownReason::MainReturned.to_string(),
        ShutdownReason::MainPanicked.to_string(),
        ShutdownReason::ManagerDropped.to_string(),
    ];
    for words in [
        "timed out",
        "was cancelled",
        "was aborted",
        "skipped",
        "replaced by a later call",
        "has shut down",
        "the wait queue is full",
        "displaced it from the wait queue",
        "the rate limit was exceeded",
        "`State<Pool>`",
        "no tokio runtime",
        "one manager per runtime",
        "requested: why",
        "requested: why else",
        "SIGINT",
        "SIGTERM",
        "main returned",
        "main panicked",
        "the manager was dropped",
    ] {
        assert!(texts.iter().any(|text| text.contains(words)), "{words}");
    }
    let all: HashSet<_> = texts.iter().collect();
    assert_eq!(all.len(), texts.len(), "{texts:?}");
}
