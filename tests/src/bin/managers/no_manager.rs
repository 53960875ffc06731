//! A background function called without a manager: on a tokio runtime, or without one.
#![allow(clippy::print_stdout, reason = "the tests read it")]

#[bgtask::background]
async fn write_audit_line() {}

#[bgtask::background]
async fn never_ends() {
    std::future::pending::<()>().await;
}

fn main() {
    let argument = std::env::args().nth(1);
    let runtime = || tokio::runtime::Runtime::new().expect("a runtime");
    match argument.as_deref() {
        Some("tokio") => runtime().block_on(async {
            write_audit_line().await.expect("it runs");
            println!("accepted {}", bgtask::stats().accepted);
        }),
        Some("cut off") => runtime().block_on(async { drop(never_ends()) }),
        Some("required") => {
            bgtask::require_manager();
            runtime().block_on(async { drop(write_audit_line()) });
        }
        _ => drop(write_audit_line()),
    }
}
