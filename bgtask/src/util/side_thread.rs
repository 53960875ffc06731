//! Threads for work that may get stuck: user hooks, metrics recorders, subscribers.
//! Owns the threads and how long a shutdown waits for them; must never know what the work is.

use crate::util::panic::catch_and_ignore;
use std::sync::mpsc::{self, SendError};
use std::thread;
use std::time::{Duration, Instant};

/// Runs `work` on a new thread.
///
/// # Errors
/// Returns `work` if no thread can be spawned.
pub(crate) fn run_aside<F: FnOnce() + Send + 'static>(work: F) -> Result<(), F> {
    // The thread receives the work once it runs: a thread that cannot be spawned would take the work with it.
    let (send, receive) = mpsc::sync_channel::<F>(1);
    let spawned = thread::Builder::new()
        .name("bgtask-notice".to_owned())
        .spawn(move || {
            if let Ok(work) = receive.recv() {
                work();
            }
        });
    match spawned {
        Ok(_) => send.send(work).map_err(|SendError(work)| work),
        Err(_) => Err(work),
    }
}

/// Runs pieces of work one after the other, each on its own thread, and waits for each: at most one second for all of them
/// together, and [`MOMENT`] for each one after that.
pub(crate) struct SideThread {
    /// How long it still waits.
    budget: Duration,
    /// Work for which no thread could be spawned.
    postponed: Vec<Box<dyn FnOnce() + Send>>,
}

/// How long work is waited for once the budget is used up: the next piece need not be the one that was stuck.
const MOMENT: Duration = Duration::from_millis(50);

impl SideThread {
    pub(crate) fn new() -> Self {
        Self {
            budget: Duration::from_secs(1),
            postponed: Vec::new(),
        }
    }

    /// Runs `work` on a thread and waits for it as long as the budget allows. If no thread can be spawned, postpones it.
    pub(crate) fn run(&mut self, work: impl FnOnce() + Send + 'static) {
        let (done, is_done) = mpsc::channel();
        let aside = run_aside(move || {
            work();
            // Nobody may wait any more.
            let _ = done.send(());
        });
        match aside {
            Ok(()) => {
                let begin = Instant::now();
                // A panic drops the sender, which ends the wait too.
                let _ = is_done.recv_timeout(self.budget.max(MOMENT));
                self.budget = self.budget.saturating_sub(begin.elapsed());
            }
            Err(work) => self.postponed.push(Box::new(work)),
        }
    }

    /// Runs the postponed work on this thread, however long it takes. Call it when no thread waits for it.
    pub(crate) fn catch_up(self) {
        self.postponed.into_iter().for_each(catch_and_ignore);
    }
}

/// Runs one piece of work on its own thread and waits at most a second for it; without a thread, runs it here.
pub(crate) fn run_within_a_second(work: impl FnOnce() + Send + 'static) {
    let mut side_thread = SideThread::new();
    side_thread.run(work);
    side_thread.catch_up();
}
