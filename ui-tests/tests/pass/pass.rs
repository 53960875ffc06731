//! Cases that compile: one file per case. Each is a module of this one program, which also calls it.
//! Owns the runtimes that the cases run on; `ui.rs` checks that no file is forgotten.

// The cases are written for coverage, not for style. `lints` checks the generated code.
#![allow(
    clippy::all,
    mixed_script_confusables,
    nonstandard_style,
    special_module_name,
    uncommon_codepoints,
    unreachable_pub
)]

extern crate bgtask as other_name;

use bgtask::Manager;
use std::process::{Command, ExitCode};

mod attributes;
mod body;
mod call;
mod hygiene;
mod main;
mod options;
mod policies;
mod signature;
mod spawn;
mod testing;

/// Runs a case on a runtime with a manager, and shuts that down.
fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let report = runtime.block_on(async {
        let manager = Manager::install().expect("the runtime's only manager");
        case.await;
        manager.shutdown("the case ends").await
    });
    assert!(report.is_clean(), "{report}");
}

/// Runs a `main` in a process of its own: that of the test with this name once more.
fn in_a_process(test: &str, main: fn() -> ExitCode) {
    const VARIABLE: &str = "BGTASK_UI_TESTS_MAIN";
    if std::env::var_os(VARIABLE).is_some() {
        let succeeded = main() == ExitCode::SUCCESS;
        std::process::exit(i32::from(!succeeded));
    }
    let program = std::env::current_exe().expect("the path of this program");
    let output = Command::new(program)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(VARIABLE, "1")
        .output()
        .expect("a process");
    assert!(output.status.success(), "{output:?}");
}
