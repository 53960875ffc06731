//! One round of chaos: the jobs that its processes store, and what happens to the processes and the database. A seed determines it;
//! the operating system determines the timing. Knows nothing of how any of it is done.

use fastrand::Rng;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The first number of the jobs that other jobs store: that of the job, and this.
pub(crate) const CHILD: u32 = 10_000;

/// The queues of the jobs, and how many of each run at once in a process.
pub(crate) const QUEUES: [(&str, usize); 3] = [("default", 8), ("mail", 4), ("narrow", 2)];

/// The crashes at which a job is dead.
pub(crate) const CRASH_LIMIT: u32 = 5;

/// All that the seed determines.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) time_to_live: Duration,
    /// The grace period of a shutdown.
    pub(crate) grace: Duration,
    /// For each process, what it does.
    pub(crate) acts: Vec<Vec<Act>>,
    /// The disturbances of the processes, each with its time.
    pub(crate) events: Vec<(Duration, Event)>,
}

/// One step of a process.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Store(Planned),
    /// All or none.
    StoreAll(Vec<Planned>),
    Cancel(u32),
    RetryNow(u32),
    Delete(u32),
    Await(u32),
    Pause(&'static str),
    Resume(&'static str),
    Sleep(Duration),
}

/// One job.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) number: u32,
    pub(crate) kind: Kind,
    pub(crate) after: Option<Duration>,
    pub(crate) priority: u8,
    /// Another queue than its function's.
    pub(crate) queue: Option<&'static str>,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As often as `retry` allows.
    Plain(Plain),
    /// The same, and may be attempted once only.
    Once(u32),
    /// Its first attempts time out.
    TimesOut(u32),
    /// Its future is dropped when the drain begins.
    Leaves(u32),
    /// Blocks a thread.
    Blocks(u32),
    /// No second one with its key is stored before it has ended.
    Keyed(u8),
    /// One at once in a process.
    Scarce(u32),
    /// Completes itself in a transaction, after so many that it rolls back.
    Completes(u32),
    /// Stores another job in a transaction, after so many that it rolls back.
    Parent(u32),
    /// Kills its process, once.
    Aborts,
}

/// What a plain job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Plain {
    Ends,
    /// Its first attempts fail.
    FailsUntil(u32),
    Fails,
    PanicsUntil(u32),
    Panics,
    /// Fails, with a NUL in the text.
    NulError,
    NulOutput,
    Big,
    TooLarge,
    /// Runs for as many milliseconds, or until its token fires because it is cancelled.
    Long(u32),
    /// Runs for as many milliseconds, whatever happens.
    Ignores(u32),
}

/// What happens to a process, or to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Kill(usize),
    Terminate(usize),
    Start(usize),
    Stop(usize),
    Continue(usize),
    /// Every connection to the database breaks.
    Disconnect,
    /// The server is started anew, after a checkpoint or as after a crash.
    Restart {
        is_crash: bool,
    },
}

impl Plan {
    pub(crate) fn from_seed(seed: u64, is_server: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rng = &mut rng;
        let processes = rng.usize(2..=4);
        let time_to_live = millis(rng, 400..900);
        let mut acts: Vec<_> = (0..processes).map(|_| Vec::new()).collect();
        let jobs = rng.u32(30..=80);
        let mut number = 0;
        while number < jobs {
            let process = rng.usize(0..processes);
            if rng.u8(0..12) == 0 {
                let batch = (0..rng.u32(2..6)).map(|more| Planned {
                    kind: Kind::Plain(plain(rng)),
                    ..planned(rng, number + more)
                });
                let batch: Vec<_> = batch.collect();
                number += u32::try_from(batch.len()).expect("a few");
                acts[process].push(Act::StoreAll(batch));
            } else {
                acts[process].push(Act::Store(planned(rng, number)));
                number += 1;
            }
            let any = rng.u32(0..number);
            match rng.u8(0..20) {
                0 | 1 => acts[process].push(Act::Cancel(any)),
                2..5 => acts[process].push(Act::RetryNow(any)),
                5 => acts[process].push(Act::Delete(any)),
                6 => acts[process].push(Act::Await(any)),
                7..12 => acts[process].push(Act::Sleep(millis(rng, 5..150))),
                _ => {}
            }
        }
        for acts in &mut acts {
            // By then many have ended.
            acts.push(Act::Sleep(millis(rng, 200..1000)));
            for _ in 0..rng.u8(0..5) {
                let any = rng.u32(0..number);
                acts.push(if rng.u8(0..4) == 0 {
                    Act::Cancel(any)
                } else {
                    Act::RetryNow(any)
                });
            }
            if rng.u8(0..3) == 0 {
                let (queue, _) = QUEUES[rng.usize(0..QUEUES.len())];
                let at = rng.usize(0..=acts.len());
                acts.insert(at, Act::Pause(queue));
                let end = rng.usize(at + 1..=acts.len());
                acts.insert(end, Act::Resume(queue));
            }
        }
        Self {
            seed,
            time_to_live,
            grace: millis(rng, 50..400),
            acts,
            events: events(rng, processes, time_to_live, is_server),
        }
    }

    /// Returns all jobs that its processes store themselves.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = &Planned> {
        self.acts.iter().flatten().flat_map(|act| match act {
            Act::Store(job) => std::slice::from_ref(job),
            Act::StoreAll(jobs) => jobs,
            _ => &[],
        })
    }

    /// Returns the numbers that are stored together.
    pub(crate) fn batches(&self) -> impl Iterator<Item = Vec<u32>> {
        self.acts.iter().flatten().filter_map(|act| match act {
            Act::StoreAll(jobs) => Some(jobs.iter().map(|job| job.number).collect()),
            _ => None,
        })
    }
}

fn millis(rng: &mut Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}

fn plain(rng: &mut Rng) -> Plain {
    match rng.u8(0..22) {
        0..6 => Plain::Ends,
        6..8 => Plain::FailsUntil(rng.u32(1..3)),
        8 => Plain::Fails,
        9 => Plain::PanicsUntil(rng.u32(1..3)),
        10 => Plain::Panics,
        11 => Plain::NulError,
        12 => Plain::NulOutput,
        13 | 14 => Plain::Big,
        15 => Plain::TooLarge,
        16..20 => Plain::Long(rng.u32(100..1500)),
        _ => Plain::Ignores(rng.u32(100..1500)),
    }
}

fn planned(rng: &mut Rng, number: u32) -> Planned {
    let kind = match rng.u8(0..30) {
        0..10 => Kind::Plain(plain(rng)),
        10..13 => Kind::Once(rng.u32(0..500)),
        13 => Kind::TimesOut(rng.u32(1..3)),
        14 | 15 => Kind::Leaves(rng.u32(50..1200)),
        16 | 17 => Kind::Blocks(rng.u32(10..1000)),
        18..21 => Kind::Keyed(rng.u8(0..3)),
        21..24 => Kind::Scarce(rng.u32(50..300)),
        24..27 => Kind::Completes(rng.u32(0..3)),
        27..29 => Kind::Parent(rng.u32(0..2)),
        _ => Kind::Aborts,
    };
    Planned {
        number,
        kind,
        after: (rng.u8(0..5) == 0).then(|| millis(rng, 1..1500)),
        priority: rng.u8(1..=4),
        queue: (rng.u8(0..4) == 0).then(|| QUEUES[rng.usize(0..QUEUES.len())].0),
    }
}

/// Disturbs each process a few times, one after another, and each beside the others.
fn events(
    rng: &mut Rng,
    processes: usize,
    time_to_live: Duration,
    is_server: bool,
) -> Vec<(Duration, Event)> {
    let mut events = Vec::new();
    for process in 0..processes {
        let mut at = millis(rng, 0..600);
        for _ in 0..rng.u8(0..4) {
            // Shorter than the time to live, or longer.
            let stopped = time_to_live.mul_f64(if rng.bool() {
                0.2 + rng.f64() * 0.6
            } else {
                1.3 + rng.f64() * 0.5
            });
            match rng.u8(0..8) {
                0..3 => {
                    events.push((at, Event::Kill(process)));
                    at += millis(rng, 0..500);
                    events.push((at, Event::Start(process)));
                }
                3 => {
                    events.push((at, Event::Stop(process)));
                    at += stopped;
                    events.push((at, Event::Kill(process)));
                    at += millis(rng, 0..200);
                    events.push((at, Event::Start(process)));
                }
                4 | 5 => {
                    events.push((at, Event::Stop(process)));
                    at += stopped;
                    events.push((at, Event::Continue(process)));
                }
                _ => {
                    events.push((at, Event::Terminate(process)));
                    at += millis(rng, 100..500);
                    events.push((at, Event::Start(process)));
                }
            }
            at += millis(rng, 50..600);
        }
    }
    if is_server {
        for _ in 0..rng.u8(0..3) {
            events.push((millis(rng, 100..2000), Event::Disconnect));
        }
        if rng.u8(0..3) == 0 {
            let is_crash = rng.bool();
            events.push((millis(rng, 200..1800), Event::Restart { is_crash }));
        }
    }
    events.sort_by_key(|(at, _)| *at);
    events
}
