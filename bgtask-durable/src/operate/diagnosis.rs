//! The tables of a store, and the database around them, as an operator examines them. Plain data.
//! Must never know a statement.

use serde::Serialize;
use std::collections::BTreeMap;

/// A database and the tables of a store in it; see [`Builder::diagnose`](crate::Builder::diagnose).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The name of the database, without a password.
    pub database: String,
    /// The version of the engine's tables. `None` if there are none.
    pub version: Option<i64>,
    /// The version that this program needs.
    pub known_version: i64,
    /// The tables, columns and indexes of the store that are not there.
    pub missing: Vec<String>,
    /// The triggers that are not there, are disabled, or are those of another version.
    pub triggers: Vec<String>,
    /// The clock of this machine minus that of the database, in seconds.
    pub clock_ahead_seconds: f64,
    /// By how much that may be wrong, in seconds: the time of the question.
    pub clock_error_seconds: f64,
    /// Whether a pooler lends its sessions to the store, such as PgBouncer in transaction mode.
    pub is_pooled: bool,
    /// The most connections of the pool that this process would have by its settings.
    pub connections: u32,
    /// Settings of the database: `version`, and for SQLite `journal_mode`, `synchronous` and `page_count`, for Postgres
    /// `synchronous_commit`, `max_connections`, `superuser_reserved_connections`, `connections` and `is_in_recovery`.
    pub settings: BTreeMap<String, String>,
}

impl Diagnosis {
    /// Returns whether the tables are those of a newer version, which this program must not use.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        self.version
            .is_some_and(|version| version > self.known_version)
    }

    /// Returns whether the tables lack something that this program needs.
    #[must_use]
    pub fn is_older(&self) -> bool {
        self.version
            .is_none_or(|version| version < self.known_version)
            || !self.missing.is_empty()
    }
}

/// The result of [`Builder::migrate`](crate::Builder::migrate).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Migrated {
    /// The version of the engine's tables before. `None` if there were none.
    pub before: Option<i64>,
    /// Their version now.
    pub now: i64,
    /// Whether anything was made or changed.
    pub has_changed: bool,
}

impl Migrated {
    pub(crate) fn new(before: Option<i64>, now: i64, has_changed: bool) -> Self {
        Self {
            before,
            now,
            has_changed,
        }
    }
}

/// Returns the names whose text was not found, or another one.
pub(crate) fn missing_or_other(wanted: &[(&str, &str)], found: &[(String, String)]) -> Vec<String> {
    let is_there = |(name, text): &&(&str, &str)| {
        !found
            .iter()
            .any(|(found, has)| found == name && has == text)
    };
    let lacking = wanted.iter().filter(is_there);
    lacking.map(|(name, _)| (*name).to_owned()).collect()
}
