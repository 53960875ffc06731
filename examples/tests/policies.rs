//! The examples of the policies as processes: each comes to its own end, and says what its head promises.

use std::process::{Command, Output};

fn run(program: &str) -> (Output, String) {
    let output = Command::new(program).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, stdout)
}

#[test]
fn every_webhook_arrives_but_the_one_to_nowhere() {
    let (output, stdout) = run(env!("CARGO_BIN_EXE_webhooks"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let nowhere = "/nowhere: the other side said 404; not tried again";
    assert!(stdout.contains(nowhere), "{stdout}");
    // One attempt more or less, as the machine has it; all of them fail at times, and none in the end.
    assert!(stdout.contains("10 webhooks delivered with "), "{stdout}");
    assert!(!stdout.contains(" 0 of them retries"), "{stdout}");
}

#[test]
fn sixty_changes_come_to_a_few_refreshes_and_the_cache_is_fresh() {
    let (output, stdout) = run(env!("CARGO_BIN_EXE_cache_refresh"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stdout.contains("cached: home 30, about 30"), "{stdout}");
    let refreshes = stdout.matches("is refreshed").count();
    assert!((4..=40).contains(&refreshes), "{stdout}");
}

#[test]
fn a_consumer_that_gives_up_ends_the_program_with_exit_code_1() {
    let (output, stdout) = run(env!("CARGO_BIN_EXE_consumer"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(stdout.matches("connected").count(), 3, "{stdout}");
    assert!(stdout.contains("event 11 is handled"), "{stdout}");
}
