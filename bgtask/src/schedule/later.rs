//! `after` and `at`: calls that wait in memory for their time, each in a task of the runtime that is no call yet.
//! Owns that wait, and the handle. The call itself is an ordinary one.

use super::wall::{LONGEST_NAP, Wall};
use crate::call::handle::TaskHandle;
use crate::context;
use crate::policy::{Place, WallClock};
use crate::report::ScheduledCall;
use crate::tracker::Tracker;
use crate::tracker::shared::Shared;
use crate::tracker::shutdown_state::CENTURY;
use crate::util::log::report;
use crate::util::panic::catch;
use crate::util::spawn::spawn;
use crate::util::sync::unmodelled::Mutex;
use crate::util::text::Excerpt;
use crate::{RefusedReason, TaskError};
use std::any::type_name;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// Makes a call once `delay` has passed. Until then it waits in memory.
///
/// The call is not accepted before its time: [`idle`](crate::idle()) and a shutdown do not wait for it. When draining begins, a call
/// that still waits is dropped: its handle returns [`TaskError::Cancelled`], and the log and the
/// [`ShutdownReport`](crate::ShutdownReport) name it. Calls that must survive the process are those of `durable` functions, with
/// their `.after(…)`.
///
/// `call` runs on a worker of the manager's runtime, so it should only make the call. The call belongs to no group and has no parent
/// span. The delay follows the clock of `tokio::time`, which a test may pause, and needs the runtime's timer.
///
/// # Examples
///
/// ```
/// # use std::time::Duration;
/// #[bgtask::background]
/// async fn remind(user: u64) { /* … */ }
///
/// #[bgtask::main]
/// async fn main() {
///     bgtask::after(Duration::from_secs(3600), || remind(7));              // continues by itself
///     let reminder = bgtask::after(Duration::from_millis(1), || remind(8));
///     assert_eq!(reminder.await, Ok(()));                                 // the outcome of the call
///     let reminder = bgtask::after(Duration::from_secs(60), || remind(9));
///     reminder.cancel();                                                  // it is never made
/// }
/// ```
///
/// # Panics
///
/// Panics if no manager can be found.
#[track_caller]
pub fn after<T, F>(delay: Duration, call: F) -> ScheduledHandle<T>
where
    T: Send + 'static,
    F: FnOnce() -> TaskHandle<T> + Send + 'static,
{
    let manager = context::current("after()");
    let shared = manager
        .as_ref()
        .map_or_else(|gone| gone, |tracker| &tracker.shared);
    let (start, wall) = {
        // The clock of the manager's runtime, whatever runtime this is called on.
        let _entered = shared.runtime.enter();
        (Instant::now(), shared.policies.wall_clock.now())
    };
    let time = Time::Tokio(start.checked_add(delay).unwrap_or_else(|| start + CENTURY));
    let due = wall.checked_add(delay).unwrap_or(wall + CENTURY);
    schedule(manager, time, due, Location::caller(), call)
}

/// Makes a call at a time of the wall clock, or at once if that time has passed. Otherwise as [`after`].
///
/// If the clock is set forward or back, or the machine sleeps, the call is at most 30 s late. In a test, the time is that of
/// [`testing::set_now`](crate::testing::set_now), or the machine's plus the time by which the test has advanced `tokio::time`.
///
/// # Examples
///
/// ```
/// # use std::time::{Duration, SystemTime};
/// #[bgtask::background]
/// async fn close_auction(id: u64) { /* … */ }
///
/// #[bgtask::main]
/// async fn main() {
///     let end = SystemTime::now() + Duration::from_secs(24 * 3600);
///     let _scheduled = bgtask::at(end, || close_auction(7));
///     assert_eq!(bgtask::snapshot().scheduled[0].due, end);
/// }
/// ```
///
/// # Panics
///
/// Panics if no manager can be found.
#[track_caller]
pub fn at<T, F>(time: SystemTime, call: F) -> ScheduledHandle<T>
where
    T: Send + 'static,
    F: FnOnce() -> TaskHandle<T> + Send + 'static,
{
    let manager = context::current("at()");
    schedule(manager, Time::Wall(time), time, Location::caller(), call)
}

/// A handle to a call that is made later; see [`after`].
///
/// Await it for the outcome of the call, or drop it: the call is made all the same.
///
/// # Cancel safety
/// Awaiting `&mut handle` in a `select!` loses nothing when another branch wins.
pub struct ScheduledHandle<T> {
    /// Locked for a look or a change, never while user code runs.
    state: Mutex<State<T>>,
    waits: Option<Waits>,
}

enum State<T> {
    Waiting(oneshot::Receiver<Result<TaskHandle<T>, TaskError>>),
    Called(TaskHandle<T>),
    Ended(Option<TaskError>),
}

/// The place of a call in its manager's list, and what wakes its task.
struct Waits {
    shared: Arc<Shared>,
    place: Place,
    cancelled: CancellationToken,
}

impl<T> ScheduledHandle<T> {
    /// Cancels the call: one whose time has not come is never made, and its handle returns [`TaskError::Cancelled`]; one that has been
    /// made is cancelled as with [`TaskHandle::cancel`].
    pub fn cancel(&self) {
        if let Some(waits) = &self.waits {
            // The task drops the call, or cancels it if it is making it at this moment.
            waits.shared.policies.later.take(waits.place);
            waits.cancelled.cancel();
        }
        let mut state = self.state.lock();
        state.advance();
        if let State::Called(handle) = &*state {
            handle.cancel();
        }
    }

    /// Returns whether the time of the call has not come yet.
    #[must_use]
    pub fn is_scheduled(&self) -> bool {
        let mut state = self.state.lock();
        state.advance();
        matches!(*state, State::Waiting(_))
    }
}

impl<T> State<T> {
    /// Takes the handle of the call, if the call has been made.
    fn advance(&mut self) {
        if let State::Waiting(made) = self
            && let Ok(made) = made.try_recv()
        {
            *self = Self::from_made(made);
        }
    }

    fn from_made(made: Result<TaskHandle<T>, TaskError>) -> Self {
        match made {
            Ok(handle) => State::Called(handle),
            Err(error) => State::Ended(Some(error)),
        }
    }
}

impl<T: 'static> Future for ScheduledHandle<T> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Held for the poll: a handle is polled by one task, and `cancel` takes a moment.
        let mut state = self.state.lock();
        loop {
            match &mut *state {
                State::Waiting(made) => match Pin::new(made).poll(cx) {
                    Poll::Ready(made) => {
                        // The runtime has dropped the task.
                        let made = made.unwrap_or(Err(TaskError::Cancelled));
                        *state = State::from_made(made);
                    }
                    Poll::Pending => return Poll::Pending,
                },
                State::Called(handle) => return Pin::new(handle).poll(cx),
                State::Ended(error) => {
                    let error = error.take();
                    return Poll::Ready(Err(error.expect("polled after it has ended")));
                }
            }
        }
    }
}

impl<T> fmt::Debug for ScheduledHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScheduledHandle")
            .field("is_scheduled", &self.is_scheduled())
            .finish_non_exhaustive()
    }
}

/// When a call is made.
#[derive(Clone, Copy)]
enum Time {
    Tokio(Instant),
    Wall(SystemTime),
}

fn schedule<T, F>(
    manager: Result<Arc<Tracker>, Arc<Shared>>,
    time: Time,
    due: SystemTime,
    called_at: &'static Location<'static>,
    call: F,
) -> ScheduledHandle<T>
where
    T: Send + 'static,
    F: FnOnce() -> TaskHandle<T> + Send + 'static,
{
    let scheduled = ScheduledCall {
        name: path_of::<F>(),
        due,
        called_at,
    };
    let added = manager.ok().and_then(|tracker| {
        let place = tracker.shared.policies.later.add(scheduled.clone())?;
        Some((tracker, place))
    });
    let Some((tracker, place)) = added else {
        report!(warn, "scheduled call refused: the manager is draining or has shut down"; name = scheduled.name,
            called_at = called_at);
        let refused = TaskError::Refused(RefusedReason::ShutDown);
        return ScheduledHandle {
            state: Mutex::new(State::Ended(Some(refused))),
            waits: None,
        };
    };
    let (sender, made) = oneshot::channel();
    let shared = tracker.shared.clone();
    let cancelled = CancellationToken::new();
    let task = Scheduled {
        listed: Listed(shared.clone(), place),
        tracker,
        cancelled: cancelled.clone(),
        scheduled,
    };
    // The future is boxed: without that, each caller's closure would get a copy of the wait.
    let make = Box::new(move || {
        let handle = call();
        Box::new(handle)
    });
    spawn(&shared.runtime, "bgtask: scheduled call", async move {
        let made = task.run(time, make).await;
        // Without a receiver the handle of the call is dropped, as by a caller that lets it go on.
        drop(sender.send(made.map(|handle| *handle)));
    });
    ScheduledHandle {
        state: Mutex::new(State::Waiting(made)),
        waits: Some(Waits {
            shared,
            place,
            cancelled,
        }),
    }
}

/// Returns the path of a function, or of the code around a closure.
fn path_of<F>() -> &'static str {
    let path = type_name::<F>();
    path.split("::{{closure}}").next().unwrap_or(path)
}

/// Removes a call from its manager's list when dropped, however its wait ends.
struct Listed(Arc<Shared>, Place);

impl Drop for Listed {
    fn drop(&mut self) {
        self.0.policies.later.take(self.1);
    }
}

/// A call that waits for its time.
struct Scheduled {
    listed: Listed,
    tracker: Arc<Tracker>,
    cancelled: CancellationToken,
    scheduled: ScheduledCall,
}

impl Scheduled {
    /// Waits, and makes the call.
    async fn run<T>(
        self,
        time: Time,
        call: Box<dyn FnOnce() -> Box<TaskHandle<T>> + Send>,
    ) -> Result<Box<TaskHandle<T>>, TaskError> {
        let shared = &self.tracker.shared;
        let comes = wait_for(time, shared.policies.wall_clock.clone());
        let draining = &shared.shutdown.draining;
        let is_time = {
            let mut comes = pin!(self.cancelled.run_until_cancelled(comes));
            draining.run_until_cancelled(comes.as_mut()).await
        };
        // The shutdown, or `cancel`, may have taken the call at the same moment.
        let is_taken = shared.policies.later.take(self.listed.1);
        if is_time.flatten().is_none() || !is_taken {
            return Err(TaskError::Cancelled);
        }
        // A call finds its manager by the thread it is made on.
        let mut before = context::enter(self.tracker.clone());
        let made = catch(call);
        context::leave(&mut before);
        match made {
            Ok(handle) => {
                if self.cancelled.is_cancelled() {
                    handle.cancel();
                }
                Ok(handle)
            }
            Err(caught) => {
                report!(error, "scheduled call panicked before it was made"; name = self.scheduled.name,
                    called_at = self.scheduled.called_at, panic = Excerpt(&caught.message));
                Err(TaskError::Panicked {
                    message: caught.message,
                    location: caught.location,
                })
            }
        }
    }
}

async fn wait_for(time: Time, clock: Arc<WallClock>) {
    match time {
        Time::Tokio(instant) => sleep_until(instant).await,
        Time::Wall(time) => {
            let wall = Wall::new(clock);
            while let Ok(left) = time.duration_since(wall.now())
                && !left.is_zero()
            {
                sleep(left.min(LONGEST_NAP)).await;
            }
        }
    }
}
