//! An exit code.
use std::process::ExitCode;

#[bgtask::main]
async fn main() -> ExitCode {
    ExitCode::SUCCESS
}

#[test]
fn runs() {
    crate::in_a_process("main::exit_code::runs", main);
}
