//! The protocol: which steps can follow a state, and what must hold in each.
//! Must never know which models there are.

use crate::state::{
    Attempt, Budget, JOBS, JobState, LATE, LIVES, Life, Process, Request, Row, Stage, State,
    TIME_TO_LIVE, Transaction,
};

/// What must hold, whatever happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invariant {
    /// The fence.
    EndedOnce,
    /// The answer to a record.
    Answered,
    /// The lease.
    LiveKeeps,
    /// The reconciliation.
    PutBackLate,
    /// From each state.
    CanEnd,
    /// The attempts of a row.
    NotCounted,
    /// The crashes of a row.
    CountedOnce,
    /// `complete_in`.
    WrittenWithEnd,
}

/// How the network delivers a request and its reply. A lost request has no variant: it changes nothing, and the process tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Answered,
    /// It is executed, and the process gets an error.
    ReplyLost,
    /// It is executed, and the process gets the reply later.
    ReplyLate,
    /// The process gets an error, and the request is executed later.
    Late,
    /// The request is executed later, and the process waits for the reply.
    Slow,
}

/// The first number is that of the process, a second one that of the job, or of the attempt among those of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Tick,
    Stall,
    Unstall,
    Crash(usize),
    Start(usize),
    Stop(usize),
    Continue(usize),
    ShutDown(usize),
    Close(usize),
    Leave(usize),
    Register(usize, Delivery),
    Beat(usize, Delivery),
    /// Without time: a process declares another life dead, and rescues its jobs. Whether that process is up.
    Declare(usize, Life, bool),
    Rescue(usize, Life),
    RescueOld(usize),
    Claim(usize, usize, Delivery),
    HandOver(usize),
    BodyOk(usize, usize),
    BodyErr(usize, usize),
    Hang(usize, usize),
    VoidEnds(usize, usize),
    Complete(usize, usize),
    Commit(usize, usize),
    RollBack(usize, usize),
    Check(usize, usize),
    Record(usize, usize, Delivery),
    Look(usize),
    PutBack(usize, Delivery),
    LateRequest(usize),
}

impl Step {
    /// Whether something goes wrong, or is asked for from outside: no job may need it to come to its end.
    pub(crate) fn is_fault(self) -> bool {
        match self {
            Self::Stall
            | Self::Crash(_)
            | Self::Stop(_)
            | Self::ShutDown(_)
            | Self::Hang(..)
            | Self::RescueOld(_)
            | Self::Declare(.., true) => true,
            Self::Register(_, delivery)
            | Self::Beat(_, delivery)
            | Self::Claim(.., delivery)
            | Self::Record(.., delivery)
            | Self::PutBack(_, delivery) => delivery != Delivery::Answered,
            _ => false,
        }
    }
}

/// The rules of a model, and the mistake that the protocol makes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) processes: usize,
    pub(crate) jobs: usize,
    pub(crate) budget: Budget,
    pub(crate) deliveries: &'static [Delivery],
    /// The bodies end their jobs with `complete_in` alone.
    pub(crate) in_transaction: bool,
    /// The bodies end. Otherwise they run for as long as the model does.
    pub(crate) bodies_end: bool,
    /// The processes have to register first.
    pub(crate) registers: bool,
    /// Time passes in ticks, and processes judge others by their beats. Otherwise time is left out, so that anything may take as long
    /// as it likes: a process that is down may be declared dead at any moment, and one that lives as often as `Budget::stops` says.
    pub(crate) is_timed: bool,
    pub(crate) mistake: Option<&'static str>,
}

impl Rules {
    pub(crate) fn is_broken(&self, mistake: &str) -> bool {
        self.mistake == Some(mistake)
    }

    /// Returns the state in which the model begins.
    pub(crate) fn initial(&self) -> State {
        let mut state = State {
            left: self.budget,
            ..State::default()
        };
        for row in &mut state.rows[..self.jobs] {
            row.state = JobState::Waiting;
        }
        for process in &mut state.processes[..self.processes] {
            process.is_up = true;
            if !self.registers {
                process.life = Some(state.lives);
                state.workers[usize::from(state.lives)] = true;
                state.lives += 1;
            }
        }
        state
    }

    /// Returns the steps that can follow a state.
    pub(crate) fn steps(&self, state: &State) -> Vec<Step> {
        let mut steps = Vec::new();
        if !state.is_live() {
            return steps;
        }
        let left = state.left;
        let is_due = |process: &Process| {
            process.is_up && !process.is_stopped && process.life.is_some() && !process.has_beaten
        };
        // A process that can beat does, in each tick.
        if self.is_timed && (state.is_stalled || !state.processes.iter().any(is_due)) {
            steps.push(Step::Tick);
        }
        if state.is_stalled {
            steps.push(Step::Unstall);
        } else {
            if left.stalls > 0 {
                steps.push(Step::Stall);
            }
            let late = (0..LATE).filter(|late| state.late[*late].is_some());
            steps.extend(late.map(Step::LateRequest));
            if self.is_broken("rescued_by_age") {
                let old = |job: &usize| {
                    let row = &state.rows[*job];
                    row.state == JobState::Running && row.age >= TIME_TO_LIVE
                };
                steps.extend((0..JOBS).filter(old).map(Step::RescueOld));
            }
        }
        for (number, process) in state.processes.iter().enumerate().take(self.processes) {
            if !process.is_up {
                if left.starts > 0 {
                    steps.push(Step::Start(number));
                }
                continue;
            }
            if left.crashes > 0 {
                steps.push(Step::Crash(number));
            }
            if process.is_stopped {
                steps.push(Step::Continue(number));
                continue;
            }
            if self.is_timed && left.stops > 0 {
                steps.push(Step::Stop(number));
            }
            self.steps_without_database(state, number, &mut steps);
            if !state.is_stalled {
                self.steps_with_database(state, number, &mut steps);
            }
        }
        steps
    }

    fn steps_without_database(&self, state: &State, number: usize, steps: &mut Vec<Step>) {
        let process = &state.processes[number];
        if process.is_stopping {
            steps.push(Step::Close(number));
        } else if state.left.shutdowns > 0 {
            steps.push(Step::ShutDown(number));
        }
        for (index, attempt) in attempts(process) {
            match attempt.stage {
                Stage::Runs if self.bodies_end => {
                    steps.push(Step::BodyErr(number, index));
                    if !self.in_transaction || attempt.transaction != Transaction::None {
                        steps.push(Step::BodyOk(number, index));
                    }
                    if state.left.hangs > 0 && attempt.transaction == Transaction::None {
                        steps.push(Step::Hang(number, index));
                    }
                }
                Stage::Void if attempt.transaction != Transaction::Open => {
                    steps.push(Step::VoidEnds(number, index));
                }
                _ => {}
            }
        }
    }

    fn steps_with_database(&self, state: &State, number: usize, steps: &mut Vec<Step>) {
        let process = &state.processes[number];
        let deliveries =
            |asked: &[Delivery], step: &dyn Fn(Delivery) -> Step, steps: &mut Vec<Step>| {
                steps.push(step(Delivery::Answered));
                if state.left.faults > 0 {
                    let found = asked
                        .iter()
                        .filter(|delivery| self.deliveries.contains(delivery));
                    steps.extend(found.map(|delivery| step(*delivery)));
                }
            };
        if process.life.is_none()
            && (process.registering.is_some() || usize::from(state.lives) < LIVES)
        {
            deliveries(
                &[Delivery::ReplyLost],
                &|delivery| Step::Register(number, delivery),
                steps,
            );
        }
        // Without time, a beat matters only if it finds its worker gone.
        let beats = |life: Life| self.is_timed || !state.workers[usize::from(life)];
        if process.life.is_some_and(beats) && !process.has_beaten {
            deliveries(
                &[Delivery::ReplyLost],
                &|delivery| Step::Beat(number, delivery),
                steps,
            );
        }
        for life in 0..state.lives {
            if process.dead[usize::from(life)].is_some() {
                steps.push(Step::Rescue(number, life));
            }
            let is_up = state.process_of(life).is_some() || process.life == Some(life);
            let may_die = if is_up { state.left.stops > 0 } else { true };
            if !self.is_timed
                && process.life.is_some_and(|own| own != life)
                && self.is_known(state, life)
                && may_die
            {
                steps.push(Step::Declare(number, life, is_up));
            }
        }
        let has_room = process.attempts.iter().any(Option::is_none);
        if process.reply.is_some() {
            let is_executed = |late: &Option<Request>| !matches!(late, Some(Request::Claim { life, is_awaited: true, .. }) if Some(*life) == process.reply.map(|(_, life)| life));
            if has_room && state.late.iter().all(is_executed) {
                steps.push(Step::HandOver(number));
            }
        } else if process.life.is_some() && !process.is_stopping && has_room {
            let is_free = |job: &usize| {
                state.rows[*job].state == JobState::Waiting && !state.rows[*job].is_locked
            };
            for job in (0..JOBS).filter(is_free) {
                deliveries(
                    &[
                        Delivery::ReplyLost,
                        Delivery::ReplyLate,
                        Delivery::Late,
                        Delivery::Slow,
                    ],
                    &|delivery| Step::Claim(number, job, delivery),
                    steps,
                );
            }
        }
        for (index, attempt) in attempts(process) {
            let may_complete = matches!(attempt.stage, Stage::Runs | Stage::Void);
            match attempt.transaction {
                Transaction::None if self.in_transaction && may_complete => {
                    steps.push(Step::Complete(number, index));
                }
                Transaction::Open => {
                    steps.push(Step::Commit(number, index));
                    steps.push(Step::RollBack(number, index));
                }
                _ => {}
            }
            match attempt.stage {
                Stage::Unsure => steps.push(Step::Check(number, index)),
                Stage::Ended(_) => deliveries(
                    &[Delivery::ReplyLost, Delivery::Late],
                    &|delivery| Step::Record(number, index, delivery),
                    steps,
                ),
                _ => {}
            }
        }
        if process.to_put_back.iter().any(Option::is_some) {
            deliveries(
                &[Delivery::ReplyLost],
                &|delivery| Step::PutBack(number, delivery),
                steps,
            );
        } else if process.life.is_some()
            && !self.is_broken("no_reconcile")
            && self.budget.faults > 0
            && process.reconciled.is_none_or(|age| age >= TIME_TO_LIVE)
        {
            steps.push(Step::Look(number));
        }
        let is_idle = attempts(process)
            .all(|(_, attempt)| matches!(attempt.stage, Stage::Void | Stage::VoidAndHangs));
        let is_answered = process.reply.is_none() || self.is_broken("leaves_before_its_claims");
        if process.is_stopping && is_idle && is_answered {
            steps.push(Step::Leave(number));
        }
    }

    /// Whether a worker has a row, or a job that runs names it.
    pub(crate) fn is_known(&self, state: &State, life: Life) -> bool {
        let names = |row: &Row| {
            row.state == JobState::Running && row.claim.is_some_and(|claim| claim.life == life)
        };
        state.workers[usize::from(life)]
            || (!self.is_broken("rows_without_worker_ignored") && state.rows.iter().any(names))
    }
}

/// Returns the attempts of a process, each with its place.
fn attempts(process: &Process) -> impl Iterator<Item = (usize, &Attempt)> {
    let places = process.attempts.iter().enumerate();
    places.filter_map(|(index, attempt)| attempt.as_ref().map(|attempt| (index, attempt)))
}
