//! The state of durable functions. A binary of its own: one of its functions has no state until a test provides it.

mod support;

use bgtask::durable::JobState;
use bgtask::{State, background};
use std::io;
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};
use support::store::{LIMIT, with_store};
use support::{Scratch, on_each_database, on_the_kit};

#[background(durable)]
async fn nothing() {}

#[background(durable)]
async fn of_another_state(State(number): State<u8>) -> u8 {
    number
}

static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut logged = LOGGED.lock().expect("no thread panics with it");
        logged.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads the warnings of all tests.
fn log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
            .with_ansi(false)
            .with_writer(|| Log)
            .init();
    });
}

/// Sentence 6.6.
fn a_function_without_its_state_waits_and_keeps_no_other_waiting(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let waiting = of_another_state().await.expect("it is stored");
        nothing()
            .await
            .expect("it is stored")
            .outcome()
            .await
            .expect("it runs");
        assert_eq!(
            waiting.status().await.expect("it is there").state,
            JobState::Waiting
        );
        bgtask::provide(5_u8);
        assert_eq!(waiting.outcome().await, Ok(5));
    });
}

/// Sentence 14.13.
fn a_function_without_its_state_is_logged(scratch: Scratch) {
    log();
    with_store(&scratch, |_| async {
        // The others do not wait for it.
        let other = nothing().await.expect("it is stored");
        other.outcome().await.expect("it runs");
        let warning = || {
            let logged = LOGGED.lock().expect("no thread panics with it").clone();
            let logged = String::from_utf8(logged).expect("text");
            let mut lines = logged.lines();
            let warning = lines.find(|line| line.contains("are not claimed yet"));
            warning.map(str::to_owned)
        };
        let begin = Instant::now();
        let warning = loop {
            if let Some(warning) = warning() {
                break warning;
            }
            assert!(begin.elapsed() < LIMIT, "it is not logged");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert!(
            warning.contains("functions=\"states::of_another_state\""),
            "{warning}"
        );
        // Who works on no jobs need not provide it: the manager, which has looked before, logs nothing.
        let logged = LOGGED.lock().expect("no thread panics with it").clone();
        let logged = String::from_utf8(logged).expect("text");
        assert!(!logged.contains("waiting for state"), "{logged}");
    });
}

on_each_database! {
    a_function_without_its_state_waits_and_keeps_no_other_waiting,
    a_function_without_its_state_is_logged,
}

on_the_kit! {
    a_function_without_its_state_waits_and_keeps_no_other_waiting,
}
