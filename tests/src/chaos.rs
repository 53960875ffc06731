//! One round of chaos: what its seed has the process do, and what it is sent.
//! Owns the plan, which the test and the process both make from the seed; knows nothing of how either goes about it.

use fastrand::Rng;
use std::time::Duration;

/// The grace period until the program sets one of its own: the attribute's, written the same in `bin/chaos`.
pub const GRACE_AT_START: Duration = Duration::from_millis(300);

/// What one process does, and what is sent to it when. The same for the same seed; the timing is the operating system's.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it was made from.
    pub seed: u64,
    /// A runtime of one thread, or one of two workers.
    pub is_current_thread: bool,
    /// `main` takes a token; if not, it is dropped as soon as a shutdown is asked for.
    pub takes_token: bool,
    /// Set by `main` first of all.
    pub grace: Duration,
    /// Some of the work does not end by itself: the grace period is short then, or a second signal comes.
    pub is_stubborn: bool,
    /// An async task blocks its worker beyond the grace period.
    pub never_yields: bool,
    /// There is a `tracing` subscriber from the start on. If not, there is one when the report comes.
    pub listens: bool,
    /// Who asks for the shutdown.
    pub asks: Asks,
    /// How `main` ends once it is to.
    pub main_end: MainEnd,
    /// In order.
    pub signals: Vec<Signalled>,
    /// How many calls each of those who call makes; all that has none within itself.
    pub calls: u32,
}

/// Who asks for the shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
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
    /// What the process ends with for it.
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
    /// The line of the process's stdout that it follows upon; at once if there is none.
    pub after: Option<&'static str>,
    /// How long after that.
    pub delay: Duration,
    /// `TERM` or `INT`.
    pub name: &'static str,
}

impl Signalled {
    /// What a process that leaves because of it ends with.
    pub fn code(&self) -> i32 {
        if self.name == "INT" { 130 } else { 143 }
    }
}

impl Plan {
    /// The plan of one seed.
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rng = &mut rng;
        let asks = match rng.u8(0..10) {
            0..2 => Asks::Nobody,
            2..7 => Asks::Signal,
            7 => Asks::Task,
            8 => Asks::Thread,
            _ => Asks::Essential,
        };
        let takes_token = rng.u8(0..4) > 0;
        let main_end = match rng.u8(0..10) {
            0..6 => MainEnd::Ok,
            6..8 => MainEnd::Err,
            8 => MainEnd::Panic,
            _ if takes_token && asks != Asks::Nobody => MainEnd::Never,
            _ => MainEnd::Ok,
        };
        let mut is_stubborn = rng.u8(0..3) == 0;
        let mut signals = Vec::new();
        let mut signal = |rng: &mut Rng, after: Option<_>, longest_ms: u64| {
            // A shell has what it starts in the background ignore SIGINT, until somebody watches for it.
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
        // A second signal comes while something is left that would not end without it.
        let mut has_to_leave = false;
        if asks == Asks::Signal {
            match rng.u8(0..8) {
                // While it starts.
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
            // The first one while it drains already.
            signal(rng, Some("draining"), 10);
        }
        let never_yields = is_stubborn && !has_to_leave && rng.u8(0..5) == 0;
        // Where `main` does not end, the drain begins at the deadline only.
        let main_end = match main_end {
            MainEnd::Never if has_to_leave => MainEnd::Ok,
            main_end => main_end,
        };
        let grace = match (has_to_leave, is_stubborn || main_end == MainEnd::Never) {
            (true, _) => Duration::from_secs(600),
            (_, true) => Duration::from_millis(rng.u64(100..400)),
            // Longer than any machine takes: then all of it ends in time.
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
            asks,
            main_end,
            signals,
            calls: rng.u32(2..25),
        }
    }

    /// A second signal comes while something is left that would not end without it.
    pub fn has_to_leave(&self) -> bool {
        self.grace > Duration::from_secs(100)
    }
}
