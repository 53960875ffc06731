//! Decides which workers are dead: those whose beat has not changed during one time to live of our own uninterrupted beats.
//! Compares no clocks: it computes only with what this process has observed.

use super::Timing;
use crate::engine::Seen;
use std::collections::HashMap;
use std::time::Instant;

/// The observations of the other workers.
#[derive(Debug)]
pub(super) struct Judge {
    timing: Timing,
    /// The time of the last observation.
    looked: Option<Instant>,
    /// The last beat of each worker, and since when it has been the same.
    workers: HashMap<String, (Option<i64>, Instant)>,
    #[cfg(test)]
    ignores_own_lateness: bool,
}

impl Judge {
    pub(super) fn new(timing: Timing) -> Self {
        Self {
            timing,
            looked: None,
            workers: HashMap::new(),
            #[cfg(test)]
            ignores_own_lateness: false,
        }
    }

    #[cfg(test)]
    pub(super) fn ignore_own_lateness(&mut self) {
        self.ignores_own_lateness = true;
    }

    /// Notes the workers after an own beat, and returns the dead ones.
    pub(super) fn observe(&mut self, now: Instant, own: &str, seen: Vec<Seen>) -> Vec<Seen> {
        // Where our own beat was late, the cause may have kept the others from beating too: a write lock, a stopped machine.
        let allowed = self.timing.beat + self.timing.time_to_live / 4;
        let was_late = self
            .looked
            .is_none_or(|looked| now.duration_since(looked) > allowed);
        #[cfg(test)]
        let was_late = was_late && !self.ignores_own_lateness;
        if was_late {
            self.workers.clear();
        }
        self.looked = Some(now);
        self.workers
            .retain(|id, _| seen.iter().any(|(other, _)| other == id));
        seen.into_iter()
            .filter(|(id, beat)| {
                if id == own {
                    return false;
                }
                let (last, since) = self.workers.entry(id.clone()).or_insert((*beat, now));
                if last != beat {
                    (*last, *since) = (*beat, now);
                }
                now.duration_since(*since) >= self.timing.time_to_live
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn judge() -> Judge {
        Judge::new(Timing {
            beat: SECOND,
            time_to_live: 4 * SECOND,
        })
    }

    fn seen(beat: Option<i64>) -> Vec<Seen> {
        vec![("own".to_owned(), Some(0)), ("other".to_owned(), beat)]
    }

    /// Sentence 2.3.
    #[test]
    fn a_beat_that_stays_the_same_for_the_time_to_live_is_dead() {
        let (mut judge, start) = (judge(), Instant::now());
        for second in 0..4 {
            let now = start + second * SECOND;
            assert_eq!(
                judge.observe(now, "own", seen(Some(7))),
                [],
                "after {second} s"
            );
        }
        let dead = judge.observe(start + 4 * SECOND, "own", seen(Some(7)));
        assert_eq!(dead, [("other".to_owned(), Some(7))]);
    }

    /// Sentence 2.3.
    #[test]
    fn a_worker_that_beats_lives() {
        let (mut judge, start) = (judge(), Instant::now());
        for second in 0..20 {
            // Every other second: slow, and alive.
            let beat = Some(i64::from(second / 2));
            let now = start + second * SECOND;
            assert_eq!(
                judge.observe(now, "own", seen(beat)),
                [],
                "after {second} s"
            );
        }
    }

    /// Sentence 2.4.
    #[test]
    fn after_a_late_beat_of_our_own_the_count_starts_anew() {
        let (mut judge, start) = (judge(), Instant::now());
        judge.observe(start, "own", seen(Some(7)));
        let late = start + 10 * SECOND;
        assert_eq!(judge.observe(late, "own", seen(Some(7))), []);
        for second in 1..4 {
            let now = late + second * SECOND;
            assert_eq!(judge.observe(now, "own", seen(Some(7))), []);
        }
        let dead = judge.observe(late + 4 * SECOND, "own", seen(Some(7)));
        assert_eq!(dead.len(), 1);
    }

    /// Sentence 2.3.
    #[test]
    fn a_worker_whose_row_is_gone_while_jobs_name_it_is_dead_after_the_same_time() {
        let (mut judge, start) = (judge(), Instant::now());
        for second in 0..4 {
            let now = start + second * SECOND;
            assert_eq!(judge.observe(now, "own", seen(None)), []);
        }
        let dead = judge.observe(start + 4 * SECOND, "own", seen(None));
        assert_eq!(dead, [("other".to_owned(), None)]);
    }
}
