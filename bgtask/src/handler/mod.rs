//! The static description of one annotated function, and the list of those linked into the program.
//! Knows nothing of running tasks: a handler is data the compiler wrote.

mod display;
mod log;
mod on_shutdown;
pub(crate) mod self_check;
mod warn_after;

pub use log::Log;
pub use on_shutdown::OnShutdown;
pub use warn_after::WarnAfter;

use crate::policy::{Policies, Trigger};
use crate::state::StateSpec;
use std::fmt;
#[cfg(feature = "metrics")]
use std::{
    any::Any,
    panic::{RefUnwindSafe, UnwindSafe},
    sync::OnceLock,
};

/// Where the body of a background function runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// An `async fn`: on the runtime's workers.
    Async,
    /// A plain `fn`: on the runtime's blocking pool.
    Blocking,
}

/// One function annotated with [`#[background]`](macro@crate::background), or one location where [`spawn!`](crate::spawn!) is
/// called, as the compiler saw it.
///
/// [`handlers()`](crate::handlers) lists all of them.
pub struct Handler {
    spec: HandlerSpec,
    /// Absent if a call takes none of the policies: there are none, or only states.
    policies: Option<&'static Policies>,
    runs_as: Kind,
    #[cfg(feature = "metrics")]
    kept_for_metrics: OnceLock<Kept>,
}

/// What somebody keeps with a function, so that it need not be looked up. Of such a kind that a handler can be used across
/// `catch_unwind` whatever the features.
#[cfg(feature = "metrics")]
type Kept = Box<dyn Any + Send + Sync + UnwindSafe + RefUnwindSafe>;

/// What generated code knows of a function; [`Handler`] is the public face of it.
#[derive(Debug)]
pub struct HandlerSpec {
    pub name: &'static str,
    /// Returns the name of a type inside the function, which contains the function's path. Empty for a block.
    pub path: fn() -> &'static str,
    pub module_path: &'static str,
    pub file: &'static str,
    pub line: u32,
    pub kind: Kind,
    pub takes_token: bool,
    pub on_shutdown: OnShutdown,
    pub log: Log,
    pub warn_after: WarnAfter,
    pub policies: Option<&'static Policies>,
}

impl Handler {
    #[doc(hidden)]
    pub const fn new(spec: HandlerSpec) -> Self {
        let policies = match spec.policies {
            Some(policies) if policies.are_any() => Some(policies),
            _ => None,
        };
        let runs_as = match policies {
            None => spec.kind,
            Some(_) => Kind::Async,
        };
        Self {
            spec,
            policies,
            runs_as,
            #[cfg(feature = "metrics")]
            kept_for_metrics: OnceLock::new(),
        }
    }

    /// The task's name: `module::path::function`, or what `name = "…"` says.
    pub fn name(&self) -> &'static str {
        self.spec.name
    }

    /// Where the function stands among the program's items, as the compiler writes it: with the functions and the `impl`
    /// around it, and with the names of their types' parameters, or `_`.
    pub(crate) fn path(&self) -> &'static str {
        let of_the_type = (self.spec.path)();
        of_the_type
            .rsplit_once("::")
            .map_or(of_the_type, |(function, _)| function)
    }

    /// Returns whether this describes a location where [`spawn!`](crate::spawn!) is called, not a function.
    pub(crate) fn is_block(&self) -> bool {
        self.path().is_empty()
    }

    /// The module the function stands in.
    pub fn module_path(&self) -> &'static str {
        self.spec.module_path
    }

    /// The source file the function stands in, as the compiler was given it.
    pub fn file(&self) -> &'static str {
        self.spec.file
    }

    /// The line of the function's name.
    pub fn line(&self) -> u32 {
        self.spec.line
    }

    /// Whether the body runs on the runtime's workers or on its blocking pool.
    pub fn kind(&self) -> Kind {
        self.spec.kind
    }

    /// Whether the function takes a [`ShutdownToken`](crate::ShutdownToken) parameter.
    pub fn takes_token(&self) -> bool {
        self.spec.takes_token
    }

    /// The `on_shutdown` option.
    pub fn on_shutdown(&self) -> OnShutdown {
        self.spec.on_shutdown
    }

    /// `on_shutdown = "finish"`: the token does not fire with the drain.
    pub(crate) fn finishes(&self) -> bool {
        self.spec.on_shutdown == OnShutdown::Finish
    }

    /// The `log` option.
    pub fn log(&self) -> Log {
        self.spec.log
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn kept_for_metrics(&self, make: impl FnOnce() -> Kept) -> &dyn Any {
        self.kept_for_metrics.get_or_init(make).as_ref()
    }

    /// The `warn_after` option.
    pub fn warn_after(&self) -> WarnAfter {
        self.spec.warn_after
    }

    /// `on_start`: its task is meant to run as long as the program does.
    pub(crate) fn is_started_once(&self) -> bool {
        let schedule = self.policies().and_then(|own| own.schedule.as_ref());
        schedule.is_some_and(|own| own.trigger == Trigger::OnStart)
    }

    /// The function's options as the attribute has them, but for `name` and for what is as if not said: its `Display` is
    /// `timeout = 30s, retry(max = 5, jitter), concurrency = 8`, and empty where there are none. Keys and predicates are code,
    /// and do not show.
    pub fn options(&self) -> Options {
        Options(display::options(
            self.spec.on_shutdown,
            self.spec.log,
            self.spec.warn_after,
            self.spec.policies,
        ))
    }

    /// Returns the policies that a call takes. A function whose only options are `State<_>` parameters has none.
    pub(crate) fn policies(&self) -> Option<&'static Policies> {
        self.policies
    }

    /// Returns the policies of a function that has policies or `State<_>` parameters, and [`Policies::NONE`] for others.
    pub(crate) fn declared(&self) -> &'static Policies {
        self.spec.policies.unwrap_or(&Policies::NONE)
    }

    /// Returns the types of the function's `State<_>` parameters, except generic ones.
    pub(crate) fn states(&self) -> &'static [StateSpec] {
        self.declared().states
    }

    /// How the runtime runs its tasks. With policies each is a future, which has a plain function's body run on the blocking
    /// pool when its time has come: what waits holds no thread.
    pub(crate) fn runs_as(&self) -> Kind {
        self.runs_as
    }
}

/// The options of one function; see [`Handler::options`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options(Vec<String>);

impl Options {
    /// Whether nothing was said but `name`.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One after the other, each as the attribute has it: a policy, or a schedule with all that belongs to it.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.join(", "))
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("name", &self.name())
            .field("file", &self.file())
            .field("line", &self.line())
            .field("kind", &self.kind())
            .field("takes_token", &self.takes_token())
            .field("options", &self.options().0)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Handler {
    /// `name (file:line)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!(
            "{} ({}:{})",
            self.name(),
            self.file(),
            self.line()
        ))
    }
}

/// The entry that generated code submits to the program-wide collection.
#[derive(Debug)]
pub struct Registered(pub &'static Handler);

inventory::collect!(Registered);

/// Returns every annotated function and every location of [`spawn!`](crate::spawn!) that is linked into the program, sorted by
/// name.
///
/// A crate that stands in `Cargo.toml` but is never named in code is not linked, and its functions are not listed;
/// `use that_crate as _;` links it.
///
/// ```
/// #[bgtask::background]
/// async fn send_webhook(url: String) {}
///
/// assert!(bgtask::handlers().iter().any(|handler| handler.name().ends_with("send_webhook")));
/// ```
pub fn handlers() -> Vec<&'static Handler> {
    let mut all: Vec<_> = inventory::iter::<Registered>
        .into_iter()
        .map(|registered| registered.0)
        .collect();
    all.sort_by_key(|handler| (handler.name(), handler.file(), handler.line()));
    all
}
