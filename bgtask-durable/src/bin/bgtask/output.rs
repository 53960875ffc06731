//! The output of a command: a text for people, or JSON for programs. Must never know what it shows.

use crate::failure::Failure;
use serde::Serialize;
use std::io::{self, ErrorKind, Write as _};

#[derive(Debug)]
pub(crate) struct Output {
    is_json: bool,
}

impl Output {
    pub(crate) fn new(is_json: bool) -> Self {
        Self { is_json }
    }

    /// Writes a value: as JSON, or as the text that is made of it.
    pub(crate) fn show<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let mut shown = if self.is_json {
            serde_json::to_string_pretty(value)
                .map_err(|error| Failure::Failed(format!("no JSON: {error}; leave `--json` out")))?
        } else {
            text()
        };
        if !shown.ends_with('\n') {
            shown.push('\n');
        }
        self.raw(shown.as_bytes())
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            // The reader has seen enough, such as `head`.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }
}
