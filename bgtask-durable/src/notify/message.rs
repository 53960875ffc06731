//! What a client is sent: the messages about a job, and why it is refused, each as JSON. Must never know a connection.

use super::limits::Full;
use crate::engine::Shown;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bgtask::durable::{JobError, JobEvent};
use serde::Serialize;
use serde_json::value::RawValue;

/// One state of a job. The value or the error is there at its end, for a ticket that includes it.
#[derive(Serialize)]
pub(super) struct Message<'a> {
    #[serde(flatten)]
    event: &'a JobEvent,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl<'a> Message<'a> {
    pub(super) fn new(shown: &'a Shown) -> Self {
        let ended = shown.ended.as_ref();
        Self {
            event: &shown.event,
            value: ended.and_then(|ended| ended.as_deref().ok()),
            error: ended.and_then(|ended| ended.as_ref().err().map(ToString::to_string)),
        }
    }

    pub(super) fn json(&self) -> String {
        // Its keys are texts, and a number that is none is `null` by then: it cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// None of our keys has signed the ticket: it is forged, cut off, or of another store.
    Ticket,
    /// Its time is over.
    Expired,
    /// The page is one of an origin that is not allowed.
    Origin,
    /// There has never been such a job.
    NotFound,
    /// The job was deleted, or its time in the database is over.
    Gone,
    /// Too many streams are open.
    Full(Full),
    /// `after` is not a version.
    After,
    /// The shutdown has been requested.
    Stopping,
    /// No store is open, or the database does not answer.
    Unavailable,
}

impl Refusal {
    /// Returns why a job cannot be shown.
    pub(super) fn of(error: &JobError) -> Self {
        match error {
            JobError::NotFound => Self::NotFound,
            JobError::Gone => Self::Gone,
            _ => Self::Unavailable,
        }
    }

    /// Whether it will be over, so that a client is to try again.
    pub(super) fn is_temporary(self) -> bool {
        matches!(self, Self::Full(_) | Self::Stopping | Self::Unavailable)
    }

    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Ticket => (
                StatusCode::FORBIDDEN,
                "ticket",
                "this is no ticket of this store: ask the page or program that gave it for a new one",
            ),
            Self::Expired => (
                StatusCode::GONE,
                "expired",
                "the ticket has expired: ask the page or program that gave it for a new one",
            ),
            Self::Origin => (
                StatusCode::FORBIDDEN,
                "origin",
                "pages of this origin may not read the job: allow it with `notify::builder().allow_origin(…)`",
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "there is no such job"),
            Self::Gone => (
                StatusCode::GONE,
                "gone",
                "the job has ended, and its time in the database is over",
            ),
            Self::Full(Full::Ticket) => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_of_ticket",
                "this ticket has as many streams open as it may: close one",
            ),
            Self::Full(Full::All) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many",
                "as many streams are open as may be: try again later",
            ),
            Self::After => (
                StatusCode::BAD_REQUEST,
                "after",
                "`after` is the version of the last message: a whole number",
            ),
            Self::Stopping => (
                StatusCode::SERVICE_UNAVAILABLE,
                "stopping",
                "the server is shutting down: try again",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "the job cannot be read at this moment: try again",
            ),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: &'static str,
            message: &'static str,
        }
        let (status, error, message) = self.parts();
        let mut response = (status, Json(Body { error, message })).into_response();
        if self.is_temporary() {
            let seconds = HeaderValue::from_static("2");
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}
