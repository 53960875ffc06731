//! The state that a step makes: hands each step to its part of the protocol, and checks the rows.
//! Must never know which steps are possible.

use crate::protocol::{Invariant, Rules, Step};
use crate::state::{End, JOBS, JobState, Process, Stage, State, TIME_TO_LIVE, Transaction};

/// The state that a step makes.
pub(crate) struct Next<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) state: State,
    pub(crate) broken: Option<Invariant>,
}

impl Rules {
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
        next.state
            .normalize(self.is_broken("rescued_whatever_has_changed"));
        (next.state, next.broken)
    }
}

impl Next<'_> {
    pub(crate) fn is_broken(&self, mistake: &str) -> bool {
        self.rules.is_broken(mistake)
    }

    /// Notes that the step breaks an invariant. In a model that makes no mistake, the first one counts.
    pub(crate) fn breaks(&mut self, invariant: Invariant) {
        self.broken.get_or_insert(invariant);
    }

    pub(crate) fn spend(&mut self, step: Step) {
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

    pub(crate) fn check_rows(&mut self) {
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

    pub(crate) fn take(&mut self, step: Step) {
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
            Step::Register(number, delivery) => self.register(number, delivery),
            Step::Beat(number, delivery) => self.beat(number, delivery),
            Step::Declare(_, life, _) => self.rescue(life),
            Step::Rescue(number, life) => self.rescue_found(number, life),
            Step::RescueOld(job) => self.rescue_old(job),
            Step::Claim(number, job, delivery) => self.send_claim(number, job, delivery),
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
            Step::Record(number, index, delivery) => self.send_record(number, index, delivery),
            Step::Look(number) => self.look_for_claims(number),
            Step::PutBack(number, delivery) => self.send_put_back(number, delivery),
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
        for (life, missed) in state.missed.iter_mut().enumerate() {
            if is_open && state.workers[life] && !beaten[life] {
                *missed = TIME_TO_LIVE.min(*missed + 1);
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
