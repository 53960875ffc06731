//! The database that is meant, by the argument or the environment. Must never know a command.

use bgtask_durable::{Builder, Jobs, OpenError, builder};

#[derive(Debug)]
pub(crate) struct Connector {
    url: Option<String>,
}

impl Connector {
    pub(crate) fn new(url: Option<String>) -> Self {
        Self { url }
    }

    /// Returns the settings: without the argument, those of the environment.
    pub(crate) fn builder(&self) -> Builder {
        match &self.url {
            Some(url) => builder().url(url),
            None => builder(),
        }
    }

    /// Opens the database without making anything in it, and without becoming a worker.
    pub(crate) async fn open(&self) -> Result<Jobs, OpenError> {
        // One command asks one thing after another.
        self.builder().connections(2).operate().await
    }
}
