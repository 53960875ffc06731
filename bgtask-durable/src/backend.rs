//! The store behind the seam, as this crate knows it: that of a database, or that of a test. Must never know what is asked of it.

use crate::jobs::Backend;
use crate::stored::Stored;
use crate::testing::Memory;
use bgtask::durable::Store;
use std::any::Any;
use std::sync::Arc;

/// Returns the store as one of ours. `None` for one that another crate brings.
pub(crate) fn of(store: Arc<dyn Store>) -> Option<Arc<dyn Backend>> {
    let store: Arc<dyn Any + Send + Sync> = store;
    match store.downcast::<Stored>() {
        Ok(stored) => Some(stored),
        Err(store) => Some(store.downcast::<Memory>().ok()?),
    }
}
