//! The targets that the end of a job is delivered to, as its call stores them, each of a channel. Plain encoded data.
//! Must never know a channel, or how anything is sent.

use super::error::EnqueueError;
use super::json::has_nul;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The most targets of one call.
const TARGETS: usize = 16;

/// The most bytes that the targets of one call have, encoded: each write to the job's row copies them.
const SIZE: usize = 64 * 1024;

/// The targets that the end of a job is delivered to, any number of them. For [`Enqueue::notify`](super::Enqueue::notify) and
/// `durable(notify = …)`.
///
/// The channels of `bgtask-durable` convert into it, such as its `Webhook`. An `Option` of one is no target or one, a `Vec`, an array or a
/// tuple several.
#[derive(Clone)]
#[must_use = "nothing follows until it is given to `notify`"]
pub struct Notify(Result<Vec<NotifyTarget>, String>);

/// One target: who or what is notified, over which channel.
#[derive(Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NotifyTarget {
    /// The name of the channel.
    pub channel: Cow<'static, str>,
    /// Whether the value of the job is passed on.
    pub with_value: bool,
    /// What the channel has to know, encoded.
    pub to: Box<RawValue>,
}

impl Notify {
    /// Returns no target.
    pub fn none() -> Self {
        Self(Ok(Vec::new()))
    }

    /// Returns one target, for a channel.
    pub fn to(
        channel: impl Into<Cow<'static, str>>,
        to: &impl Serialize,
        with_value: bool,
    ) -> Self {
        let channel = channel.into();
        let encoded = match serde_json::value::to_raw_value(to) {
            Ok(encoded) => encoded,
            Err(error) => {
                return Self::refused(format!("a target of {channel:?} does not encode: {error}"));
            }
        };
        if channel.contains('\0') || has_nul(encoded.get()) {
            return Self::refused(format!(
                "a target of {channel:?} contains a NUL character, which databases do not store"
            ));
        }
        Self(Ok(vec![NotifyTarget {
            channel,
            with_value,
            to: encoded,
        }]))
    }

    /// Passes the value of the job on, to each of its targets.
    pub fn with_value(self) -> Self {
        Self(self.0.map(|mut targets| {
            for target in &mut targets {
                target.with_value = true;
            }
            targets
        }))
    }

    /// Returns what makes the call fail with this reason, for a channel that has checked its target.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self(Err(reason.into()))
    }

    /// Adds the targets of another one.
    pub fn and(self, other: impl Into<Self>) -> Self {
        Self(self.0.and_then(|mut targets| {
            targets.extend(other.into().0?);
            Ok(targets)
        }))
    }

    /// Returns the targets of a call.
    pub(super) fn finish(self) -> Result<Vec<NotifyTarget>, EnqueueError> {
        let refused = |message| EnqueueError::Notify { message };
        let targets = self.0.map_err(refused)?;
        if targets.len() > TARGETS {
            return Err(refused(format!(
                "{} targets, and a call has at most {TARGETS}: call a function of your own that sends the rest",
                targets.len()
            )));
        }
        let size: usize = targets.iter().map(|target| target.to.get().len()).sum();
        if size > SIZE {
            return Err(refused(format!(
                "the targets have {size} bytes, and a call has at most {SIZE}: store the data and pass a key"
            )));
        }
        Ok(targets)
    }
}

/// What `durable(notify = …)` may be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that can follow the end of a job",
    label = "this is no target of a channel",
    note = "write `bgtask_durable::Webhook::to(url)`, `bgtask_durable::Email::to(address)` or `bgtask_durable::Custom::new(name, &data)`; \
            an `Option`, a `Vec`, an array or a tuple of them also works"
)]
pub trait IntoNotify {
    fn into_notify(self) -> Notify;
}

#[diagnostic::do_not_recommend]
impl<T: Into<Notify>> IntoNotify for T {
    fn into_notify(self) -> Notify {
        self.into()
    }
}

impl Default for Notify {
    fn default() -> Self {
        Self::none()
    }
}

impl<T: Into<Notify>> FromIterator<T> for Notify {
    fn from_iter<I: IntoIterator<Item = T>>(targets: I) -> Self {
        targets.into_iter().fold(Self::none(), Self::and)
    }
}

impl<T: Into<Notify>> From<Option<T>> for Notify {
    fn from(target: Option<T>) -> Self {
        target.into_iter().collect()
    }
}

impl<T: Into<Notify>> From<Vec<T>> for Notify {
    fn from(targets: Vec<T>) -> Self {
        targets.into_iter().collect()
    }
}

impl<T: Into<Notify>, const N: usize> From<[T; N]> for Notify {
    fn from(targets: [T; N]) -> Self {
        targets.into_iter().collect()
    }
}

impl<A: Into<Notify>, B: Into<Notify>> From<(A, B)> for Notify {
    fn from((a, b): (A, B)) -> Self {
        a.into().and(b)
    }
}

impl<A: Into<Notify>, B: Into<Notify>, C: Into<Notify>> From<(A, B, C)> for Notify {
    fn from((a, b, c): (A, B, C)) -> Self {
        a.into().and(b).and(c)
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(targets) => f.debug_list().entries(targets).finish(),
            Err(reason) => f.debug_tuple("Refused").field(reason).finish(),
        }
    }
}

impl fmt::Debug for NotifyTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotifyTarget")
            .field("channel", &self.channel)
            // It may hold an address, or a secret in a URL.
            .field("to", &format_args!("{} bytes", self.to.get().len()))
            .field("with_value", &self.with_value)
            .finish()
    }
}
