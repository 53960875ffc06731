//! Shows: a `Manager` without `#[bgtask::main]`, for programs that build their own runtime; a hook; the shutdown report as data.
//!
//!     cargo run -p example-basics --bin manager_by_hand
//!
//! You see the shutdown wait for two exports, and abort a third one after a second. The report names it, and the exit code is 1.
//! Such a program handles signals itself; this one handles none.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use bgtask::{Manager, background};
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime;

#[background]
async fn export(table: &'static str, takes: Duration) {
    tokio::time::sleep(takes).await;
    println!("exported {table}");
}

fn main() -> anyhow::Result<ExitCode> {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("exports")
        .enable_all()
        .build()?;
    let manager = Manager::builder()
        .grace(Duration::from_secs(1))
        .on_finish(|task| {
            println!(
                "  {} {}: {} after {:.1?}",
                task.name, task.id, task.outcome, task.age
            )
        })
        .install_on(runtime.handle())?;

    // This thread belongs to no runtime. Calls on it use the manager if there is only one in the process.
    export("customers", Duration::from_millis(200));
    export("orders", Duration::from_millis(400));
    export("everything since 1987", Duration::from_secs(3600));

    let report = runtime.block_on(manager.shutdown("the export window closes"));
    println!("{report}");
    for straggler in &report.stragglers {
        println!(
            "not exported: {}, called at {}",
            straggler.name, straggler.called_at
        );
    }
    Ok(if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
