//! Failures of one function, grouped by outcome and message.
//! Owns what counts as the same message, and the bounds; must never know how a call failed.

use crate::stats::{Outcome, TaskId};
use std::sync::Arc;
use std::time::SystemTime;

/// How many groups are kept. Failures of others are counted.
const GROUPS: usize = 20;

/// How many characters of a message tell it apart from others.
const LENGTH: usize = 200;

/// How long a word of hexadecimal digits is at least that counts as a number, such as an id.
const HEX: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// The one that grew last is last.
    kept: Vec<Group>,
    /// The failures of groups that are not kept any more.
    others: u64,
}

/// Failures with the same outcome and, but for numbers, the same message.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) outcome: Outcome,
    /// The message with `#` in the place of each number.
    pub(crate) message: String,
    pub(crate) count: u64,
    pub(crate) first_at: SystemTime,
    pub(crate) last_at: SystemTime,
    /// The last of the failures, with its message.
    pub(crate) last: (TaskId, Arc<str>),
    pub(crate) panicked_at: Option<Arc<str>>,
}

impl Groups {
    pub(crate) fn add(
        &mut self,
        id: TaskId,
        outcome: Outcome,
        message: &Arc<str>,
        panicked_at: Option<&Arc<str>>,
        at: SystemTime,
    ) {
        let pattern = pattern(message);
        let found = self
            .kept
            .iter()
            .position(|group| group.outcome == outcome && group.message == pattern);
        let mut group = match found {
            Some(index) => self.kept.remove(index),
            None => Group {
                outcome,
                message: pattern,
                count: 0,
                first_at: at,
                last_at: at,
                last: (id, message.clone()),
                panicked_at: None,
            },
        };
        group.count += 1;
        group.last_at = at;
        group.last = (id, message.clone());
        group.panicked_at = panicked_at.cloned();
        // What fails now matters more than what failed first.
        if self.kept.len() == GROUPS {
            self.others += self.kept.remove(0).count;
        }
        self.kept.push(group);
    }

    /// Returns the groups, the one that grew last first, and the number of failures in none of them.
    pub(crate) fn newest_first(&self) -> (Vec<Group>, u64) {
        (self.kept.iter().rev().cloned().collect(), self.others)
    }
}

/// Returns the beginning of a message with `#` in the place of each number, so that messages that differ in ids are the same.
fn pattern(message: &str) -> String {
    let mut pattern = String::new();
    let mut rest = message;
    for _ in 0..LENGTH {
        let Some(first) = rest.chars().next() else {
            break;
        };
        let length = number(rest);
        if length == 0 {
            pattern.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            pattern.push('#');
            rest = &rest[length..];
        }
    }
    pattern
}

/// Returns the length of the number that a text begins with: decimal digits, or a longer hexadecimal word such as a UUID.
fn number(text: &str) -> usize {
    let length = |is_part: fn(char) -> bool| text.find(|one| !is_part(one)).unwrap_or(text.len());
    let hex = length(|one| one.is_ascii_hexdigit() || one == '-');
    let word = &text[..hex];
    if hex >= HEX && word.contains(|one: char| one.is_ascii_digit()) && !word.starts_with('-') {
        return word.trim_end_matches('-').len();
    }
    length(|one| one.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn add(groups: &mut Groups, id: u64, message: &str) {
        let at = UNIX_EPOCH + Duration::from_secs(id);
        groups.add(TaskId(id), Outcome::Failed, &message.into(), None, at);
    }

    #[test]
    fn messages_that_differ_in_numbers_are_one_group() {
        for (message, expected) in [
            ("", ""),
            ("order 1742: 503", "order #: #"),
            ("(after 3 attempts)", "(after # attempts)"),
            (
                "no user 6f9619ff-8b86-d011-b42d-00c04fc964ff here",
                "no user # here",
            ),
            // Words of few or no digits stay words.
            ("a decade of faded facade", "a decade of faded facade"),
            ("-12 °C, ünïcode", "-# °C, ünïcode"),
        ] {
            assert_eq!(pattern(message), expected, "{message}");
        }
        assert_eq!(pattern(&"ü".repeat(5_000)), "ü".repeat(LENGTH));
    }

    #[test]
    fn a_group_counts_and_keeps_its_last_failure() {
        let mut groups = Groups::default();
        add(&mut groups, 1, "order 1: no paper");
        add(&mut groups, 2, "no ink");
        add(&mut groups, 3, "order 3: no paper");
        let (kept, others) = groups.newest_first();
        assert_eq!(others, 0);
        let shown: Vec<_> = kept
            .iter()
            .map(|group| (group.count, &*group.message, &*group.last.1))
            .collect();
        assert_eq!(
            shown,
            [
                (2, "order #: no paper", "order 3: no paper"),
                (1, "no ink", "no ink")
            ]
        );
        assert_eq!(kept[0].first_at, UNIX_EPOCH + Duration::from_secs(1));
        assert_eq!(kept[0].last_at, UNIX_EPOCH + Duration::from_secs(3));
    }

    #[test]
    fn the_number_of_groups_is_bounded_and_nothing_is_uncounted() {
        let mut groups = Groups::default();
        for id in 0..300 {
            add(&mut groups, id, &"x".repeat(1 + id as usize / 2));
        }
        let (kept, others) = groups.newest_first();
        assert_eq!(kept.len(), GROUPS);
        // All beyond the longest that is told apart are the same.
        assert_eq!(kept[0].message.len(), 150);
        let count: u64 = kept.iter().map(|group| group.count).sum();
        assert_eq!(count + others, 300);
    }
}
