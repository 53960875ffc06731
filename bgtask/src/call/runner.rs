//! The runtime's tasks that run `async` calls: one per slot, or one per call.
//! Owns when such a task waits for the slot's next call and when it ends; a call itself belongs to `supervise`.

use crate::call::supervise::Supervised;
use crate::tracker::task_ref::TaskRef;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};

/// A pooled task of the runtime that runs the `async` calls of one slot, one after another.
///
/// Creating and ending a task of the runtime costs more than all the rest of a call, so the slot keeps its task. Each call has it
/// to itself.
#[derive(Debug)]
pub(crate) struct SlotRunner(Supervised);

impl SlotRunner {
    /// Creates a runner for the slot of a call that has been launched.
    pub(crate) fn new(task_ref: TaskRef) -> Self {
        Self(Supervised::to_be_started(task_ref))
    }
}

impl Future for SlotRunner {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let this = &mut self.0;
        let is_first = this.task.is_none();
        if is_first {
            let Some(task_ref) = &mut this.task_ref else {
                return Poll::Ready(());
            };
            let Some((task, handler)) = task_ref.start_next(Some(cx.waker())) else {
                // Woken by a waker that an earlier call has left somewhere, or because the gate has closed.
                if !task_ref.shared().gate.is_closed() {
                    return Poll::Pending;
                }
                // Leave here and not in the drop, which takes itself for the end of the runtime.
                self.leave();
                return Poll::Ready(());
            };
            this.task = Some(task);
            this.begin(handler);
        }
        let outcome = ready!(this.poll(cx, is_first));
        let stays = this.task_ref().keeps_runner();
        if !stays {
            // Before the call ends: after that, the slot may belong to the next one.
            this.task_ref().dismiss_runner();
        }
        this.end(outcome);
        if stays {
            return Poll::Pending;
        }
        this.task_ref = None;
        Poll::Ready(())
    }
}

impl SlotRunner {
    /// Ends the call that it runs, or the one that waits for it, if there is one.
    fn leave(&mut self) {
        let Supervised { task_ref, task } = &mut self.0;
        if let Some(task_ref) = task_ref {
            match task {
                Some(_) => task_ref.dismiss_runner(),
                None => *task = task_ref.start_next(None).map(|(task, _)| task),
            }
            self.0.abort();
        }
    }
}

impl Drop for SlotRunner {
    /// The runtime drops a runner that has not left.
    fn drop(&mut self) {
        if let Some(task_ref) = &self.0.task_ref {
            task_ref.shared().runtime_ends();
        }
        self.leave();
    }
}

/// A task of the runtime for one `async` call. Under a dispatcher, each call is dispatched by itself and no runner is kept.
#[derive(Debug)]
pub(crate) struct SingleRunner(Supervised);

impl SingleRunner {
    pub(crate) fn new(call: Supervised) -> Self {
        Self(call)
    }
}

impl Future for SingleRunner {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let this = &mut self.0;
        let is_first = this.task.is_none();
        if is_first {
            let Some(task_ref) = &this.task_ref else {
                return Poll::Ready(());
            };
            let Some(task) = task_ref.start_alone(cx.waker()) else {
                // Aborted before it began. The slot may belong to another call by now.
                this.task_ref = None;
                return Poll::Ready(());
            };
            this.task = Some(task);
            let handler = this.call_info().handler;
            this.notify_dispatcher();
            this.begin(handler);
        }
        let outcome = ready!(this.poll(cx, is_first));
        // Before the call ends: after that, the slot may belong to the next one.
        this.task_ref().dismiss_runner();
        this.end(outcome);
        this.task_ref = None;
        Poll::Ready(())
    }
}

impl Drop for SingleRunner {
    /// The runtime drops it with a call that runs or has not begun.
    fn drop(&mut self) {
        if let Supervised {
            task_ref: Some(task_ref),
            task: Some(_),
        } = &self.0
        {
            task_ref.dismiss_runner();
        }
    }
}
