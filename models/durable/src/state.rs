//! The state of the model: the rows, the processes, the requests under way, and what the invariants need to know of the past.
//! Must never know which steps lead from one state to another.

/// In ticks: the time to live of a beat. A process beats once per tick.
pub(crate) const TIME_TO_LIVE: u8 = 2;
/// The number of crashes at which a job is dead.
pub(crate) const CRASH_LIMIT: u8 = 2;
/// The number of attempts of a job.
pub(crate) const MAX_ATTEMPTS: u8 = 2;
/// Room for the processes, jobs, attempts and requests of all models.
pub(crate) const PROCESSES: usize = 2;
pub(crate) const JOBS: usize = 2;
pub(crate) const ATTEMPTS: usize = 2;
pub(crate) const LATE: usize = 2;
pub(crate) const LIVES: usize = 6;

/// One registration of a process.
pub(crate) type Life = u8;

/// The right of one attempt: `worker` and `attempted_at` of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Claim {
    pub(crate) job: u8,
    pub(crate) life: Life,
    /// The time of the claim, as a number that no other claim of the job has.
    pub(crate) number: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum JobState {
    /// The model has fewer jobs than there is room for.
    #[default]
    Absent,
    Waiting,
    Running,
    Done,
    Dead,
}

/// The end of an attempt, as it is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum End {
    Done,
    Retry,
    Dead,
    Returned,
}

/// The row of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) state: JobState,
    /// The last claim.
    pub(crate) claim: Option<Claim>,
    /// The claim that the last record has left in the row.
    pub(crate) recorded: Option<Claim>,
    /// A transaction of a program's has completed the job, and has not committed yet.
    pub(crate) is_locked: bool,
    pub(crate) attempt: u8,
    pub(crate) crashes: u8,
    /// The last claim came when its process had given it up.
    pub(crate) is_unawaited: bool,
    /// The number of the next claim.
    pub(crate) claims: u8,
    /// In ticks, up to the time to live: the age of the last claim.
    pub(crate) age: u8,
    /// How often an attempt has recorded that it failed.
    pub(crate) failures: u8,
    /// How often an end was recorded.
    pub(crate) ends: u8,
    /// The rows that transactions with `complete_in` have committed.
    pub(crate) written: u8,
}

/// The body of an attempt, and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Stage {
    Runs,
    /// Runs, and never ends.
    Hangs,
    /// Its lease is lost. The body runs on, and its end is not recorded.
    Void,
    VoidAndHangs,
    /// The body has ended after `complete_in`: whether that has committed is to be read.
    Unsure,
    /// The end is on its way to the database.
    Ended(End),
}

/// The transaction in which a body completes its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Transaction {
    None,
    Open,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Attempt {
    pub(crate) claim: Claim,
    pub(crate) stage: Stage,
    pub(crate) transaction: Transaction,
    /// It is the last that the job has.
    pub(crate) is_last: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) is_up: bool,
    /// By a signal: it takes no step until it is continued.
    pub(crate) is_stopped: bool,
    /// Its shutdown is requested.
    pub(crate) is_stopping: bool,
    pub(crate) life: Option<Life>,
    /// The life of a registration that has not been answered.
    pub(crate) registering: Option<Life>,
    pub(crate) has_beaten: bool,
    /// In ticks, capped: the time since it last observed the other workers.
    pub(crate) looked: Option<u8>,
    /// In ticks, up to the time to live: for how long it has observed each worker with the same beat.
    pub(crate) seen: [Option<u8>; LIVES],
    /// Whether the beat of each worker has changed since it last observed it.
    pub(crate) is_changed: [bool; LIVES],
    /// The workers that it has found dead, and has not rescued: whether they had a row.
    pub(crate) dead: [Option<bool>; LIVES],
    /// The late reply to a claim: the job and the life.
    pub(crate) reply: Option<(u8, Life)>,
    pub(crate) attempts: [Option<Attempt>; ATTEMPTS],
    /// In ticks, up to the time to live: the time since it last looked for claims that it does not hold.
    pub(crate) reconciled: Option<u8>,
    /// The claims that it did not hold then.
    pub(crate) not_held: [Option<Claim>; JOBS],
    /// The claims that it did not hold at two looks.
    pub(crate) to_put_back: [Option<Claim>; JOBS],
}

/// A request that reaches the database although its process has given it up or repeated it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Request {
    Claim {
        job: u8,
        life: Life,
        /// Its process waits for the reply.
        is_awaited: bool,
    },
    Record {
        claim: Claim,
        end: End,
    },
    /// The engine completes a job when its attempt is over. It names no claim.
    Engine {
        job: u8,
    },
}

/// The number of faults of each kind that a model may still inject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// Replies that are lost or late, requests that are late or repeated.
    pub(crate) faults: u8,
    pub(crate) crashes: u8,
    /// A process is stopped and continued.
    pub(crate) stops: u8,
    /// The database serves nobody for a while.
    pub(crate) stalls: u8,
    pub(crate) shutdowns: u8,
    /// A body never ends.
    pub(crate) hangs: u8,
    /// A process that is down starts.
    pub(crate) starts: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) rows: [Row; JOBS],
    pub(crate) processes: [Process; PROCESSES],
    /// The rows of the workers.
    pub(crate) workers: [bool; LIVES],
    /// How many lives there have been.
    pub(crate) lives: u8,
    pub(crate) is_stalled: bool,
    /// In the order of their values, so that equal states are equal.
    pub(crate) late: [Option<Request>; LATE],
    pub(crate) left: Budget,
    /// Of each life: the whole ticks, up to the time to live, in which beats of others reached the database and its own did not.
    pub(crate) missed: [u8; LIVES],
    /// Whether the beat of each life has reached the database in this tick.
    pub(crate) is_beaten: [bool; LIVES],
    /// The lives that ended with their process at the end of a shutdown.
    pub(crate) has_left: [bool; LIVES],
}

impl State {
    /// Whether a step can still change a job: one has not ended, or something is on its way to the rows.
    pub(crate) fn is_live(&self) -> bool {
        let is_open = |row: &Row| matches!(row.state, JobState::Waiting | JobState::Running);
        let works = |process: &Process| {
            process.reply.is_some() || process.attempts.iter().any(Option::is_some)
        };
        self.rows.iter().any(is_open)
            || self.late.iter().any(Option::is_some)
            || self.processes.iter().any(works)
    }

    /// Makes states equal that differ in their past alone: claims are numbered anew, and what nobody asks for is forgotten.
    pub(crate) fn normalize(&mut self, keeps_claims: bool) {
        for process in &mut self.processes {
            process.attempts.sort_unstable();
        }
        for job in 0..JOBS {
            let mut claims: Vec<Claim> = self.claims_elsewhere(job).collect();
            let row = &mut self.rows[job];
            row.recorded = row.recorded.filter(|claim| claims.contains(claim));
            if row.state != JobState::Running {
                row.claim = row.claim.filter(|_| keeps_claims);
                row.is_unawaited = false;
                row.age = 0;
            }
            claims.extend(row.claim);
            let mut numbers: Vec<u8> = claims.iter().map(|claim| claim.number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            row.claims = numbers.len() as u8;
            let renumber = |claim: &mut Claim| {
                let position = numbers.iter().position(|number| *number == claim.number);
                claim.number = position.map_or(claim.number, |position| position as u8);
            };
            row.claim.iter_mut().for_each(renumber);
            row.recorded.iter_mut().for_each(renumber);
            self.claims_elsewhere_mut(job).for_each(renumber);
        }
        self.late.sort_unstable();
    }

    fn claims_elsewhere(&self, job: usize) -> impl Iterator<Item = Claim> {
        let late = self.late.iter().flatten().filter_map(|late| match late {
            Request::Record { claim, .. } => Some(*claim),
            _ => None,
        });
        let held = self.processes.iter().flat_map(move |process| {
            let attempts = process.attempts.iter().flatten();
            attempts
                .map(|attempt| attempt.claim)
                .chain(process.not_held[job])
                .chain(process.to_put_back[job])
        });
        late.chain(held)
            .filter(move |claim| usize::from(claim.job) == job)
    }

    fn claims_elsewhere_mut(&mut self, job: usize) -> impl Iterator<Item = &mut Claim> {
        let late = self
            .late
            .iter_mut()
            .flatten()
            .filter_map(|late| match late {
                Request::Record { claim, .. } => Some(claim),
                _ => None,
            });
        let held = self.processes.iter_mut().flat_map(move |process| {
            let attempts = process.attempts.iter_mut().flatten();
            attempts
                .map(|attempt| &mut attempt.claim)
                .chain(&mut process.not_held[job])
                .chain(&mut process.to_put_back[job])
        });
        late.chain(held)
            .filter(move |claim| usize::from(claim.job) == job)
    }

    /// Returns the process whose life this is, if it is up.
    pub(crate) fn process_of(&self, life: Life) -> Option<&Process> {
        self.processes
            .iter()
            .find(|process| process.is_up && process.life == Some(life))
    }

    /// Puts a request under way. `false` if there is no room.
    pub(crate) fn delay(&mut self, request: Request) -> bool {
        let Some(free) = self.late.iter_mut().find(|late| late.is_none()) else {
            return false;
        };
        *free = Some(request);
        self.late.sort_unstable();
        true
    }

    /// Whether the job is done, dead, or held by an attempt whose body never ends.
    pub(crate) fn is_over(&self, job: usize) -> bool {
        let row = &self.rows[job];
        let hangs =
            |attempt: &Attempt| attempt.stage == Stage::Hangs && Some(attempt.claim) == row.claim;
        match row.state {
            JobState::Absent | JobState::Done | JobState::Dead => true,
            JobState::Waiting => false,
            JobState::Running => self
                .processes
                .iter()
                .any(|process| process.is_up && process.attempts.iter().flatten().any(hangs)),
        }
    }
}
