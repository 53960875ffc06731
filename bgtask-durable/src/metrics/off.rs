//! The figures of a store without the feature `metrics`: there are none.
//! Has the methods that the feature has, so that their callers know nothing of it.

use super::Count;
use crate::engine::{Database, Rescued};
use crate::health::Health;
use bgtask::durable::{EncodedJob, Enqueued, Function};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(crate) struct Figures;

/// Jobs that are about to be stored.
pub(crate) struct Storing;

/// An end that is not recorded yet.
pub(crate) struct Pending;

impl Figures {
    pub(crate) fn new(_: &HashMap<&'static str, Function>, _: &Arc<Health>) -> Self {
        Self
    }

    pub(crate) fn storing(&self, _: &[EncodedJob]) -> Storing {
        Storing
    }

    pub(crate) fn count(&self, _: Count, _: &str) {}

    pub(crate) fn count_rescued(&self, _: &Rescued) {}

    pub(crate) fn pending(&self) -> Pending {
        Pending
    }

    pub(crate) async fn show(self, _: Database, _: Vec<String>) -> Infallible {
        std::future::pending().await
    }

    pub(crate) fn close(&self) {}
}

impl Storing {
    pub(crate) fn count(self, _: &[Enqueued]) {}
}
