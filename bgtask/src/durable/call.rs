//! A durable call before it is stored: its options, their checks, and the report of one that is dropped.
//! Must never know how it is stored.

use super::codec::Encoder;
use super::error::EnqueueError;
use super::notify::Notify;
use super::store::{EncodedJob, Opened, Start, Store, Unique};
use crate::context;
use crate::handler::Handler;
use crate::policy::Durable;
use crate::tracker::shared::Shared;
use crate::util::log::report;
use serde_json::value::RawValue;
use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// The longest key that a call may bring, in bytes.
const KEY_LIMIT: usize = 1024;

/// A call, until it is taken to be stored.
pub(super) struct Unawaited(Option<Box<Call>>);

/// What a call stores.
pub(super) struct Call {
    handler: &'static Handler,
    shared: Arc<Shared>,
    arguments: Result<Box<RawValue>, EnqueueError>,
    pub(super) queue: Option<Cow<'static, str>>,
    pub(super) priority: Option<u8>,
    pub(super) key: Option<String>,
    pub(super) notify: Notify,
    pub(super) start: Start,
    called_at: &'static Location<'static>,
}

impl Unawaited {
    #[track_caller]
    pub(super) fn new(handler: &'static Handler, encode: impl FnOnce(&mut Encoder)) -> Self {
        let called_at = Location::caller();
        let shared = context::current_shared(handler.name());
        let mut encoder = Encoder::default();
        encode(&mut encoder);
        let (key, notify) = (encoder.take_key(), encoder.take_notify());
        Self(Some(Box::new(Call {
            handler,
            shared,
            arguments: encoder.finish(),
            queue: None,
            priority: None,
            key,
            notify,
            start: Start::Now,
            called_at,
        })))
    }

    /// Changes an option of the call.
    pub(super) fn with(mut self, change: impl FnOnce(&mut Call)) -> Self {
        if let Some(call) = &mut self.0 {
            change(call);
        }
        self
    }

    /// Takes the call to store it.
    pub(super) fn take(mut self) -> Call {
        match self.0.take() {
            Some(call) => *call,
            None => unreachable!("a call is taken once"),
        }
    }

    /// Adds what `Debug` shows of a call.
    pub(super) fn show(&self, shown: &mut fmt::DebugStruct<'_, '_>) {
        if let Some(call) = &self.0 {
            shown.field("function", &call.handler.name());
            shown.field("called_at", &call.called_at);
        }
    }
}

impl Drop for Unawaited {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call.report_not_stored();
        }
    }
}

impl Call {
    /// Returns the store of the call's manager, and the call as it is stored there.
    pub(super) fn encode(self) -> Result<(Arc<dyn Store>, EncodedJob), EnqueueError> {
        let arguments = self.arguments?;
        let opened: &dyn Any = self.shared.attached.get().ok_or(EnqueueError::NotOpen)?;
        let store = match opened.downcast_ref::<Opened>() {
            Some(opened) => opened.store.clone(),
            None => return Err(EnqueueError::NotOpen),
        };
        let (size, limit) = (arguments.get().len(), store.argument_limit());
        if size > limit {
            return Err(EnqueueError::TooLarge { size, limit });
        }
        let Some(durable) = durable_of(self.handler) else {
            unreachable!("the attribute makes such calls of durable functions only");
        };
        let queue = match self.queue {
            Some(queue) if is_queue_name(&queue) => queue,
            Some(queue) => {
                return Err(EnqueueError::Queue {
                    name: queue.into_owned(),
                });
            }
            None => durable.queue.into(),
        };
        let priority = self.priority.unwrap_or(durable.priority);
        if !(1..=4).contains(&priority) {
            return Err(EnqueueError::Priority { priority });
        }
        let unique = unique_of(durable, self.key, &arguments)?;
        let notify = self.notify.finish()?;
        for target in &notify {
            store
                .check_target(target)
                .map_err(|message| EnqueueError::Notify { message })?;
        }
        let job = EncodedJob {
            function: self.handler.name(),
            arguments,
            queue,
            priority,
            max_attempts: durable.max,
            keep: durable.keep,
            start: self.start,
            unique,
            tick: None,
            notify,
        };
        if let Some(kit) = self.shared.hooks.dispatcher() {
            kit.stored(self.handler, self.called_at, job.arguments.get());
        }
        Ok((store, job))
    }

    #[cold]
    fn report_not_stored(self) {
        self.shared.attached.note_not_stored();
        report!(error, "durable call dropped without being awaited, nothing was stored: add `.await`";
            name = self.handler.name(), called_at = self.called_at);
        if let Some(kit) = self.shared.hooks.dispatcher() {
            kit.not_stored(self.handler, self.called_at);
        }
    }
}

/// Returns the uniqueness of a call: by its key if it brings one, by its arguments if the function is `unique` without one.
fn unique_of(
    durable: &Durable,
    key: Option<String>,
    arguments: &RawValue,
) -> Result<Option<Unique>, EnqueueError> {
    let within = durable.unique.and_then(|unique| unique.within);
    let key = match key {
        Some(key) => {
            check_key(&key).map_err(|message| EnqueueError::Key { message })?;
            key
        }
        None if durable.unique.is_some() => arguments.get().to_owned(),
        None => return Ok(None),
    };
    Ok(Some(Unique::new(key, within)))
}

fn check_key(key: &str) -> Result<(), &'static str> {
    if key.is_empty() {
        Err(
            "is empty, and jobs without a difference would be one: leave the key away, or say what it is of",
        )
    } else if key.len() > KEY_LIMIT {
        Err("has more than 1,024 bytes: use an id, or a hash")
    } else if key.contains('\0') {
        Err("contains a NUL character")
    } else {
        Ok(())
    }
}

/// Returns whether a queue may have this name: 1 to 64 lowercase letters, digits, `-` and `_`, a letter first, each `-` or `_`
/// between two others. For a store, whose engine refuses all other names.
#[must_use]
pub const fn is_queue_name(name: &str) -> bool {
    // The attribute checks the literals that it is given by the same rule.
    let name = name.as_bytes();
    if name.is_empty() || name.len() > 64 || !name[0].is_ascii_lowercase() {
        return false;
    }
    let mut index = 0;
    while index < name.len() {
        let is_separator = matches!(name[index], b'-' | b'_');
        // The first character is a letter, so there is one before each.
        let is_between =
            is_separator && index + 1 < name.len() && !matches!(name[index - 1], b'-' | b'_');
        if !is_between && !name[index].is_ascii_lowercase() && !name[index].is_ascii_digit() {
            return false;
        }
        index += 1;
    }
    true
}

pub(super) fn durable_of(handler: &'static Handler) -> Option<&'static Durable> {
    handler.policies()?.durable.as_ref()
}

/// Returns the number of durable calls of the current manager that were dropped without being awaited, and so not stored.
///
/// # Panics
/// Where no manager can be found.
#[must_use]
#[track_caller]
pub fn not_stored() -> u64 {
    let shared = context::current_shared("bgtask::durable::not_stored");
    shared.attached.not_stored()
}
