//! The process in which a way is measured, on a runtime as its users configure it.
//! Owns the runtimes and the child processes; must never know what they measure.

use std::io::{BufRead, BufReader, Write};
use std::pin::Pin;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::{env, io};
use tokio::runtime::{Builder, Runtime};

/// The code that builds the runtime and provides the manager.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    /// A runtime without a manager.
    Plain,
    /// `#[bgtask::main]`.
    Main,
    /// A `Manager` installed by hand.
    Manager,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavor {
    CurrentThread,
    MultiThread,
}

impl Flavor {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Flavor::CurrentThread => "current-thread",
            Flavor::MultiThread => "multi-thread",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        if name == "multi-thread" {
            Flavor::MultiThread
        } else {
            Flavor::CurrentThread
        }
    }

    pub(crate) fn runtime(self) -> Runtime {
        match self {
            Flavor::CurrentThread => Builder::new_current_thread(),
            Flavor::MultiThread => Builder::new_multi_thread(),
        }
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
    }
}

type Work = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// The body of [`current_thread::main`] and [`multi_thread::main`], because `main` takes no arguments.
static WORK: Mutex<Option<Work>> = Mutex::new(None);

async fn work() {
    let work = WORK.lock().expect("nothing panics").take();
    work.expect("set by `on`")().await;
}

mod current_thread {
    #[bgtask::main(flavor = "current_thread")]
    pub(super) async fn main() {
        super::work().await;
    }
}

mod multi_thread {
    #[bgtask::main(worker_threads = 2)]
    pub(super) async fn main() {
        super::work().await;
    }
}

/// Runs `work` on a host of that kind, in this process.
pub(crate) fn on<F: Future<Output = ()> + 'static>(
    host: Host,
    flavor: Flavor,
    work: impl FnOnce() -> F + Send + 'static,
) {
    if host == Host::Main {
        *WORK.lock().expect("nothing panics") = Some(Box::new(|| Box::pin(work())));
        let _code = match flavor {
            Flavor::CurrentThread => current_thread::main(),
            Flavor::MultiThread => multi_thread::main(),
        };
        return;
    }
    let runtime = flavor.runtime();
    let manager = (host == Host::Manager).then(|| {
        let installed = bgtask::Manager::builder().install_on(runtime.handle());
        installed.expect("the only manager")
    });
    runtime.block_on(work());
    if let Some(manager) = manager {
        runtime.block_on(manager.shutdown("measured"));
    }
}

/// A child process that executes commands, one per line.
pub(crate) struct Served {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Served {
    /// This program again, with `arguments`.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env::current_exe().expect("this program"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let orders = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Self {
            child,
            orders,
            answers,
        }
    }

    /// Sends a command and waits for the answer.
    pub(crate) fn ask(&mut self, order: u32) -> f64 {
        writeln!(self.orders, "{order}").expect("the child listens");
        self.answer()
    }

    /// Reads a line that the child prints without a command.
    pub(crate) fn answer(&mut self) -> f64 {
        let mut answer = String::new();
        self.answers
            .read_line(&mut answer)
            .expect("the child answers");
        answer.trim().parse().expect("a number")
    }

    pub(crate) fn end(mut self) {
        drop(self.orders);
        let status = self.child.wait().expect("the child ends");
        assert!(status.success(), "{status}");
    }
}

/// The child's side: answers each order until there are no more.
pub(crate) async fn serve(mut obey: impl AsyncFnMut(u32) -> f64) {
    for order in io::stdin().lock().lines() {
        let order = order.expect("a line").parse().expect("a number");
        let answer = obey(order).await;
        writeln!(io::stdout(), "{answer}").expect("the parent reads");
    }
}
