//! The steps of the worker: claim, run, record, and put back what it has claimed and does not hold.
//! Must never know when a process counts as dead.

use crate::next::Next;
use crate::protocol::{Delivery, Invariant};
use crate::rows::Answer;
use crate::state::{
    Attempt, Claim, End, JOBS, JobState, Life, MAX_ATTEMPTS, Request, Stage, TIME_TO_LIVE,
    Transaction,
};

impl Next<'_> {
    pub(crate) fn send_claim(&mut self, number: usize, job: usize, delivery: Delivery) {
        let Some(life) = self.process(number).life else {
            return;
        };
        let job = job as u8;
        if matches!(delivery, Delivery::Late | Delivery::Slow) {
            let is_awaited = delivery == Delivery::Slow;
            let request = Request::Claim {
                job,
                life,
                is_awaited,
            };
            if self.state.delay(request) && is_awaited {
                self.process(number).reply = Some((job, life));
            }
            return;
        }
        self.claim(job, life);
        match delivery {
            Delivery::Answered => self.hand_over(number, job, life),
            Delivery::ReplyLate => self.process(number).reply = Some((job, life)),
            Delivery::ReplyLost | Delivery::Late | Delivery::Slow => {}
        }
    }

    /// A claimed job comes to its process, which reads the row.
    pub(crate) fn hand_over(&mut self, number: usize, job: u8, life: Life) {
        let row = self.state.rows[usize::from(job)];
        let Some(claim) = row.claim.filter(|_| row.state == JobState::Running) else {
            return;
        };
        // It may have been rescued, and claimed by another, before it came here.
        if claim.life != life && !self.is_broken("any_claim_taken") {
            return;
        }
        let mut others = self.state.processes.iter().flat_map(|other| other.attempts);
        if others.any(|other| other.is_some_and(|other| other.claim == claim)) {
            self.breaks(Invariant::EndedOnce);
        }
        let process = self.process(number);
        let is_void = process.life != Some(life);
        let attempt = Attempt {
            claim,
            stage: if is_void { Stage::Void } else { Stage::Runs },
            transaction: Transaction::None,
            is_last: row.attempt >= MAX_ATTEMPTS,
        };
        if let Some(room) = process.attempts.iter_mut().find(|room| room.is_none()) {
            *room = Some(attempt);
        }
    }

    pub(crate) fn end_body(&mut self, number: usize, index: usize, is_ok: bool) {
        let trusts_body = is_ok && self.is_broken("body_believed_after_complete_in");
        if let Some(attempt) = &mut self.process(number).attempts[index] {
            attempt.stage = if attempt.transaction != Transaction::None && !trusts_body {
                Stage::Unsure
            } else if is_ok {
                Stage::Ended(End::Done)
            } else {
                Stage::Ended(attempt.failed())
            };
        }
    }

    pub(crate) fn complete_in(&mut self, number: usize, index: usize) {
        let Some(mut attempt) = self.process(number).attempts[index] else {
            return;
        };
        if self.complete(attempt.claim) {
            attempt.transaction = Transaction::Open;
        }
        self.process(number).attempts[index] = Some(attempt);
    }

    pub(crate) fn end_transaction_of(&mut self, number: usize, index: usize, is_committed: bool) {
        if let Some(attempt) = &mut self.process(number).attempts[index] {
            attempt.transaction = Transaction::Over;
            let claim = attempt.claim;
            self.end_transaction(claim, is_committed);
        }
    }

    /// After `complete_in`, the row is read: it says whether the transaction has committed.
    pub(crate) fn check_completed(&mut self, number: usize, index: usize) {
        let Some(mut attempt) = self.process(number).attempts[index] else {
            return;
        };
        let row = self.state.rows[usize::from(attempt.claim.job)];
        let still_holds = row.state == JobState::Running && row.claim == Some(attempt.claim);
        attempt.stage = Stage::Ended(attempt.failed());
        self.process(number).attempts[index] = still_holds.then_some(attempt);
    }

    pub(crate) fn send_record(&mut self, number: usize, index: usize, delivery: Delivery) {
        let Some(attempt) = self.process(number).attempts[index] else {
            return;
        };
        let (claim, Stage::Ended(end)) = (attempt.claim, attempt.stage) else {
            return;
        };
        if delivery == Delivery::Late {
            self.state.delay(Request::Record { claim, end });
            return;
        }
        let answer = self.record(claim, end);
        if delivery == Delivery::Answered && answer != Answer::Locked {
            self.process(number).attempts[index] = None;
            // The attempt is over, so the engine completes its job, sooner or later. The fence drops that, whenever it comes.
            if self.is_broken("no_fence") {
                self.state.delay(Request::Engine { job: claim.job });
            }
        }
    }

    /// Looks for rows that this life has claimed and does not hold.
    pub(crate) fn look_for_claims(&mut self, number: usize) {
        let is_timed = self.rules.is_timed;
        let holds_void = self.is_broken("held_after_its_lease");
        let at_once = self.is_broken("put_back_at_once");
        let rows = self.state.rows;
        let process = self.process(number);
        let Some(life) = process.life else {
            return;
        };
        process.reconciled = is_timed.then_some(0);
        for (row, job) in rows.iter().zip(0..JOBS) {
            let claim = row
                .claim
                .filter(|claim| row.state == JobState::Running && claim.life == life);
            let held = |claim: &Claim| {
                process.attempts.iter().flatten().any(|attempt| {
                    let is_void = matches!(attempt.stage, Stage::Void | Stage::VoidAndHangs);
                    attempt.claim.job == claim.job && (!is_void || holds_void)
                })
            };
            let found = claim.filter(|claim| !held(claim));
            let is_again = found.is_some() && (at_once || process.not_held[job] == found);
            process.to_put_back[job] = found.filter(|_| is_again);
            process.not_held[job] = found.filter(|_| !is_again);
        }
    }

    pub(crate) fn send_put_back(&mut self, number: usize, delivery: Delivery) {
        let claims = std::mem::take(&mut self.process(number).to_put_back);
        for claim in claims.into_iter().flatten() {
            self.put_back(claim);
        }
        if delivery == Delivery::Answered {
            return;
        }
        // They are found again at the next looks.
        if self.is_broken("wait_cut_short_by_an_error") {
            self.process(number).reconciled = Some(TIME_TO_LIVE);
        }
    }
}

impl Attempt {
    fn failed(&self) -> End {
        if self.is_last { End::Dead } else { End::Retry }
    }
}
