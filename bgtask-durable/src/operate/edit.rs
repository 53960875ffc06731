//! The changes that an operator makes to a waiting job. Plain data.
//! Must never know a database.

use bgtask::durable::JobError;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The end of the year 9999, which both databases can store.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// The changes of a job that waits; see [`Jobs::edit`](crate::Jobs::edit). What is not set stays as it is.
///
/// # Examples
/// ```
/// use bgtask_durable::Edit;
///
/// let urgent = Edit::new().priority(1);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "it changes nothing until it is passed to `edit`"]
pub struct Edit {
    pub(crate) priority: Option<u8>,
    pub(crate) at: Option<SystemTime>,
}

impl Edit {
    /// Changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the priority: 1 runs first, 4 last.
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Sets when the job may run. A time that has passed makes it available at once.
    pub fn at(mut self, time: SystemTime) -> Self {
        self.at = Some(time);
        self
    }

    pub(crate) fn check(&self) -> Result<(), JobError> {
        if let Some(priority) = self.priority.filter(|priority| !(1..=4).contains(priority)) {
            return Err(JobError::store(format!(
                "the priority {priority} is not one of 1, which runs first, to 4, which runs last"
            )));
        }
        let since = self.at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        if since.is_some_and(|since| since > LAST) {
            return Err(JobError::store(
                "the time is after the year 9999".to_owned(),
            ));
        }
        Ok(())
    }
}
