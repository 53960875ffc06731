//! The errors: why a task has no value, why a call was refused, why an installation failed.
//! Plain data; must never know how a task runs.

pub use crate::util::panic::SourceLocation;
use crate::util::text::Excerpt;
use std::error::Error;
use std::fmt;

/// Why a [`TaskHandle`](crate::TaskHandle) has no value.
///
/// An `Err` that the function itself returned is not among these: it is the value.
///
/// The `Display` is one line. It escapes and truncates messages; see [`set_text_limit`](crate::set_text_limit).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum TaskError {
    /// The body panicked. The panic was reported when it happened.
    #[non_exhaustive]
    Panicked {
        /// The panic's message, complete and not escaped. If the payload was not a string, a note states that.
        message: String,
        /// The location of the panic, or `None` if another panic hook has replaced bgtask's.
        location: Option<SourceLocation>,
    },
    /// The time limit passed: `timeout = "…"`.
    TimedOut,
    /// The task was dropped because its token fired: with `on_shutdown = "cancel"`, or while it waited for a policy.
    Cancelled,
    /// The task was dropped for another reason: [`TaskHandle::abort`](crate::TaskHandle::abort), the shutdown's deadline, the end
    /// of the runtime, or a plain function for which no thread could be spawned.
    Aborted,
    /// The call was refused, and its body never ran.
    Refused(RefusedReason),
    /// Another call with the same key was in flight, so this one did nothing: `coalesce(policy = "skip")`. Not a failure.
    Skipped,
    /// A later call with the same key replaced this one: `coalesce(policy = "replace")`. Not a failure.
    Replaced,
    /// The run that this call joined returned an `Err`. The error cannot be copied, and went to the call that started the run.
    #[non_exhaustive]
    LeaderFailed {
        /// The error's text, complete and not escaped.
        message: String,
    },
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskError::Panicked { message, location } => {
                let message = Excerpt(message);
                f.pad(&match location {
                    Some(location) => format!("the task panicked at {location}: {message}"),
                    None => format!("the task panicked: {message}"),
                })
            }
            TaskError::TimedOut => f.pad("the task timed out"),
            TaskError::Cancelled => f.pad("the task was cancelled"),
            TaskError::Aborted => f.pad("the task was aborted before it finished"),
            TaskError::Refused(reason) => f.pad(&format!("the call was refused: {reason}")),
            TaskError::Skipped => {
                f.pad("the call was skipped: another call with the same key was in flight")
            }
            TaskError::Replaced => f.pad("the task was replaced by a later call"),
            TaskError::LeaderFailed { message } => {
                let message = Excerpt(message);
                f.pad(&format!("the run that this call joined failed: {message}"))
            }
        }
    }
}

impl Error for TaskError {}

/// Why a call was refused, or dropped by a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum RefusedReason {
    /// The shutdown is over: all tasks have ended, or its deadline has passed.
    ShutDown,
    /// The call was made in a [`Group`](crate::Group) that is closed.
    GroupClosed,
    /// The wait queue is full: `concurrency(queue = …)`.
    QueueFull,
    /// A later call displaced this one from the wait queue: `concurrency(overflow = "drop_oldest")`.
    DroppedFromQueue,
    /// The rate limit was exceeded: `rate(overflow = "refuse")`.
    RateExceeded,
    /// No value was provided for a [`State`](crate::State) parameter of this type.
    MissingState(&'static str),
}

impl fmt::Display for RefusedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            RefusedReason::ShutDown => "the manager has shut down",
            RefusedReason::GroupClosed => "the group is closed",
            RefusedReason::QueueFull => "the wait queue is full",
            RefusedReason::DroppedFromQueue => "a later call displaced it from the wait queue",
            RefusedReason::RateExceeded => "the rate limit was exceeded",
            RefusedReason::MissingState(name) => {
                return f.pad(&format!(
                    "no value was provided for its `State<{name}>`: call `bgtask::provide(…)` first"
                ));
            }
        })
    }
}

/// Why a [`Manager`](crate::Manager) could not be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InstallError {
    /// [`install`](crate::ManagerBuilder::install) was called outside of a tokio runtime.
    NoRuntime,
    /// The runtime already has a manager. Two managers would each drain half of the work.
    AlreadyInstalled,
    /// An earlier call of a background function on this runtime has installed a manager, which a test kit cannot replace. Install
    /// the kit first.
    CalledBefore,
    /// The values of [`configure`](crate::ManagerBuilder::configure) do not fit the functions.
    Overrides(OverridesError),
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            InstallError::Overrides(error) => return error.fmt(f),
            InstallError::NoRuntime => {
                "there is no tokio runtime on this thread: call `install` inside one, or use `install_on(runtime.handle())`"
            }
            InstallError::AlreadyInstalled => {
                "this runtime already has a bgtask manager: install one manager per runtime"
            }
            InstallError::CalledBefore => {
                "a background function has already been called on this runtime: install the test kit first"
            }
        })
    }
}

impl Error for InstallError {}

/// What is wrong with [`Overrides`](crate::Overrides), which then have changed nothing. The `Display` has one line for each mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverridesError(pub(crate) Vec<String>);

impl OverridesError {
    /// Returns the mistakes, each a sentence without its full stop.
    pub fn mistakes(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for OverridesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.join("\n"))
    }
}

impl Error for OverridesError {}
