//! The process from its start to the end of its `main`: the callers, the shutdown request, the end of `main`. Knows nothing of
//! what the calls do.

use crate::log::{self, Listener, write};
use crate::work::{self, Kind};
use bgtask::ShutdownToken;
use bgtask_tests::chaos::{MainEnd, Plan, Requester};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

static PLAN: OnceLock<Plan> = OnceLock::new();

pub(crate) fn plan() -> &'static Plan {
    PLAN.get().expect("made first of all")
}

pub(crate) fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(seed), Some(path)) = (arguments.next(), arguments.next()) else {
        println!("arguments: the seed, and the file of the log");
        return ExitCode::FAILURE;
    };
    let seed = seed.to_str().and_then(|seed| seed.parse().ok());
    let plan = PLAN.get_or_init(|| Plan::from_seed(seed.expect("a number")));
    log::open(path.as_ref());
    match (plan.is_current_thread, plan.takes_token) {
        (false, false) => multi_thread::main(),
        (false, true) => multi_thread_with_token::main(),
        (true, false) => current_thread::main(),
        (true, true) => current_thread_with_token::main(),
    }
}

mod multi_thread {
    #[bgtask::main(worker_threads = 2, grace = "300ms")]
    pub(super) async fn main() -> Result<(), String> {
        super::live(None).await
    }
}

mod multi_thread_with_token {
    #[bgtask::main(worker_threads = 2, grace = "300ms")]
    pub(super) async fn main(shutdown: bgtask::ShutdownToken) -> Result<(), String> {
        super::live(Some(shutdown)).await
    }
}

mod current_thread {
    #[bgtask::main(flavor = "current_thread", grace = "300ms")]
    pub(super) async fn main() -> Result<(), String> {
        super::live(None).await
    }
}

mod current_thread_with_token {
    #[bgtask::main(flavor = "current_thread", grace = "300ms")]
    pub(super) async fn main(shutdown: bgtask::ShutdownToken) -> Result<(), String> {
        super::live(Some(shutdown)).await
    }
}

/// Installs the subscriber for the report, however `main` ends.
struct Listens;

impl Drop for Listens {
    fn drop(&mut self) {
        listen();
    }
}

fn listen() {
    let afterwards = || {
        for _ in 0..3 {
            work::call(Kind::Quick, &mut fastrand::Rng::with_seed(0), 0);
        }
    };
    // The second time there is a subscriber already.
    let _ = tracing::subscriber::set_global_default(Listener { afterwards });
}

async fn live(token: Option<ShutdownToken>) -> Result<(), String> {
    let _listens = Listens;
    let plan = plan();
    if plan.listens {
        listen();
    }
    write(format_args!("M"));
    bgtask::set_grace(plan.grace);
    work::set_runtime();
    let requested = bgtask::shutdown_token();
    thread::spawn(move || {
        requested.wait();
        write(format_args!("Q"));
        println!("stopping");
    });
    let mut rng = fastrand::Rng::with_seed(plan.seed);
    let rng = &mut rng;
    work::call(Kind::Watches, rng, 0);
    if plan.has_to_leave() {
        work::call(Kind::Hangs, rng, 0);
    }
    // Other callers. The plain threads continue after `main` has ended, up to their last call.
    let mut callers: Vec<_> = (0..4).map(|_| rng.fork()).collect();
    for mut rng in callers.drain(..2) {
        thread::spawn(move || {
            for _ in 0..plan.calls {
                work::call_any(&mut rng, 0);
                thread::sleep(Duration::from_micros(rng.u64(0..4000)));
            }
        });
    }
    if let Some(mut rng) = callers.pop() {
        tokio::spawn(async move {
            for _ in 0..plan.calls {
                work::call_any(&mut rng, 0);
                tokio::time::sleep(Duration::from_micros(rng.u64(0..4000))).await;
            }
        });
    }
    if let Some(mut rng) = callers.pop() {
        tokio::task::spawn_blocking(move || {
            for _ in 0..plan.calls {
                work::call_any(&mut rng, 0);
            }
        });
    }
    println!("ready");
    for _ in 0..plan.calls {
        work::call_any(rng, 0);
        if rng.bool() {
            tokio::time::sleep(Duration::from_micros(rng.u64(0..3000))).await;
        }
    }
    if plan.never_yields {
        work::call(Kind::NeverYields, rng, 0);
    }
    match plan.requester {
        Requester::Nobody => return end(plan.main_end),
        Requester::Signal => {}
        Requester::Task => work::call(Kind::Requests, rng, 0),
        Requester::Thread => drop(thread::spawn(|| {
            bgtask::request_shutdown("a thread requests it")
        })),
        Requester::Essential => work::call(Kind::Essential, rng, 0),
    }
    match token {
        Some(token) => token.cancelled().await,
        None => std::future::pending().await,
    }
    if plan.main_end == MainEnd::Never {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(Duration::from_micros(rng.u64(0..5000))).await;
    end(plan.main_end)
}

fn end(end: MainEnd) -> Result<(), String> {
    match end {
        MainEnd::Ok | MainEnd::Never => Ok(()),
        MainEnd::Err => Err("main's own error".to_owned()),
        MainEnd::Panic => panic!("main's own panic"),
    }
}
