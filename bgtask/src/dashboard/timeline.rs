//! The last ten minutes in steps of five seconds: how many calls were accepted, how many failed.
//! Owns the steps; must never know where the totals come from.

use crate::stats::Stats;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The length of a step.
pub(crate) const STEP: Duration = Duration::from_secs(5);

/// How many steps are kept.
const STEPS: usize = 120;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) started: u64,
    pub(crate) failed: u64,
}

#[derive(Debug)]
pub(crate) struct Timeline {
    /// When the current step began.
    began: Instant,
    /// The totals at that time.
    before: Step,
    /// The steps that are over, the latest last.
    over: VecDeque<Step>,
}

impl Timeline {
    pub(crate) fn new(now: Instant, totals: &Stats) -> Self {
        Self {
            began: now,
            before: sums(totals),
            over: VecDeque::with_capacity(STEPS),
        }
    }

    /// Ends the steps that are over by `now`. Calls since the last update count for the first of them.
    pub(crate) fn advance(&mut self, now: Instant, totals: &Stats) {
        let passed = now.saturating_duration_since(self.began);
        let steps = passed.as_nanos() / STEP.as_nanos();
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        if steps == 0 {
            return;
        }
        let step = self.current(totals);
        self.push(step);
        self.before = sums(totals);
        // After a long sleep, such as that of a suspended laptop, add only the steps that are kept.
        for _ in 1..steps.min(STEPS as u32 + 1) {
            self.push(Step::default());
        }
        self.began += STEP * steps;
    }

    /// Returns the steps, the latest last. The latest is not over yet.
    pub(crate) fn steps(&self, totals: &Stats) -> impl Iterator<Item = Step> {
        let over = self.over.iter().copied();
        over.chain(std::iter::once(self.current(totals)))
    }

    fn current(&self, totals: &Stats) -> Step {
        let Step { started, failed } = sums(totals);
        Step {
            started: started.saturating_sub(self.before.started),
            failed: failed.saturating_sub(self.before.failed),
        }
    }

    fn push(&mut self, step: Step) {
        if self.over.len() == STEPS {
            self.over.pop_front();
        }
        self.over.push_back(step);
    }
}

fn sums(totals: &Stats) -> Step {
    Step {
        started: totals.accepted,
        failed: totals.failed + totals.panicked + totals.timed_out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(accepted: u64, failed: u64) -> Stats {
        Stats {
            accepted,
            failed,
            ..Stats::default()
        }
    }

    fn steps(timeline: &Timeline, totals: &Stats) -> Vec<(u64, u64)> {
        let steps = timeline.steps(totals);
        steps.map(|step| (step.started, step.failed)).collect()
    }

    #[test]
    fn each_step_counts_its_calls_and_quiet_steps_are_kept() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timeline = Timeline::new(start, &totals(7, 1));
        timeline.advance(at(4), &totals(9, 1));
        assert_eq!(steps(&timeline, &totals(9, 1)), [(2, 0)]);
        timeline.advance(at(5), &totals(10, 2));
        assert_eq!(steps(&timeline, &totals(11, 2)), [(3, 1), (1, 0)]);
        timeline.advance(at(22), &totals(12, 2));
        let expected = [(3, 1), (2, 0), (0, 0), (0, 0), (0, 0)];
        assert_eq!(steps(&timeline, &totals(12, 2)), expected);
        // The steps keep their rhythm: the current one began at 20.
        timeline.advance(at(25), &totals(13, 2));
        assert_eq!(timeline.over.back().unwrap().started, 1);
    }

    #[test]
    fn at_most_ten_minutes_are_kept() {
        let start = Instant::now();
        let mut timeline = Timeline::new(start, &totals(0, 0));
        timeline.advance(start + Duration::from_secs(100_000_003), &totals(1, 0));
        assert_eq!(timeline.over, [Step::default(); STEPS]);
        assert_eq!(timeline.began, start + Duration::from_secs(100_000_000));
    }
}
