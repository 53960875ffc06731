//! Durable calls of a test as it records them: the stored calls, and the dead jobs whose outcome nobody awaited.
//! Plain data; knows nothing of who records or reads it.

use super::failure::FailureKind;
use super::function::last_segment;
use crate::handler::Handler;
use crate::util::text::Indented;
use serde_json::Value;
use std::fmt;
use std::panic::Location;

/// A durable call that was stored.
#[derive(Clone)]
pub(super) struct StoredCall {
    pub(super) handler: &'static Handler,
    pub(super) called_at: &'static Location<'static>,
    pub(super) arguments: Value,
}

impl fmt::Display for StoredCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.arguments, self.called_at)
    }
}

/// A dead job whose outcome was not awaited.
pub(super) struct DeadJob {
    pub(super) kind: FailureKind,
    pub(super) handler: &'static Handler,
    pub(super) message: String,
}

impl fmt::Display for DeadJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, declaration) = match self.kind {
            FailureKind::Timeout => ("timed out", "expect_timeout"),
            _ => ("failed", "expect_error"),
        };
        let name = self.handler.name();
        write!(
            f,
            "a job of `{name}` is dead, and its outcome was not awaited: the last attempt {what}: {}\n      if this is intended: \
             await `outcome()`, or call `bgtask::testing::{declaration}(\"{}\")`",
            Indented(&self.message),
            last_segment(name)
        )
    }
}
