//! One attempt as the code around it sees it: what it is an attempt of, and a future that runs it.
//! Owns the order of the wrappers; must never know which calls are wrapped, or where they run.

use crate::fields::Fields;
use crate::handler::Handler;
use crate::stats::{Outcome, TaskId};
use crate::util::sync::unmodelled::RwLock;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{self, Poll};

/// One attempt of a task, as the code that wraps it receives it: a future that runs the attempt.
///
/// [`ManagerBuilder::wrap`](crate::ManagerBuilder::wrap) has the rules.
#[must_use = "an attempt does not run unless it is awaited, and its call is then cancelled"]
pub struct Attempt {
    about: Arc<About>,
    rest: BoxedAttempt<Outcome>,
}

type BoxedAttempt<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What is known of an attempt.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) handler: &'static Handler,
    pub(crate) id: TaskId,
    pub(crate) called_at: &'static Location<'static>,
    pub(crate) number: u32,
    pub(crate) fields: Fields,
    /// How the body ended, once it has.
    outcome: OnceLock<Outcome>,
}

impl Attempt {
    /// Returns the function.
    #[must_use]
    pub fn handler(&self) -> &'static Handler {
        self.about.handler
    }

    /// Returns the name of the function.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.about.handler.name()
    }

    /// Returns the id of the task.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.about.id
    }

    /// Returns the call site.
    #[must_use]
    pub fn called_at(&self) -> &'static Location<'static> {
        self.about.called_at
    }

    /// Returns the number of the attempt, starting at 1. Each attempt of a job is a task of its own, and the first attempt of that
    /// task.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.about.number
    }

    /// Returns the values that the option `fields` names.
    #[must_use]
    pub fn fields(&self) -> &Fields {
        &self.about.fields
    }
}

impl Future for Attempt {
    /// [`Outcome::Succeeded`], or [`Outcome::Failed`] if the body returned an `Err`. [`Outcome::Cancelled`] if a wrapper further in
    /// returned before the body had ended.
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Outcome> {
        self.rest.as_mut().poll(cx)
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("name", &self.name())
            .field("id", &self.id())
            .field("number", &self.number())
            .field("fields", self.fields())
            .finish_non_exhaustive()
    }
}

/// Code around an attempt.
pub(crate) type Wrapper = Arc<dyn Fn(Attempt) -> BoxedAttempt<()> + Send + Sync>;

/// Makes a wrapper of a function of the user's.
pub(crate) fn wrapper<F>(wrap: impl Fn(Attempt) -> F + Send + Sync + 'static) -> Wrapper
where
    F: Future<Output = ()> + Send + 'static,
{
    Arc::new(move |attempt| Box::pin(wrap(attempt)))
}

impl About {
    pub(crate) fn new(
        handler: &'static Handler,
        id: TaskId,
        called_at: &'static Location<'static>,
        number: u32,
        fields: Fields,
    ) -> Arc<Self> {
        Arc::new(Self {
            handler,
            id,
            called_at,
            number,
            fields,
            outcome: OnceLock::new(),
        })
    }
}

/// Returns the future of an attempt with all its wrappers. `body` returns how the user's body ended. No code of the user's runs before
/// the first poll.
pub(crate) fn around(
    about: Arc<About>,
    wrappers: impl DoubleEndedIterator<Item = Wrapper>,
    body: impl Future<Output = Outcome> + Send + 'static,
) -> BoxedAttempt<()> {
    let ended = about.clone();
    let mut all: BoxedAttempt<Outcome> = Box::pin(async move {
        let outcome = body.await;
        *ended.outcome.get_or_init(|| outcome)
    });
    for wrapper in wrappers.rev() {
        let about = about.clone();
        let rest = all;
        all = Box::pin(async move {
            let attempt = Attempt {
                about: about.clone(),
                rest,
            };
            wrapper(attempt).await;
            about.outcome.get().copied().unwrap_or(Outcome::Cancelled)
        });
    }
    Box::pin(async move {
        let _ = all.await;
    })
}

/// The wrappers of one manager, the outermost first. They may be added while tasks run.
#[derive(Default)]
pub(crate) struct Wrappers {
    /// Saves every call the lock while there are none.
    any: AtomicBool,
    all: RwLock<Vec<Wrapper>>,
}

impl fmt::Debug for Wrappers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrappers").finish_non_exhaustive()
    }
}

impl Wrappers {
    pub(crate) fn add(&self, more: impl IntoIterator<Item = Wrapper>) {
        let mut all = self.all.write();
        all.extend(more);
        // Relaxed: the flag publishes nothing, because the list is read under the lock. A call that begins concurrently may miss
        // the new wrapper.
        self.any.store(!all.is_empty(), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn any(&self) -> bool {
        // Relaxed: see `add`.
        self.any.load(Ordering::Relaxed)
    }

    /// Copies the list, so that no lock is held while a wrapper runs.
    pub(crate) fn all(&self) -> Vec<Wrapper> {
        self.all.read().clone()
    }
}
