//! A ticket for one job, as its holder has it. Must never know how a ticket is signed or checked.

use serde::{Serialize, Serializer};
use std::fmt;

/// The right to see one job for a time, as a text for a URL: who has it needs nothing else. See
/// [`JobHandle::ticket`](super::JobHandle::ticket).
///
/// `Display` and serde show the text; `Debug` does not, because a log is read by others.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket(String);

impl Ticket {
    /// Returns the ticket with this text, for a store.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the text: letters, digits, `-` and `_`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(…)")
    }
}

impl Serialize for Ticket {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
