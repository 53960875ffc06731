//! Locks that ignore poisoning, and the atomics and threads of the code in which threads meet: the standard library's, or those
//! of a model checker that explores their interleavings. Owns which, and the mistakes that models make on purpose.

#[cfg(any(bgtask_loom, bgtask_shuttle))]
pub(crate) use crate::models::sync::{atomic, thread};
#[cfg(not(any(bgtask_loom, bgtask_shuttle)))]
pub(crate) use std::{sync::atomic, thread};

macro_rules! locks {
    ($library:path $(, $const:ident)?) => {
        use $library as library;
        pub(crate) use library::MutexGuard;
        use std::sync::PoisonError;
        use std::time::Duration;

        /// A mutex that ignores poisoning: nothing that bgtask does under a lock leaves the value half changed.
        #[derive(Debug, Default)]
        pub(crate) struct Mutex<T>(library::Mutex<T>);

        impl<T> Mutex<T> {
            pub(crate) $($const)? fn new(value: T) -> Self {
                Self(library::Mutex::new(value))
            }

            #[inline]
            pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
                self.0.lock().unwrap_or_else(PoisonError::into_inner)
            }
        }

        /// A condition variable for [`Mutex`].
        #[derive(Debug, Default)]
        pub(crate) struct Condvar(library::Condvar);

        impl Condvar {
            pub(crate) fn notify_all(&self) {
                self.0.notify_all();
            }

            /// Waits for a notification, at most `limit`. May also return without one.
            pub(crate) fn wait_timeout<'a, T>(
                &self,
                guard: MutexGuard<'a, T>,
                limit: Duration,
            ) -> MutexGuard<'a, T> {
                let waited = self.0.wait_timeout(guard, limit);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    };
}

#[cfg(any(bgtask_loom, bgtask_shuttle))]
mod modelled {
    locks!(crate::models::sync);
}
#[cfg(any(bgtask_loom, bgtask_shuttle))]
pub(crate) use modelled::{Condvar, Mutex, MutexGuard};
#[cfg(not(any(bgtask_loom, bgtask_shuttle)))]
pub(crate) use unmodelled::{Condvar, Mutex, MutexGuard};

/// The standard library's locks, also in a model: for statics, which outlive a model's run, and for code that no model explores.
pub(crate) mod unmodelled {
    locks!(std::sync, const);

    use std::sync::{RwLockReadGuard, RwLockWriteGuard};

    /// A reader-writer lock that ignores poisoning.
    #[derive(Debug, Default)]
    pub(crate) struct RwLock<T>(library::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

/// Whether a model makes the named mistake, in order to see it found. Only the packages in `models` do; elsewhere this is the
/// constant `false`.
#[cfg(any(bgtask_loom, bgtask_shuttle))]
macro_rules! broken {
    ($mistake:literal) => {
        crate::models::is_broken($mistake)
    };
}
#[cfg(not(any(bgtask_loom, bgtask_shuttle)))]
macro_rules! broken {
    ($mistake:literal) => {
        false
    };
}
pub(crate) use broken;
