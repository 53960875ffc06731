//! Why a command did not do what it was asked for, and the exit code that says so. Must never know a command.

use crate::table::escaped;
use bgtask::durable::JobError;
use bgtask_durable::OpenError;
use std::io::{self, Write as _};
use std::process::ExitCode;

#[derive(Debug)]
pub(crate) enum Failure {
    /// Something did not work.
    Failed(String),
    /// There was nothing to do it to. The text is empty if the output says so.
    Nothing(String),
    /// `doctor` has found problems, and has shown them.
    Problems,
}

impl Failure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Failed(_) | Self::Problems => 1,
            // 2 is that of wrong usage.
            Self::Nothing(_) => 3,
        })
    }

    /// Writes it for people, to the standard error.
    pub(crate) fn report(&self) {
        match self {
            Self::Failed(text) | Self::Nothing(text) if !text.is_empty() => {
                // Without a standard error, the exit code is what there is.
                let _ = writeln!(io::stderr(), "bgtask: {}", escaped(text));
            }
            _ => {}
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<JobError> for Failure {
    fn from(error: JobError) -> Self {
        match error {
            JobError::NotFound | JobError::Gone => Self::Nothing(error.to_string()),
            JobError::Store { message, .. } => Self::Failed(format!(
                "the database returned an error: {message}; `bgtask doctor` examines it"
            )),
            error => Self::Failed(error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Failed(format!(
            "the output could not be written: {error}; make room, or write it elsewhere"
        ))
    }
}
