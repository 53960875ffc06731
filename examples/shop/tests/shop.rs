//! Runs the example: no receipt is lost, and those that were being written are written again.

use std::process::Command;

#[test]
fn receipts_survive_kill_9() {
    let output = Command::new(env!("CARGO_BIN_EXE_example-shop"))
        .output()
        .expect("the example runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("Killed with SIGKILL: "), "{text}");
    assert!(text.contains("all six receipts are there; "), "{text}");
    // At least one was killed in the midst of it.
    assert!(!text.contains("; 0 attempts died"), "{text}");
    assert!(text.ends_with("6 of 6 receipts are there.\n"), "{text}");
}
