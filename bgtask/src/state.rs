//! `State<T>`: what a program provides once and its background functions take as a parameter, by type.
//! Owns the values of one manager; knows nothing of tasks or schedules.

use crate::util::log::report;
use std::any::{Any, TypeId, type_name};
use std::fmt;
use std::iter;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;

/// A parameter that the runtime fills in with what the program [provided](crate::provide): a connection pool, a client,
/// settings.
///
/// Like a [`ShutdownToken`](crate::ShutdownToken) it is absent from what the caller writes. Each task gets a clone, so what is
/// provided is cheap to clone: a handle, or an `Arc`. The macro knows it by its last path segment, so import it under its name.
///
/// A call whose state nobody has provided is refused and says which. A function that runs on a schedule or at the start begins
/// once its state is there.
///
/// ```
/// use bgtask::{State, background};
///
/// #[derive(Clone)]
/// struct Settings { greeting: &'static str }
///
/// #[background]
/// async fn greet(State(settings): State<Settings>, name: String) -> String {
///     format!("{}, {name}", settings.greeting)
/// }
///
/// #[bgtask::main]
/// async fn main() -> Result<(), bgtask::TaskError> {
///     bgtask::provide(Settings { greeting: "hello" });
///     assert_eq!(greet("world".into()).await?, "hello, world");
///     Ok(())
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State<T>(pub T);

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for State<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// What a parameter of type `State<_>` is filled in from.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not `bgtask::State`",
    label = "a parameter called `State<_>` is filled in by the runtime, and has to be a `bgtask::State<_>`",
    note = "write `bgtask::State<_>` here; what callers pass is known by another name: `use axum::extract::State as AxumState`"
)]
pub trait Injected: Sized {
    #[doc(hidden)]
    type Value: Clone + Send + Sync + 'static;

    #[doc(hidden)]
    fn from_value(value: Self::Value) -> Self;
}

/// A type that a `State<_>` may hold.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be provided to a background function",
    label = "each task gets a clone, so the type has to be `Clone + Send + Sync + 'static`",
    note = "write `State<T>` with a `T` that is cheap to clone: a handle, or an `Arc<_>`"
)]
pub trait Provide: Clone + Send + Sync + 'static {}

// Otherwise the compiler would name only one of the four bounds.
#[diagnostic::do_not_recommend]
impl<T: Clone + Send + Sync + 'static> Provide for T {}

impl<T: Provide> Injected for State<T> {
    type Value = T;

    fn from_value(value: T) -> Self {
        State(value)
    }
}

/// The type of one `State<_>` parameter, as a handler's static has it.
#[derive(Clone, Copy)]
pub struct StateSpec {
    id: fn() -> TypeId,
    name: fn() -> &'static str,
}

impl StateSpec {
    pub const fn of<S: Injected>() -> Self {
        Self {
            id: TypeId::of::<S::Value>,
            name: type_name::<S::Value>,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        (self.name)()
    }
}

impl fmt::Debug for StateSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One value, and where it was provided.
#[derive(Clone)]
pub(crate) struct Provided {
    value: Arc<dyn Any + Send + Sync>,
    at: &'static Location<'static>,
}

impl Provided {
    fn type_id(&self) -> TypeId {
        (*self.value).type_id()
    }
}

/// The values provided to one manager, one per type.
///
/// A list that only grows: a call reads it without a lock, and clones a value without holding anything. Programs provide few types.
pub(crate) struct States {
    first: OnceLock<Box<Node>>,
    /// Notifies those who wait for one that a value was provided.
    provisions: watch::Sender<()>,
}

struct Node {
    provided: Provided,
    next: OnceLock<Box<Node>>,
}

impl States {
    pub(crate) fn new() -> Self {
        Self {
            first: OnceLock::new(),
            provisions: watch::Sender::new(()),
        }
    }

    /// Provides a value. The first of a type stands; a second one is reported and dropped.
    #[track_caller]
    pub(crate) fn provide<T: Clone + Send + Sync + 'static>(&self, value: T) {
        let provided = Provided {
            value: Arc::new(value),
            at: Location::caller(),
        };
        self.put(type_name::<T>(), provided);
    }

    pub(crate) fn put(&self, name: &'static str, provided: Provided) {
        let (id, at) = (provided.type_id(), provided.at);
        let mut node = Box::new(Node {
            provided,
            next: OnceLock::new(),
        });
        let mut end = &self.first;
        // Another thread may append meanwhile: `set` then returns the node.
        loop {
            while let Some(earlier) = end.get() {
                if earlier.provided.type_id() == id {
                    // Dropping it may run any code.
                    drop(node);
                    report!(error, "state provided twice: keeping the first value, dropping the second";
                        state = name, first = earlier.provided.at, second = at);
                    return;
                }
                end = &earlier.next;
            }
            match end.set(node) {
                Ok(()) => break,
                Err(refused) => node = refused,
            }
        }
        self.provisions.send_replace(());
    }

    fn iter(&self) -> impl Iterator<Item = &Provided> {
        let nodes = iter::successors(self.first.get(), |node| node.next.get());
        nodes.map(|node| &node.provided)
    }

    /// Returns a clone of the value of this type.
    pub(crate) fn get<S: Injected>(&self) -> Option<S> {
        let mut values = self.iter().map(|provided| &provided.value);
        let value = values.find_map(|value| value.downcast_ref::<S::Value>())?;
        Some(S::from_value(value.clone()))
    }

    fn has(&self, spec: &StateSpec) -> bool {
        let id = (spec.id)();
        self.iter().any(|provided| provided.type_id() == id)
    }

    /// Those of `specs` that nobody has provided.
    pub(crate) fn missing<'s>(&self, specs: &'s [StateSpec]) -> Vec<&'s StateSpec> {
        specs.iter().filter(|spec| !self.has(spec)).collect()
    }

    /// Completes when all of `specs` have been provided.
    pub(crate) async fn provided(&self, specs: &[StateSpec]) {
        let mut provisions = self.provisions.subscribe();
        // The manager holds the sender, so waiting only ends with a provision.
        while !self.missing(specs).is_empty() && provisions.changed().await.is_ok() {}
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("States").finish_non_exhaustive()
    }
}

/// Values for a manager to be.
#[derive(Clone, Default)]
pub(crate) struct ToProvide(Vec<(&'static str, Provided)>);

impl ToProvide {
    #[track_caller]
    pub(crate) fn add<T: Clone + Send + Sync + 'static>(&mut self, value: T) {
        let provided = Provided {
            value: Arc::new(value),
            at: Location::caller(),
        };
        self.0.push((type_name::<T>(), provided));
    }

    pub(crate) fn put_into(self, states: &States) {
        for (name, provided) in self.0 {
            states.put(name, provided);
        }
    }
}
