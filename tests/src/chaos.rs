//! One round of chaos: the work of the process, and the signals that it receives. Owns the plan, which the test and the process
//! both derive from the seed; knows nothing of either.

use fastrand::Rng;
use std::time::Duration;

/// The grace period until the program sets its own: that of the attribute in `bin/chaos`.
pub const GRACE_AT_START: Duration = Duration::from_millis(300);

/// The work of one process, and the signals that it receives. A seed determines it; the operating system determines the timing.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// A runtime of one thread, or one of two workers.
    pub is_current_thread: bool,
    /// `main` takes a token. Without one, a shutdown request drops it.
    pub takes_token: bool,
    /// The grace period, which `main` sets first.
    pub grace: Duration,
    /// Some of the work does not end by itself: the grace period is short then, or a second signal comes.
    pub is_stubborn: bool,
    /// An async task blocks its worker beyond the grace period.
    pub never_yields: bool,
    /// A `tracing` subscriber is installed at the start. Otherwise it is installed before the report.
    pub listens: bool,
    /// The origin of the shutdown request.
    pub requester: Requester,
    /// How `main` ends.
    pub main_end: MainEnd,
    /// The signals in order.
    pub signals: Vec<Signalled>,
    /// The number of calls of each caller, without those that the calls make themselves.
    pub calls: u32,
}

/// The origin of the shutdown request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    /// Nobody: `main` ends by itself.
    Nobody,
    /// A signal.
    Signal,
    /// A task.
    Task,
    /// A plain thread.
    Thread,
    /// An essential task, by ending.
    Essential,
}

/// How `main` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MainEnd {
    /// With `Ok`.
    Ok,
    /// With an `Err`.
    Err,
    /// With a panic.
    Panic,
    /// Not before the deadline.
    Never,
}

impl MainEnd {
    /// Returns the exit code.
    pub fn code(self) -> i32 {
        match self {
            MainEnd::Ok => 0,
            MainEnd::Err | MainEnd::Never => 1,
            MainEnd::Panic => 101,
        }
    }
}

/// One signal.
#[derive(Clone, Copy, Debug)]
pub struct Signalled {
    /// The line of stdout that it follows. Default: at once.
    pub after: Option<&'static str>,
    /// How long after that.
    pub delay: Duration,
    /// `TERM` or `INT`.
    pub name: &'static str,
}

impl Signalled {
    /// Returns the exit code of a process that exits because of it.
    pub fn code(&self) -> i32 {
        if self.name == "INT" { 130 } else { 143 }
    }
}

impl Plan {
    /// Returns the plan of a seed.
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rng = &mut rng;
        let requester = match rng.u8(0..10) {
            0..2 => Requester::Nobody,
            2..7 => Requester::Signal,
            7 => Requester::Task,
            8 => Requester::Thread,
            _ => Requester::Essential,
        };
        let takes_token = rng.u8(0..4) > 0;
        let main_end = match rng.u8(0..10) {
            0..6 => MainEnd::Ok,
            6..8 => MainEnd::Err,
            8 => MainEnd::Panic,
            _ if takes_token && requester != Requester::Nobody => MainEnd::Never,
            _ => MainEnd::Ok,
        };
        let mut is_stubborn = rng.u8(0..3) == 0;
        let mut signals = Vec::new();
        let mut signal = |rng: &mut Rng, after: Option<_>, longest_ms: u64| {
            // A shell starts a background process with SIGINT ignored, until a handler is installed.
            let may_be_ignored = signals.is_empty() && after.is_none();
            signals.push(Signalled {
                after,
                delay: Duration::from_micros(rng.u64(0..=longest_ms * 1000)),
                name: if rng.bool() && !may_be_ignored {
                    "INT"
                } else {
                    "TERM"
                },
            });
        };
        // A second signal comes while work remains that would not end without it.
        let mut has_to_leave = false;
        if requester == Requester::Signal {
            match rng.u8(0..8) {
                // During the start.
                0 => signal(rng, None, 15),
                1 => {
                    signal(rng, None, 15);
                    signal(rng, None, 3);
                }
                2..5 => signal(rng, Some("ready"), 40),
                5 => {
                    signal(rng, Some("ready"), 40);
                    signal(rng, None, 0);
                }
                _ => {
                    has_to_leave = true;
                    is_stubborn = true;
                    signal(rng, Some("ready"), 40);
                    let during = if rng.bool() { "stopping" } else { "draining" };
                    signal(rng, Some(during), 20);
                }
            }
        } else if rng.u8(0..4) == 0 {
            // The first signal comes during the drain.
            signal(rng, Some("draining"), 10);
        }
        let never_yields = is_stubborn && !has_to_leave && rng.u8(0..5) == 0;
        // If `main` does not end, the drain starts only at the deadline.
        let main_end = match main_end {
            MainEnd::Never if has_to_leave => MainEnd::Ok,
            main_end => main_end,
        };
        let grace = match (has_to_leave, is_stubborn || main_end == MainEnd::Never) {
            (true, _) => Duration::from_secs(600),
            (_, true) => Duration::from_millis(rng.u64(100..400)),
            // Longer than any machine takes, so all work ends in time.
            (_, false) => Duration::from_secs(50),
        };
        Self {
            seed,
            is_current_thread: rng.bool(),
            takes_token,
            grace,
            is_stubborn,
            never_yields,
            listens: rng.bool(),
            requester,
            main_end,
            signals,
            calls: rng.u32(2..25),
        }
    }

    /// A second signal comes while work remains that would not end without it.
    pub fn has_to_leave(&self) -> bool {
        self.grace > Duration::from_secs(100)
    }
}
