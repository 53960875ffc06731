//! The durable jobs in the dashboard of bgtask: what is wrong, every job with its attempts, queues, workers and schedules, and the actions
//! by which people put it right.
//!
//! ```no_run
//! use bgtask::dashboard::Rights;
//!
//! #[bgtask::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let jobs = bgtask_durable::open().await?;
//!     bgtask::dashboard::builder()
//!         .sections(bgtask_durable::dashboard::sections(jobs))
//!         .local_rights(Rights::Operate) // whoever is on this machine; by default, nobody may act
//!         .serve("127.0.0.1:9090")?;
//!     // …
//!     Ok(())
//! }
//! ```
//!
//! The dashboard checks each request before a page or an action gets it: see [its access rules](bgtask::dashboard#access). [Rights] say what
//! its sender may do: `View` shows the pages, `Operate` may also retry, cancel, edit, pause, resume, and run a schedule now, and `Admin`
//! may delete. Each action is recorded with its actor, before it is done and with its result. No action changes which code runs, or with which arguments.
//!
//! The pages go by indexes, and count up to 10,000, so that they are usable with a million jobs. An open page is read again every two
//! seconds; nothing is read while no page is open. [docs/dashboard.md] describes each page.
//!
//! [Rights]: bgtask::dashboard::Rights
//! [docs/dashboard.md]: https://github.com/bgtask/bgtask/blob/main/docs/dashboard.md
// Owns what the pages and actions have in common; must never know a statement.

mod actions;
mod html;
mod pages;
mod search;
mod token;

use crate::Jobs;
use crate::backend;
use crate::inspected::Inspected;
use bgtask::dashboard::{Act, Action, Answer, Section, Sections, Shown, Visit};
use pages::{Context, Failure};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use token::Key;

/// Returns the pages of these jobs, for [`Builder::sections`](bgtask::dashboard::Builder::sections). They hide arguments and outputs.
pub fn sections(jobs: Jobs) -> JobSections {
    JobSections {
        jobs,
        rule: None,
        key: Key::default(),
    }
}

/// What is shown of an argument or an output: its function and its value, and `None` for nothing.
type Rule = Arc<dyn Fn(&str, Value) -> Option<Value> + Send + Sync>;

/// The pages of durable jobs; see [`sections`].
#[must_use = "the pages are those of a dashboard: pass them to its `sections`"]
pub struct JobSections {
    jobs: Jobs,
    rule: Option<Rule>,
    key: Key,
}

impl JobSections {
    /// Shows the arguments and the output of each job, as far as a rule lets them through: it gets the name of the function and the
    /// value, and returns what is shown of it. Default: hidden.
    ///
    /// # Examples
    /// ```no_run
    /// # fn pages(jobs: bgtask_durable::Jobs) -> bgtask_durable::dashboard::JobSections {
    /// bgtask_durable::dashboard::sections(jobs).show_values(|function, mut value| {
    ///     if function.starts_with("payments::") {
    ///         return None;
    ///     }
    ///     if let Some(email) = value.get_mut("email") {
    ///         *email = "…".into();
    ///     }
    ///     Some(value)
    /// })
    /// # }
    /// ```
    ///
    /// # Panics
    /// A panic of the rule closes the connection, and nothing is shown.
    pub fn show_values(
        mut self,
        rule: impl Fn(&str, Value) -> Option<Value> + Send + Sync + 'static,
    ) -> Self {
        self.rule = Some(Arc::new(rule));
        self
    }

    fn database(&self) -> Result<Inspected, String> {
        let database = backend::of(self.jobs.store()).and_then(|store| store.inspected());
        database.ok_or_else(|| "These jobs have no pages: the pages are those of a store that `open()` has opened, and not of a test or of `operate()`.".to_owned())
    }
}

impl fmt::Debug for JobSections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobSections")
            .field("shows_values", &self.rule.is_some())
            .finish_non_exhaustive()
    }
}

impl Sections for JobSections {
    fn pages(&self) -> &[Section] {
        &pages::ALL
    }

    fn actions(&self) -> &[Action] {
        &actions::ALL
    }

    fn show(&self, visit: Visit) -> Answer<'_, Shown> {
        Box::pin(async move {
            let shown = async {
                let context = Context {
                    database: self.database().map_err(Failure::Unavailable)?,
                    now: html::now(),
                    rule: self.rule.as_deref(),
                    visit: &visit,
                };
                pages::show(&context).await
            };
            match shown.await {
                Ok((title, html)) => Shown::Page {
                    title,
                    body: html.finish(),
                },
                Err(Failure::NotFound) => Shown::NotFound,
                Err(Failure::Wrong(reason)) => Shown::Wrong(reason),
                Err(Failure::Unavailable(reason)) => Shown::Unavailable(reason),
            }
        })
    }

    fn act(&self, act: Act) -> Answer<'_, Result<String, String>> {
        Box::pin(async move {
            let database = self.database()?;
            let jobs = self.jobs.clone();
            // A client that goes away does not leave half of it undone, nor the audit without a result.
            let done = tokio::spawn(async move { actions::act(&jobs, &database, &act).await });
            done.await
                .unwrap_or_else(|_| Err("The process is shutting down.".to_owned()))
        })
    }

    fn token(&self, actor: String) -> Answer<'_, Result<String, String>> {
        Box::pin(async move { self.key.token(&self.database()?, &actor).await })
    }

    fn is_token(&self, actor: String, token: String) -> Answer<'_, bool> {
        Box::pin(async move {
            match self.database() {
                Ok(database) => self.key.is_token(&database, &actor, &token).await,
                Err(_) => false,
            }
        })
    }
}
