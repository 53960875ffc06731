//! The body of a call without policies whose manager wraps attempts: the wrappers around the function's own body.
//! Owns when that body is polled; knows nothing of policies, which wrap each attempt by themselves.

use crate::TaskError;
use crate::handler::{Kind, Log};
use crate::stats::Outcome;
use crate::task::attempt::{About, Wrapper, around};
use crate::task::{Body, BodyFailure, BoxedTask, PolicyEnd, Task};
use crate::util::block_on::block_on;
use crate::util::log::report;
use crate::util::sync::unmodelled::Mutex;
use std::any::Any;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};

/// The wrappers with the function's body, and then that body's output.
struct WrappedBody {
    /// Absent once it has ended.
    future: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// The function's body, from its end on.
    ended: Arc<Mutex<Option<EndedBody>>>,
    output: Option<BoxedTask>,
    needs_owner: bool,
    about: Arc<About>,
}

struct EndedBody {
    body: BoxedTask,
    failure: Option<Box<BodyFailure>>,
}

/// Puts the wrappers around the body of a task. The task keeps its notes.
#[cold]
pub(super) fn wrap(about: Arc<About>, wrappers: Vec<Wrapper>, mut task: BoxedTask) -> BoxedTask {
    let notes = std::mem::take(task.as_mut().notes());
    let ended = Arc::new(Mutex::new(None));
    let needs_owner = task.needs_owner();
    let into = ended.clone();
    let body = async move {
        let failure = poll_fn(|cx| task.as_mut().parts().1.poll(cx)).await;
        let outcome = match failure {
            None => Outcome::Succeeded,
            Some(_) => Outcome::Failed,
        };
        // Held for the store.
        *into.lock() = Some(EndedBody {
            body: task,
            failure,
        });
        outcome
    };
    let mut wrapped = Task::with_body(WrappedBody {
        future: Some(around(about.clone(), wrappers.into_iter(), body)),
        ended,
        output: None,
        needs_owner,
        about,
    });
    *wrapped.as_mut().notes() = notes;
    wrapped
}

impl Body for WrappedBody {
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Option<Box<BodyFailure>>> {
        if self.about.handler.kind() == Kind::Blocking {
            // On a thread of the blocking pool, which waits for the wrappers too.
            if let Some(future) = self.future.take() {
                block_on(future);
            }
        } else {
            let Some(future) = &mut self.future else {
                // Polled after its end, which no runner does.
                return Poll::Pending;
            };
            ready!(future.as_mut().poll(cx));
            self.future = None;
        }
        // Held to take the body.
        let ended = self.ended.lock().take();
        Poll::Ready(match ended {
            Some(EndedBody { body, failure }) => {
                self.output = Some(body);
                failure
            }
            None => {
                report_unfinished(&self.about);
                Some(Box::new(BodyFailure::Ended(PolicyEnd {
                    error: TaskError::Cancelled,
                    attempts: 1,
                    gave_up: false,
                    note: None,
                })))
            }
        })
    }

    fn needs_owner(&self) -> bool {
        self.needs_owner
    }

    fn clear(mut self: Pin<&mut Self>) {
        self.future = None;
        self.output = None;
        let ended = self.ended.lock().take();
        drop(ended);
    }

    fn take(mut self: Pin<&mut Self>, into: &mut dyn Any) {
        if let Some(output) = &mut self.output {
            output.as_mut().parts().1.take(into);
        }
    }
}

/// Logs that the code around an attempt has returned although the body had not ended.
#[cold]
pub(super) fn report_unfinished(about: &About) {
    let About {
        handler,
        id,
        called_at,
        fields,
        ..
    } = about;
    if handler.log() != Log::Off {
        report!(error, "task cancelled: the code that wraps it returned before its body had ended"; name = handler.name(),
            id: id.as_u64(), called_at = called_at, fields + fields);
    }
}
