//! The values of settings that are no numbers, and a value with its origin. Plain data.
//! Must never know a variable of the environment.

use std::fmt;

/// The work of a process on the jobs of its store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// It stores calls, and works: the default.
    #[default]
    Both,
    /// It stores calls, awaits outcomes and operates the jobs, and claims none: it needs no [`State`](bgtask::State) of a durable
    /// function, holds no lease, and never rescues jobs.
    Enqueue,
    /// It is a worker. A call that is made in it is stored, because a job may call another durable function. The store does not open
    /// if the process could work nothing: no durable function is linked into the program, or no queue is left to it.
    Work,
}

impl Role {
    /// Whether a process of this role claims jobs.
    pub(crate) fn works(self) -> bool {
        matches!(self, Role::Both | Role::Work)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Both => "both",
            Role::Enqueue => "enqueue",
            Role::Work => "work",
        })
    }
}

/// When SQLite writes a commit to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Synchronous {
    /// Before the commit returns: a stored call survives a power failure.
    #[default]
    Full,
    /// Later: a power failure, or a crash of the operating system, may lose the last commits. A crash of the process loses nothing.
    Normal,
}

impl fmt::Display for Synchronous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Synchronous::Full => "full",
            Synchronous::Normal => "normal",
        })
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Code,
    Environment,
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Origin::Code => "code",
            Origin::Environment => "environment",
            Origin::Default => "default",
        })
    }
}

/// A value, and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

impl<T> Setting<T> {
    /// Returns the same setting with its value as the log shows it.
    pub(super) fn shown_as<S: fmt::Display>(&self, show: impl FnOnce(&T) -> S) -> String {
        format!("{} ({})", show(&self.value), self.origin)
    }
}

impl<T: fmt::Display> fmt::Display for Setting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.value, self.origin)
    }
}
