//! loom's locks and atomics under the standard library's names.
//! Owns what loom lacks: an order that all sequentially consistent accesses agree on.

pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use loom::thread;

pub(crate) mod atomic {
    //! loom treats a sequentially consistent access as one that acquires and releases, and so finds impossible orders: of two
    //! threads that each write and then load, neither sees the other. Its fences are right, so each such access has one before
    //! it, as compilers implement them for processors that have only fences. This is slightly stronger than the language, where
    //! the access orders only itself and other sequentially consistent accesses.

    use std::cell::Cell;
    pub(crate) use std::sync::atomic::Ordering;

    thread_local! {
        static NEWEST: Cell<bool> = const { Cell::new(false) };
    }

    /// Sets whether every load returns the newest value, in the models that this thread runs from now on.
    ///
    /// Otherwise loads return what their ordering allows. Then loom skips orders, because it considers reordering only against
    /// the last access of an atomic, and a thread's own load before its write hides another thread's load. A load that writes
    /// back the value it has read hides nothing, and a store that reads the value it overwrites comes after it: so loom tries
    /// all orders, and each load returns the newest value.
    pub(crate) fn see_the_newest(newest: bool) {
        NEWEST.set(newest);
    }

    fn order(order: Ordering) -> Ordering {
        if order == Ordering::SeqCst {
            loom::sync::atomic::fence(Ordering::SeqCst);
        }
        order
    }

    macro_rules! integers {
        ($($name:ident: $value:ty;)*) => {$(
            #[derive(Debug, Default)]
            pub(crate) struct $name(loom::sync::atomic::$name);

            // All have the same methods, and some of these are unused.
            #[allow(dead_code)]
            impl $name {
                pub(crate) fn new(value: $value) -> Self {
                    Self(loom::sync::atomic::$name::new(value))
                }

                pub(crate) fn load(&self, how: Ordering) -> $value {
                    if NEWEST.get() {
                        return self.0.fetch_add(0, order(how));
                    }
                    self.0.load(order(how))
                }

                pub(crate) fn store(&self, value: $value, how: Ordering) {
                    if NEWEST.get() {
                        self.0.swap(value, order(how));
                        return;
                    }
                    self.0.store(value, order(how));
                }

                pub(crate) fn swap(&self, value: $value, how: Ordering) -> $value {
                    self.0.swap(value, order(how))
                }

                pub(crate) fn fetch_add(&self, value: $value, how: Ordering) -> $value {
                    self.0.fetch_add(value, order(how))
                }

                pub(crate) fn fetch_sub(&self, value: $value, how: Ordering) -> $value {
                    self.0.fetch_sub(value, order(how))
                }

                pub(crate) fn fetch_max(&self, value: $value, how: Ordering) -> $value {
                    self.0.fetch_max(value, order(how))
                }

                pub(crate) fn fetch_or(&self, value: $value, how: Ordering) -> $value {
                    self.0.fetch_or(value, order(how))
                }

                pub(crate) fn fetch_update(
                    &self,
                    how: Ordering,
                    failed: Ordering,
                    change: impl FnMut($value) -> Option<$value>,
                ) -> Result<$value, $value> {
                    self.0.fetch_update(order(how), order(failed), change)
                }

                pub(crate) fn compare_exchange(
                    &self,
                    from: $value,
                    to: $value,
                    how: Ordering,
                    failed: Ordering,
                ) -> Result<$value, $value> {
                    self.0.compare_exchange(from, to, order(how), failed)
                }

                /// Never fails spuriously: that would only repeat the loop around it.
                pub(crate) fn compare_exchange_weak(
                    &self,
                    from: $value,
                    to: $value,
                    how: Ordering,
                    failed: Ordering,
                ) -> Result<$value, $value> {
                    self.0.compare_exchange(from, to, order(how), failed)
                }
            }
        )*};
    }

    integers! {
        AtomicU8: u8;
        AtomicU32: u32;
        AtomicU64: u64;
        AtomicUsize: usize;
    }

    #[derive(Debug)]
    pub(crate) struct AtomicBool(loom::sync::atomic::AtomicBool);

    impl AtomicBool {
        pub(crate) fn new(value: bool) -> Self {
            Self(loom::sync::atomic::AtomicBool::new(value))
        }

        pub(crate) fn load(&self, how: Ordering) -> bool {
            if NEWEST.get() {
                return self.0.fetch_or(false, order(how));
            }
            self.0.load(order(how))
        }

        pub(crate) fn store(&self, value: bool, how: Ordering) {
            if NEWEST.get() {
                self.0.swap(value, order(how));
                return;
            }
            self.0.store(value, order(how));
        }

        pub(crate) fn swap(&self, value: bool, how: Ordering) -> bool {
            self.0.swap(value, order(how))
        }
    }
}
