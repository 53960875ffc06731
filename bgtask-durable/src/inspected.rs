//! The way of the dashboard to the database: on the engine's thread, and for a bounded time. Must never know a page.

use crate::engine::{Database, Error};
use crate::worker::Shared;
use bgtask::durable::Ticks;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// How long a page waits for the database.
const LIMIT: Duration = Duration::from_secs(5);

/// The database of a store.
#[derive(Clone)]
pub(crate) struct Inspected {
    shared: Arc<Shared>,
    engine: Handle,
}

impl fmt::Debug for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspected").finish_non_exhaustive()
    }
}

impl Inspected {
    pub(crate) fn new(shared: Arc<Shared>, engine: Handle) -> Self {
        Self { shared, engine }
    }

    /// Asks something of the database. Returns why there is no answer as a text for people.
    pub(crate) async fn ask<T, F>(&self, what: impl FnOnce(Database) -> F) -> Result<T, String>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let asked = self.engine.spawn(what(self.shared.database.clone()));
        match timeout(LIMIT, asked).await {
            Ok(Ok(answer)) => {
                answer.map_err(|error| format!("The database returned an error: {error}"))
            }
            Ok(Err(_)) => Err("The store of this process is closed.".to_owned()),
            Err(_) => Err(format!("The database did not answer within {LIMIT:?}.")),
        }
    }

    /// Returns the id that no other database has.
    pub(crate) fn instance(&self) -> &str {
        self.shared.database.instance()
    }

    /// Returns whether this program has the function whose jobs are stored under this name.
    pub(crate) fn has_function(&self, name: &str) -> bool {
        self.shared.has_function(name)
    }

    /// Returns the schedules of this process.
    pub(crate) fn schedules(&self) -> Vec<Arc<Ticks>> {
        self.shared.schedules()
    }
}
