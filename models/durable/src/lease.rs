//! The steps of the lease: register, beat, observe the others, rescue.
//! Must never know how a job runs.

use crate::next::Next;
use crate::protocol::Delivery;
use crate::state::{LIVES, Life, Stage, TIME_TO_LIVE};

impl Next<'_> {
    pub(crate) fn register(&mut self, number: usize, delivery: Delivery) {
        let life = match self.process(number).registering {
            Some(life) => life,
            None => {
                let life = self.state.lives;
                self.state.lives += 1;
                life
            }
        };
        let worker = &mut self.state.workers[usize::from(life)];
        let is_there = std::mem::replace(worker, true);
        let is_refused = is_there && self.is_broken("registration_not_repeatable");
        self.change_beat(life);
        let process = self.process(number);
        process.registering = Some(life);
        if delivery == Delivery::Answered && !is_refused {
            process.registering = None;
            process.life = Some(life);
            process.has_beaten = false;
        }
    }

    pub(crate) fn beat(&mut self, number: usize, delivery: Delivery) {
        self.process(number).has_beaten = self.rules.is_timed;
        let Some(life) = self.process(number).life else {
            return;
        };
        let is_alive = self.state.workers[usize::from(life)];
        if is_alive {
            self.state.is_beaten[usize::from(life)] = true;
            self.state.missed[usize::from(life)] = 0;
            self.change_beat(life);
            if !self.is_broken("rescued_whatever_has_changed") {
                for process in &mut self.state.processes {
                    process.dead[usize::from(life)] = None;
                }
            }
        }
        if delivery != Delivery::Answered {
            return;
        }
        if is_alive {
            self.observe(number, life);
        } else {
            self.lose(number);
        }
    }

    /// Observes the other workers, after an own beat.
    fn observe(&mut self, number: usize, own: Life) {
        let known: [bool; LIVES] =
            std::array::from_fn(|life| self.rules.is_known(&self.state, life as Life));
        let ignores_lateness = self.is_broken("own_lateness_ignored");
        let workers = self.state.workers;
        let process = self.process(number);
        // Where the own beat was late, the cause may have kept the others from beating too.
        let was_late = process.looked.is_none_or(|ticks| ticks > 1);
        if was_late && !ignores_lateness {
            process.seen = [None; LIVES];
        }
        process.looked = Some(0);
        for life in 0..LIVES {
            if usize::from(own) == life || !known[life] {
                process.seen[life] = None;
            } else if process.is_changed[life] || process.seen[life].is_none() {
                process.seen[life] = Some(0);
            }
            process.is_changed[life] = false;
            if process.seen[life].is_some_and(|ticks| ticks >= TIME_TO_LIVE) {
                process.dead[life] = Some(workers[life]);
            }
        }
    }

    /// Rescues the jobs of a worker that was found dead, unless it has changed since.
    pub(crate) fn rescue_found(&mut self, number: usize, life: Life) {
        let found = self.process(number).dead[usize::from(life)].take();
        let is_same = found == Some(self.state.workers[usize::from(life)]);
        if is_same || self.is_broken("rescued_whatever_has_changed") {
            self.rescue(life);
        }
    }

    /// This process was declared dead: the tokens of its attempts fire, and it begins a new life.
    fn lose(&mut self, number: usize) {
        let process = self.process(number);
        process.life = None;
        process.looked = None;
        process.seen = [None; LIVES];
        process.is_changed = [false; LIVES];
        process.not_held = Default::default();
        process.to_put_back = Default::default();
        for attempt in process.attempts.iter_mut().flatten() {
            attempt.stage = match attempt.stage {
                Stage::Runs => Stage::Void,
                Stage::Hangs => Stage::VoidAndHangs,
                stage => stage,
            };
        }
    }
}
