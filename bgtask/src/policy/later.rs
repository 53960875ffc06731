//! The calls that wait in memory for their time, of `after` and `at`: which there are, and who takes each.
//! Owns the list. Must never know what is called, or how a call waits.

use crate::report::ScheduledCall;
use crate::util::sync::unmodelled::Mutex;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// The waiting calls of one manager.
#[derive(Debug, Default)]
pub(crate) struct LaterCalls {
    /// Locked to add or to take a call, and to copy the list.
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    /// By time, then in the order of the calls.
    calls: BTreeMap<Place, ScheduledCall>,
    next: u64,
    is_closed: bool,
}

/// The place of a waiting call in the list.
pub(crate) type Place = (SystemTime, u64);

/// The calls that wait: the first ones, and the number of all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) first: Vec<ScheduledCall>,
    pub(crate) count: u64,
}

impl LaterCalls {
    /// Adds a call. Returns `None` once the list is closed: the call is never made.
    pub(crate) fn add(&self, call: ScheduledCall) -> Option<Place> {
        let mut list = self.list.lock();
        if list.is_closed {
            return None;
        }
        let place = (call.due, list.next);
        list.next += 1;
        list.calls.insert(place, call);
        Some(place)
    }

    /// Takes a call from the list, to make it or to cancel it. Returns `false` if it has been taken.
    pub(crate) fn take(&self, place: Place) -> bool {
        self.list.lock().calls.remove(&place).is_some()
    }

    /// Returns the calls that wait: at most `limit`, the first due first, and the number of all.
    pub(crate) fn waiting(&self, limit: usize) -> Waiting {
        let list = self.list.lock();
        Waiting {
            first: list.calls.values().take(limit).cloned().collect(),
            count: list.calls.len() as u64,
        }
    }

    /// Closes the list and takes all calls from it: none of them is made.
    pub(crate) fn close(&self, limit: usize) -> Waiting {
        let calls = {
            let mut list = self.list.lock();
            list.is_closed = true;
            std::mem::take(&mut list.calls)
        };
        Waiting {
            count: calls.len() as u64,
            first: calls.into_values().take(limit).collect(),
        }
    }
}
