//! Arguments and outputs as JSON: encoded at the call, decoded by the worker.
//! Knows nothing of stores, or of who runs the function.

use super::error::EnqueueError;
use super::json::has_nul;
use super::notify::{IntoNotify, Notify};
use super::transaction::CompleteError;
use crate::policy::Undecodable;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

/// How deeply an argument may be nested: the decoder goes no deeper, and the job would never run.
const DEPTH_LIMIT: usize = 127;

/// A parameter of a durable function, as its calls store it.
#[diagnostic::on_unimplemented(
    message = "with `durable` the arguments of a call are stored, so `{Self}` has to be `serde::Serialize`",
    label = "this parameter's type is not `Serialize`",
    note = "derive `serde::Serialize` and `serde::Deserialize`, or pass a key and load the value in the body",
    note = "what all calls share, such as a pool, is a `State<_>` parameter, which `bgtask::provide` fills in"
)]
pub trait StoredArgument: Serialize {}

// Otherwise the compiler would only name the bound of `Serialize`.
#[diagnostic::do_not_recommend]
impl<T: Serialize> StoredArgument for T {}

/// A parameter of a durable function, as its workers load it.
#[diagnostic::on_unimplemented(
    message = "with `durable` a worker loads the arguments of a call, so `{Self}` has to be `serde::de::DeserializeOwned`",
    label = "this parameter's type is not `DeserializeOwned`",
    note = "derive `serde::Serialize` and `serde::Deserialize` for a type that owns its data, or pass a key and load the \
            value in the body"
)]
pub trait LoadedArgument: DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> LoadedArgument for T {}

/// The value of a durable function: it is stored, and loaded by those who await the job's outcome.
#[diagnostic::on_unimplemented(
    message = "with `durable` the value of a function is stored, so `{Self}` has to be `serde::Serialize` and \
               `serde::de::DeserializeOwned`",
    label = "this output is not `Serialize` and `DeserializeOwned`",
    note = "derive `serde::Serialize` and `serde::Deserialize`, or return `()`; the error of a `Result` needs neither"
)]
pub trait JobOutput: Serialize + DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> JobOutput for T {}

/// A `Result`, whose value alone is stored.
pub trait Outcome {
    type Ok;

    fn into_ok(self) -> Option<Self::Ok>;
}

impl<T, E> Outcome for Result<T, E> {
    type Ok = T;

    fn into_ok(self) -> Option<T> {
        self.ok()
    }
}

/// Which part of the output `T` is stored.
pub trait Codec<T> {
    type Value: JobOutput;

    /// Returns the value, unless the output is an error.
    fn value(output: T) -> Option<Self::Value>;
}

/// The codec of functions whose output is a `Result`.
#[derive(Debug)]
pub struct ResultCodec;

/// The codec of all other functions.
#[derive(Debug)]
pub struct ValueCodec;

impl<T: Outcome<Ok: JobOutput>> Codec<T> for ResultCodec {
    type Value = T::Ok;

    fn value(output: T) -> Option<T::Ok> {
        output.into_ok()
    }
}

impl<T: JobOutput> Codec<T> for ValueCodec {
    type Value = T;

    fn value(output: T) -> Option<T> {
        Some(output)
    }
}

/// The key of a job, which is stored as its text: so processes of other versions have the same.
#[diagnostic::on_unimplemented(
    message = "the key of a job is stored as its text, so `{Self}` has to be `std::fmt::Display`",
    label = "this key is not `Display`",
    note = "make a text of it: `key = format!(\"{{a}}/{{b}}\")`"
)]
pub trait JobKey: fmt::Display {}

#[diagnostic::do_not_recommend]
impl<T: fmt::Display + ?Sized> JobKey for T {}

/// Encodes the arguments of one call: an object with a member for each parameter.
#[derive(Debug, Default)]
pub struct Encoder {
    members: String,
    key: Option<String>,
    notify: Notify,
    error: Option<EnqueueError>,
}

impl Encoder {
    pub fn add<T: StoredArgument>(&mut self, name: &'static str, value: &T) {
        if self.error.is_some() {
            return;
        }
        let encoded = match serde_json::to_string(value) {
            Ok(encoded) => encoded,
            Err(error) => {
                self.error = Some(EnqueueError::Encode {
                    parameter: name,
                    message: error.to_string(),
                });
                return;
            }
        };
        if depth(&encoded) > DEPTH_LIMIT {
            self.error = Some(EnqueueError::Encode {
                parameter: name,
                message: format!("it is nested more than {DEPTH_LIMIT} levels deep"),
            });
            return;
        }
        if has_nul(&encoded) {
            self.error = Some(EnqueueError::Nul { parameter: name });
            return;
        }
        let separator = if self.members.is_empty() { "" } else { "," };
        // A name is an identifier, so it needs no escapes.
        self.members += &format!("{separator}\"{name}\":{encoded}");
    }

    /// Sets the key of the job: `unique(key = …)`.
    pub fn key<T: JobKey + ?Sized>(&mut self, key: &T) {
        self.key = Some(key.to_string());
    }

    /// Adds what follows the end of the job: `notify = …`.
    pub fn notify<T: IntoNotify>(&mut self, notify: T) {
        self.notify = std::mem::take(&mut self.notify).and(notify.into_notify());
    }

    pub(super) fn take_notify(&mut self) -> Notify {
        std::mem::take(&mut self.notify)
    }

    pub(super) fn take_key(&mut self) -> Option<String> {
        self.key.take()
    }

    pub(super) fn finish(self) -> Result<Box<RawValue>, EnqueueError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let encoded = format!("{{{}}}", self.members);
        RawValue::from_string(encoded).map_err(|error| EnqueueError::Encode {
            parameter: "",
            message: error.to_string(),
        })
    }
}

/// The arguments of a claimed job.
#[derive(Debug)]
pub struct Arguments<'a>(HashMap<&'a str, &'a RawValue>);

impl<'a> Arguments<'a> {
    /// # Errors
    /// If it is not an object.
    pub fn new(arguments: &'a RawValue) -> Result<Self, Undecodable> {
        serde_json::from_str(arguments.get())
            .map(Self)
            .map_err(|error| Undecodable(format!("the arguments are not an object: {error}")))
    }

    /// Returns the value of one parameter.
    ///
    /// # Errors
    /// If it is missing, or of another shape.
    pub fn take<T: LoadedArgument>(&mut self, name: &'static str) -> Result<T, Undecodable> {
        let value = self
            .0
            .remove(name)
            .ok_or_else(|| Undecodable(format!("the job has no argument `{name}`")))?;
        serde_json::from_str(value.get())
            .map_err(|error| Undecodable(format!("the argument `{name}` does not decode: {error}")))
    }
}

/// Checks the size of an encoded output.
///
/// # Errors
/// If it is larger than the limit of the store.
pub(super) fn check_output(output: &RawValue, limit: usize) -> Result<(), CompleteError> {
    let size = output.get().len();
    if size > limit {
        return Err(CompleteError::TooLarge { size, limit });
    }
    Ok(())
}

/// Encodes the output of a run, however large it is.
///
/// # Errors
/// With the reason why it cannot be stored.
pub(super) fn encode_output<T: Serialize + ?Sized>(
    output: &T,
) -> Result<Box<RawValue>, CompleteError> {
    let unencodable = |error: serde_json::Error| CompleteError::Encode {
        message: error.to_string(),
    };
    let encoded = serde_json::to_string(output).map_err(unencodable)?;
    if has_nul(&encoded) {
        return Err(CompleteError::Nul);
    }
    RawValue::from_string(encoded).map_err(unencodable)
}

/// Returns how deeply arrays and objects are nested in this JSON.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut is_in_string, mut is_escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_in_string = !is_in_string,
            b'[' | b'{' if !is_in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !is_in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The type of the values of a job, for a handle that owns none of them.
pub(super) struct ValueOf<T>(PhantomData<fn() -> T>);

impl<T> ValueOf<T> {
    pub(super) const NEW: Self = Self(PhantomData);
}

impl<T> Clone for ValueOf<T> {
    fn clone(&self) -> Self {
        Self::NEW
    }
}

impl<T> fmt::Debug for ValueOf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::any::type_name::<T>())
    }
}
