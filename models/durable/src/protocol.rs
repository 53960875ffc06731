//! The protocol: which steps can follow a state, and whether a step breaks an invariant.
//! Must never know which models there are.

use crate::state::{
    ATTEMPTS, Attempt, Budget, End, JOBS, JobState, LATE, LIVES, Life, PROCESSES, Process, Request, Row, Stage,
    State, TIME_TO_LIVE, Transaction,
};

/// What must hold, whatever happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
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

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
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
    Register(usize, Fate),
    Beat(usize, Fate),
    /// Without time: a process declares another life dead, and rescues its jobs. Whether that process is up.
    Declare(usize, Life, bool),
    Rescue(usize, Life),
    RescueOld(usize),
    Claim(usize, usize, Fate),
    HandOver(usize),
    BodyOk(usize, usize),
    BodyErr(usize, usize),
    Hang(usize, usize),
    VoidEnds(usize, usize),
    Complete(usize, usize),
    Commit(usize, usize),
    RollBack(usize, usize),
    Check(usize, usize),
    Record(usize, usize, Fate),
    Look(usize),
    PutBack(usize, Fate),
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
            Self::Register(_, fate)
            | Self::Beat(_, fate)
            | Self::Claim(.., fate)
            | Self::Record(.., fate)
            | Self::PutBack(_, fate) => fate != Fate::Answered,
            _ => false,
        }
    }
}

/// What a model consists of, and the mistake that the protocol makes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) processes: usize,
    pub(crate) jobs: usize,
    pub(crate) budget: Budget,
    pub(crate) fates: &'static [Fate],
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
        let fates = |asked: &[Fate], step: &dyn Fn(Fate) -> Step, steps: &mut Vec<Step>| {
            steps.push(step(Fate::Answered));
            if state.left.faults > 0 {
                let found = asked.iter().filter(|fate| self.fates.contains(fate));
                steps.extend(found.map(|fate| step(*fate)));
            }
        };
        if process.life.is_none() && (process.registering.is_some() || usize::from(state.lives) < LIVES) {
            fates(
                &[Fate::ReplyLost],
                &|fate| Step::Register(number, fate),
                steps,
            );
        }
        // Without time, a beat matters only if it finds its worker gone.
        let beats = |life: Life| self.is_timed || !state.workers[usize::from(life)];
        if process.life.is_some_and(beats) && !process.has_beaten {
            fates(&[Fate::ReplyLost], &|fate| Step::Beat(number, fate), steps);
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
            let is_executed = |late: &Option<Request>| {
                !matches!(late, Some(Request::Claim { life, is_awaited: true, .. }) if Some(*life) == process.reply.map(|(_, life)| life))
            };
            if has_room && state.late.iter().all(is_executed) {
                steps.push(Step::HandOver(number));
            }
        } else if process.life.is_some() && !process.is_stopping && has_room {
            let is_free = |job: &usize| {
                state.rows[*job].state == JobState::Waiting && !state.rows[*job].is_locked
            };
            for job in (0..JOBS).filter(is_free) {
                fates(
                    &[Fate::ReplyLost, Fate::ReplyLate, Fate::Late, Fate::Slow],
                    &|fate| Step::Claim(number, job, fate),
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
                Stage::Ended(_) => fates(
                    &[Fate::ReplyLost, Fate::Late],
                    &|fate| Step::Record(number, index, fate),
                    steps,
                ),
                _ => {}
            }
        }
        if process.to_put_back.iter().any(Option::is_some) {
            fates(
                &[Fate::ReplyLost],
                &|fate| Step::PutBack(number, fate),
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

    /// Takes a step. Returns the next state, and the invariant that the step breaks.
    pub(crate) fn take(&self, state: &State, step: Step) -> (State, Option<Invariant>) {
        let mut next = Next {
            rules: self,
            state: state.clone(),
            broken: None,
        };
        if step.is_fault() {
            next.spend(step);
        }
        next.take(step);
        next.check_rows();
        next.state.normalize(self.is_broken("rescued_whatever_has_changed"));
        (next.state, next.broken)
    }
}

/// Returns the attempts of a process, each with its place.
fn attempts(process: &Process) -> impl Iterator<Item = (usize, &Attempt)> {
    let places = process.attempts.iter().enumerate();
    places.filter_map(|(index, attempt)| attempt.as_ref().map(|attempt| (index, attempt)))
}

/// The state that a step makes.
pub(crate) struct Next<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) state: State,
    broken: Option<Invariant>,
}

impl Next<'_> {
    pub(crate) fn is_broken(&self, mistake: &str) -> bool {
        self.rules.is_broken(mistake)
    }

    /// Notes that the step breaks an invariant. In a model that makes no mistake, the first one counts.
    pub(crate) fn breaks(&mut self, invariant: Invariant) {
        self.broken.get_or_insert(invariant);
    }

    fn spend(&mut self, step: Step) {
        let left = &mut self.state.left;
        let budget = match step {
            Step::Stall => &mut left.stalls,
            Step::Crash(_) => &mut left.crashes,
            Step::Stop(_) | Step::Declare(..) => &mut left.stops,
            Step::ShutDown(_) => &mut left.shutdowns,
            Step::Hang(..) => &mut left.hangs,
            Step::RescueOld(_) => return,
            _ => &mut left.faults,
        };
        *budget -= 1;
    }

    fn check_rows(&mut self) {
        for job in 0..JOBS {
            let row = self.state.rows[job];
            let is_counted = matches!(row.state, JobState::Running | JobState::Done);
            if row.attempt != row.failures + u8::from(is_counted) {
                self.breaks(Invariant::NotCounted);
            }
            let is_written = row.state == JobState::Done;
            if self.rules.in_transaction && row.written != u8::from(is_written) {
                self.breaks(Invariant::WrittenWithEnd);
            }
        }
    }

    pub(crate) fn process(&mut self, number: usize) -> &mut Process {
        &mut self.state.processes[number]
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Tick => self.tick(),
            Step::Stall => self.state.is_stalled = true,
            Step::Unstall => self.state.is_stalled = false,
            Step::Crash(number) => self.go_down(number),
            Step::Start(number) => {
                self.state.left.starts -= 1;
                self.process(number).is_up = true;
            }
            Step::Stop(number) => self.process(number).is_stopped = true,
            Step::Continue(number) => self.process(number).is_stopped = false,
            Step::ShutDown(number) => self.process(number).is_stopping = true,
            Step::Close(number) => self.close(number),
            Step::Leave(number) => self.leave(number),
            Step::Register(number, fate) => self.register(number, fate),
            Step::Beat(number, fate) => self.beat(number, fate),
            Step::Declare(_, life, _) => self.rescue(life),
            Step::Rescue(number, life) => self.rescue_found(number, life),
            Step::RescueOld(job) => self.rescue_old(job),
            Step::Claim(number, job, fate) => self.send_claim(number, job, fate),
            Step::HandOver(number) => {
                if let Some((job, life)) = self.process(number).reply.take() {
                    self.hand_over(number, job, life);
                }
            }
            Step::BodyOk(number, index) => self.end_body(number, index, true),
            Step::BodyErr(number, index) => self.end_body(number, index, false),
            Step::Hang(number, index) => self.set_stage(number, index, Stage::Hangs),
            Step::VoidEnds(number, index) => self.process(number).attempts[index] = None,
            Step::Complete(number, index) => self.complete_in(number, index),
            Step::Commit(number, index) => self.end_transaction_of(number, index, true),
            Step::RollBack(number, index) => self.end_transaction_of(number, index, false),
            Step::Check(number, index) => self.check_completed(number, index),
            Step::Record(number, index, fate) => self.send_record(number, index, fate),
            Step::Look(number) => self.look_for_claims(number),
            Step::PutBack(number, fate) => self.send_put_back(number, fate),
            Step::LateRequest(index) => {
                if let Some(request) = self.state.late[index].take() {
                    self.state.late.sort_unstable();
                    self.execute(request);
                }
            }
        }
    }

    fn tick(&mut self) {
        let state = &mut self.state;
        let later = |age: &mut Option<u8>| *age = age.map(|age| TIME_TO_LIVE.min(age + 1));
        for row in &mut state.rows {
            row.age = TIME_TO_LIVE.min(row.age + 1);
        }
        for process in &mut state.processes {
            process.has_beaten = false;
            later(&mut process.looked);
            process.seen.iter_mut().for_each(later);
            later(&mut process.reconciled);
        }
        let beaten = std::mem::take(&mut state.is_beaten);
        let is_open = beaten.contains(&true);
        for life in 0..LIVES {
            if is_open && state.workers[life] && !beaten[life] {
                state.missed[life] = TIME_TO_LIVE.min(state.missed[life] + 1);
            }
        }
    }

    /// Ends a process. Its connections end with it, and their transactions are rolled back.
    pub(crate) fn go_down(&mut self, number: usize) {
        let process = std::mem::take(self.process(number));
        for attempt in process.attempts.into_iter().flatten() {
            if attempt.transaction == Transaction::Open {
                self.end_transaction(attempt.claim, false);
            }
        }
    }

    fn set_stage(&mut self, number: usize, index: usize, stage: Stage) {
        if let Some(attempt) = &mut self.process(number).attempts[index] {
            attempt.stage = stage;
        }
    }

    /// The deadline of the shutdown: what still runs is returned.
    fn close(&mut self, number: usize) {
        for attempt in self.process(number).attempts.iter_mut().flatten() {
            if matches!(attempt.stage, Stage::Runs | Stage::Hangs) {
                attempt.stage = Stage::Ended(End::Returned);
            }
        }
    }

    /// The end of a shutdown: every attempt is recorded.
    fn leave(&mut self, number: usize) {
        let life = self.process(number).life;
        self.go_down(number);
        let Some(life) = life else {
            return;
        };
        // The reply to a claim may have been lost.
        if !self.is_broken("leaves_lost_claims") {
            self.put_back_all(life);
        }
        self.state.has_left[usize::from(life)] = true;
        self.remove_worker(life);
    }
}

const _: () = assert!(PROCESSES <= LIVES && ATTEMPTS > 0);
