//! The database: the fence, and each statement on the row of a job.
//! Must never know why a process sends it.

use crate::next::Next;
use crate::protocol::Invariant;
use crate::state::{CRASH_LIMIT, Claim, End, JobState, Life, MAX_ATTEMPTS, Request, TIME_TO_LIVE};

/// The answer to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
    /// A transaction of a program's holds the row.
    Locked,
}

impl Next<'_> {
    fn holds(&self, claim: Claim) -> bool {
        let row = &self.state.rows[usize::from(claim.job)];
        row.state == JobState::Running && row.claim == Some(claim)
    }

    /// Whether the row accepts the record of an attempt.
    fn accepts(&self, claim: Claim, end: End) -> bool {
        let row = &self.state.rows[usize::from(claim.job)];
        let is_running = row.state == JobState::Running;
        if self.is_broken("no_fence") {
            return true;
        }
        if self.is_broken("fence_without_time") {
            return is_running && row.claim.is_some_and(|held| held.life == claim.life);
        }
        if end == End::Returned && self.is_broken("returned_without_claim") {
            return is_running;
        }
        self.holds(claim)
    }

    /// Records the end of an attempt.
    pub(crate) fn record(&mut self, claim: Claim, end: End) -> Answer {
        let holds = self.holds(claim);
        let row = self.state.rows[usize::from(claim.job)];
        if self.accepts(claim, end) {
            if row.is_locked {
                return Answer::Locked;
            }
            if !holds {
                self.breaks(Invariant::EndedOnce);
            }
            self.end(claim, end);
            return Answer::Yes;
        }
        // The answer to an earlier try was lost: only a write of this attempt has left its claim there.
        if row.recorded == Some(claim) && !self.is_broken("lost_reply_taken_for_lost_job") {
            return Answer::Yes;
        }
        if row.recorded == Some(claim) && matches!(end, End::Done | End::Dead) {
            self.breaks(Invariant::Answered);
        }
        Answer::No
    }

    fn end(&mut self, claim: Claim, end: End) {
        let counts_returned = self.is_broken("return_counts_the_attempt");
        let row = &mut self.state.rows[usize::from(claim.job)];
        row.recorded = Some(claim);
        match end {
            End::Done => row.state = JobState::Done,
            End::Dead => {
                row.state = JobState::Dead;
                row.failures += 1;
            }
            End::Retry => {
                row.state = JobState::Waiting;
                row.failures += 1;
            }
            End::Returned => {
                row.state = JobState::Waiting;
                if !counts_returned {
                    row.attempt = row.attempt.saturating_sub(1);
                }
            }
        }
        if matches!(row.state, JobState::Done | JobState::Dead) {
            row.ends += 1;
            if row.ends > 1 {
                self.breaks(Invariant::EndedOnce);
            }
        }
    }

    /// Claims a job, if it waits.
    pub(crate) fn claim(&mut self, job: u8, life: Life) -> Option<Claim> {
        let row = &mut self.state.rows[usize::from(job)];
        if row.state != JobState::Waiting || row.is_locked {
            return None;
        }
        let claim = Claim {
            job,
            life,
            number: row.claims,
        };
        row.state = JobState::Running;
        row.claim = Some(claim);
        row.attempt += 1;
        row.claims += 1;
        row.age = 0;
        row.is_unawaited = false;
        debug_assert!(row.attempt <= MAX_ATTEMPTS, "a job has no attempt left");
        Some(claim)
    }

    /// Gives the attempt of a running job back.
    fn make_available(&mut self, job: usize) {
        let row = &mut self.state.rows[job];
        row.state = JobState::Waiting;
        row.attempt = row.attempt.saturating_sub(1);
    }

    /// Rescues the jobs of a dead worker, and removes the worker.
    pub(crate) fn rescue(&mut self, life: Life) {
        let is_repeated = self.is_broken("rescued_whatever_has_changed");
        let is_dropped = self.is_broken("rescued_without_mark");
        let mut is_left = false;
        for job in 0..self.state.rows.len() {
            let row = self.state.rows[job];
            if row.claim.is_none_or(|claim| claim.life != life) {
                continue;
            }
            let is_running = row.state == JobState::Running;
            let is_chosen = is_running || (is_repeated && row.state == JobState::Waiting);
            if !is_chosen {
                continue;
            }
            if row.is_locked || is_dropped {
                is_left = true;
                continue;
            }
            let has_left = self.state.has_left[usize::from(life)] && !row.is_unawaited;
            if !is_running || has_left {
                self.breaks(Invariant::CountedOnce);
            }
            self.take_from(life);
            self.rescue_job(job);
        }
        if !is_left {
            self.remove_worker(life);
        }
    }

    /// The mistake of River's own rescue: a job that has run for long.
    pub(crate) fn rescue_old(&mut self, job: usize) {
        if let Some(claim) = self.state.rows[job].claim {
            self.take_from(claim.life);
        }
        self.rescue_job(job);
    }

    fn rescue_job(&mut self, job: usize) {
        self.make_available(job);
        let row = &mut self.state.rows[job];
        row.crashes += 1;
        if row.crashes >= CRASH_LIMIT {
            row.state = JobState::Dead;
            row.ends += 1;
        }
    }

    /// A process loses a job to a rescue.
    fn take_from(&mut self, life: Life) {
        // The tick in which it beat last and the current one are no whole ones.
        let has_missed =
            !self.rules.is_timed || self.state.missed[usize::from(life)] >= TIME_TO_LIVE - 1;
        let is_known = self.state.workers[usize::from(life)];
        if is_known && self.state.process_of(life).is_some() && !has_missed {
            self.breaks(Invariant::LiveKeeps);
        }
    }

    pub(crate) fn remove_worker(&mut self, life: Life) {
        self.state.workers[usize::from(life)] = false;
        self.state.missed[usize::from(life)] = 0;
        self.change_beat(life);
        // Each process forgets that it found this worker dead while the worker had a row.
        if !self.is_broken("rescued_whatever_has_changed") {
            for process in &mut self.state.processes {
                let found = &mut process.dead[usize::from(life)];
                *found = found.filter(|had_row| !had_row);
            }
        }
    }

    /// The value of a beat is another one than before, for all who have observed it.
    pub(crate) fn change_beat(&mut self, life: Life) {
        for process in &mut self.state.processes {
            process.is_changed[usize::from(life)] = process.seen[usize::from(life)].is_some();
        }
    }

    /// Makes a job available whose claim its own process does not hold.
    pub(crate) fn put_back(&mut self, claim: Claim) {
        let row = self.state.rows[usize::from(claim.job)];
        if !self.holds(claim) || row.is_locked {
            return;
        }
        if self.rules.is_timed && row.age < TIME_TO_LIVE {
            self.breaks(Invariant::PutBackLate);
        }
        self.make_available(usize::from(claim.job));
    }

    /// At the end of a shutdown: nothing that this life has claimed is held any more.
    pub(crate) fn put_back_all(&mut self, life: Life) {
        for job in 0..self.state.rows.len() {
            let row = self.state.rows[job];
            let is_its = row.claim.is_some_and(|claim| claim.life == life);
            if row.state == JobState::Running && is_its && !row.is_locked {
                self.make_available(job);
            }
        }
    }

    /// `complete_in`: locks the row, unless the attempt has lost its job.
    pub(crate) fn complete(&mut self, claim: Claim) -> bool {
        let holds = self.holds(claim) || self.is_broken("completes_without_claim");
        let row = &mut self.state.rows[usize::from(claim.job)];
        let is_possible = holds && !row.is_locked;
        row.is_locked |= is_possible;
        is_possible
    }

    /// Ends a transaction with `complete_in`.
    pub(crate) fn end_transaction(&mut self, claim: Claim, is_committed: bool) {
        self.state.rows[usize::from(claim.job)].is_locked = false;
        if is_committed {
            self.state.rows[usize::from(claim.job)].written += 1;
            self.end(claim, End::Done);
        }
    }

    /// Executes a request that comes late.
    pub(crate) fn execute(&mut self, request: Request) {
        match request {
            Request::Claim {
                job,
                life,
                is_awaited,
            } => {
                if self.claim(job, life).is_some() {
                    self.state.rows[usize::from(job)].is_unawaited = !is_awaited;
                }
            }
            Request::Record { claim, end } => {
                self.record(claim, end);
            }
            // It names no claim, so the fence drops it.
            Request::Engine { job } => {
                let row = &mut self.state.rows[usize::from(job)];
                let is_running = row.state == JobState::Running && !row.is_locked;
                if self.rules.is_broken("no_fence") && is_running {
                    row.state = JobState::Done;
                    row.ends += 1;
                    self.breaks(Invariant::EndedOnce);
                }
            }
        }
    }
}
