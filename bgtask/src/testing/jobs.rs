//! `assert_enqueued`, and the records of durable calls in a test.
//! Records what the seam reports; must never know a store.

use super::failure::FailureKind;
use super::function::{BackgroundFunction, Function};
use super::record::State;
use super::stored::{DeadJob, StoredCall};
use crate::handler::Handler;
use crate::stats::Outcome;
use serde::Serialize;
use serde_json::Value;
use std::fmt;
use std::panic::Location;

/// Asserts that exactly `times` calls of a durable function were stored in this test. Duplicates of a `unique` job count too, and
/// the jobs of a schedule's ticks do not: [`assert_called`](super::assert_called) counts their runs.
///
/// # Examples
/// ```ignore
/// #[bgtask::test(durable)]
/// async fn checking_out_sends_a_receipt() {
///     checkout(7).await;
///     bgtask::testing::assert_enqueued(send_receipt, 1).with(serde_json::json!({ "order": 7 }));
/// }
/// ```
///
/// # Panics
/// Panics if there were more or fewer; the message lists them with their arguments. Panics if there is no test kit or no such
/// function.
#[track_caller]
pub fn assert_enqueued<M>(function: impl BackgroundFunction<M>, times: usize) -> EnqueuedCalls {
    let state = State::current("assert_enqueued()");
    let function = Function::new(&function);
    let calls: Vec<_> = {
        let records = state.records();
        let stored = records.stored.iter();
        stored
            .filter(|call| function.is(call.handler))
            .cloned()
            .collect()
    };
    let calls = EnqueuedCalls {
        name: function.name,
        calls,
    };
    assert!(
        calls.calls.len() == times,
        "{} of `{}` stored, and {times} expected{}",
        match calls.calls.len() {
            0 => "no call".to_owned(),
            1 => "1 call".to_owned(),
            count => format!("{count} calls"),
        },
        function.name,
        calls.list()
    );
    calls
}

/// The stored calls of one function; see [`assert_enqueued`].
pub struct EnqueuedCalls {
    name: &'static str,
    calls: Vec<StoredCall>,
}

impl EnqueuedCalls {
    /// Asserts that at least one of the calls had these arguments: an object with a member for each parameter that matters.
    /// Parameters that are left out may have any value.
    ///
    /// # Panics
    /// Panics if no call had them; the message lists the calls. Panics if `arguments` does not encode as an object.
    #[track_caller]
    pub fn with(self, arguments: impl Serialize) -> Self {
        let expected = match serde_json::to_value(arguments) {
            Ok(Value::Object(expected)) => expected,
            Ok(other) => panic!(
                "`with` takes an object with a member for each parameter, such as `json!({{\"order\": 7}})`, and got {other}"
            ),
            Err(error) => panic!("the arguments for `with` do not encode: {error}"),
        };
        let found = self.calls.iter().any(|call| {
            expected
                .iter()
                .all(|(name, value)| call.arguments.get(name) == Some(value))
        });
        assert!(
            found,
            "no stored call of `{}` had the arguments {}{}",
            self.name,
            Value::Object(expected),
            self.list()
        );
        self
    }

    fn list(&self) -> String {
        let calls = self.calls.iter();
        calls.map(|call| format!("\n  {call}")).collect()
    }
}

impl fmt::Debug for EnqueuedCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnqueuedCalls")
            .field("name", &self.name)
            .field("count", &self.calls.len())
            .finish_non_exhaustive()
    }
}

impl State {
    pub(super) fn record_stored(
        &self,
        handler: &'static Handler,
        called_at: &'static Location<'static>,
        arguments: &str,
    ) {
        let arguments = serde_json::from_str(arguments).unwrap_or_default();
        self.records().stored.push(StoredCall {
            handler,
            called_at,
            arguments,
        });
    }

    pub(super) fn record_dead(&self, handler: &'static Handler, outcome: Outcome, message: &str) {
        let kind = FailureKind::from_outcome(outcome).unwrap_or(FailureKind::Error);
        self.records().dead.push(DeadJob {
            kind,
            handler,
            message: message.to_owned(),
        });
    }
}
