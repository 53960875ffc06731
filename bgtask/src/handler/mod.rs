//! The static description of one annotated function, and the list of all that are linked into the program.
//! A handler is data that the compiler writes; must never know about running tasks.

pub mod constant;
mod log;
mod on_shutdown;
mod options;
pub(crate) mod self_check;
mod warn_after;

pub use log::Log;
pub use on_shutdown::OnShutdown;
pub use options::Options;
pub use warn_after::WarnAfter;

use crate::fields::FieldSpec;
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
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Kind {
    /// On the runtime's workers: an `async fn`.
    Async,
    /// On the runtime's blocking pool: a plain `fn`.
    Blocking,
}

/// A function with [`#[background]`](macro@crate::background), or a location where [`spawn!`](crate::spawn!) is called.
///
/// [`handlers()`](crate::handlers) lists all of them.
pub struct Handler {
    spec: HandlerSpec,
    /// Absent if a call takes none of the policies: there are none, or only states and fields.
    policies: Option<&'static Policies>,
    runs_as: Kind,
    #[cfg(feature = "metrics")]
    for_metrics: OnceLock<ForMetrics>,
}

/// The value that metrics keep with a function, to save the look-up. The bounds keep a handler unwind-safe with every set of features.
#[cfg(feature = "metrics")]
type ForMetrics = Box<dyn Any + Send + Sync + UnwindSafe + RefUnwindSafe>;

/// The description of a function as generated code writes it. [`Handler`] is its public interface.
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
            for_metrics: OnceLock::new(),
        }
    }

    /// Returns the name of its tasks: `module::path::function`, or the value of `name = "…"`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.spec.name
    }

    /// Returns the function's path as the compiler writes it: with the functions and the `impl` around it, and with the names of
    /// their type parameters, or `_`. Empty for a block.
    pub(crate) fn path(&self) -> &'static str {
        let inner_type = (self.spec.path)();
        inner_type
            .rsplit_once("::")
            .map_or(inner_type, |(function, _)| function)
    }

    /// Returns whether this describes a location where [`spawn!`](crate::spawn!) is called, not a function.
    pub(crate) fn is_block(&self) -> bool {
        self.path().is_empty()
    }

    /// Returns the function's module.
    #[must_use]
    pub fn module_path(&self) -> &'static str {
        self.spec.module_path
    }

    /// Returns the function's source file, as it was passed to the compiler.
    #[must_use]
    pub fn file(&self) -> &'static str {
        self.spec.file
    }

    /// Returns the line of the function's name.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.spec.line
    }

    /// Returns where the body runs.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.spec.kind
    }

    /// Returns whether the function takes a [`ShutdownToken`](crate::ShutdownToken).
    #[must_use]
    pub fn takes_token(&self) -> bool {
        self.spec.takes_token
    }

    /// Whether its calls are stored, so that each task of it runs a job.
    pub(crate) fn is_durable(&self) -> bool {
        #[cfg(feature = "durable")]
        if let Some(policies) = self.policies() {
            return policies.durable.is_some();
        }
        false
    }

    /// Returns the `on_shutdown` option.
    #[must_use]
    pub fn on_shutdown(&self) -> OnShutdown {
        self.spec.on_shutdown
    }

    /// Returns whether the function has `on_shutdown = "finish"`: its token does not fire when draining starts.
    pub(crate) fn finishes(&self) -> bool {
        self.spec.on_shutdown == OnShutdown::Finish
    }

    /// Returns the `log` option.
    #[must_use]
    pub fn log(&self) -> Log {
        self.spec.log
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn for_metrics(&self, create: impl FnOnce() -> ForMetrics) -> &dyn Any {
        self.for_metrics.get_or_init(create).as_ref()
    }

    /// Returns the `warn_after` option.
    #[must_use]
    pub fn warn_after(&self) -> WarnAfter {
        self.spec.warn_after
    }

    /// Returns whether the function has `on_start`: its task is meant to run as long as the program.
    pub(crate) fn is_started_once(&self) -> bool {
        let policies = self.policies();
        let schedule = policies.and_then(|policies| policies.schedule.as_ref());
        schedule.is_some_and(|schedule| schedule.trigger == Trigger::OnStart)
    }

    /// Returns whether each process of the program runs the function by itself: it has `every` or `cron`, and is not `durable`. With
    /// three replicas, each tick then runs three times. With `durable`, each tick is one job of all processes together.
    ///
    /// # Examples
    ///
    /// A deployment with several replicas lists what it should look at:
    ///
    /// ```
    /// #[bgtask::background(every = "5m")]
    /// async fn purge_expired() { /* … */ }
    ///
    /// for handler in bgtask::handlers() {
    ///     if handler.ticks_in_every_process() {
    ///         println!("{} runs in every replica: {}", handler.name(), handler.options());
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn ticks_in_every_process(&self) -> bool {
        let policies = self.policies();
        let schedule = policies.and_then(|policies| policies.schedule.as_ref());
        let ticks = schedule.is_some_and(|schedule| schedule.trigger != Trigger::OnStart);
        ticks && !self.is_durable()
    }

    /// Returns the options given to the attribute, except `name` and options left at their default.
    ///
    /// Their `Display` is `timeout = 30s, retry(max = 5, jitter), concurrency = 8`. Keys and predicates are code and are left out.
    #[must_use]
    pub fn options(&self) -> Options {
        Options::new(
            self.spec.on_shutdown,
            self.spec.log,
            self.spec.warn_after,
            self.spec.policies,
        )
    }

    /// Returns the policies that a call takes. A function whose only options are `State<_>` parameters has none.
    pub(crate) fn policies(&self) -> Option<&'static Policies> {
        self.policies
    }

    /// Returns the policies of a function that has policies or `State<_>` parameters, and [`Policies::NONE`] for others.
    pub(crate) fn declared(&self) -> &'static Policies {
        self.spec.policies.unwrap_or(&Policies::NONE)
    }

    /// Returns the fields that its calls record.
    pub(crate) fn fields(&self) -> Option<&'static FieldSpec> {
        self.declared().fields.as_ref()
    }

    /// Returns the types of the function's `State<_>` parameters, except generic ones.
    pub(crate) fn states(&self) -> &'static [StateSpec] {
        self.declared().states
    }

    /// Returns how the runtime runs its tasks. With policies each is a future, even that of a plain function: it runs the body on
    /// the blocking pool once the policies admit it, so that a waiting call holds no thread.
    pub(crate) fn runs_as(&self) -> Kind {
        self.runs_as
    }
}

#[cfg(test)]
impl Handler {
    /// Returns the handler of an `async fn` without options.
    pub(crate) const fn for_tests(name: &'static str) -> Self {
        Self::new(HandlerSpec {
            name,
            path: || "tests",
            module_path: "tests",
            file: file!(),
            line: line!(),
            kind: Kind::Async,
            takes_token: false,
            on_shutdown: OnShutdown::Drain,
            log: Log::Off,
            warn_after: WarnAfter::Default,
            policies: None,
        })
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
            .field("options", &self.options().iter().collect::<Vec<_>>())
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

/// Displays the location of a function: `src/api.rs:40`.
pub(crate) struct DefinedAt(pub(crate) &'static Handler);

impl fmt::Display for DefinedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.file(), self.0.line())
    }
}

/// The entry that generated code submits to the program-wide collection.
#[derive(Debug)]
pub struct Registered(pub &'static Handler);

inventory::collect!(Registered);

/// Returns every function with [`#[background]`](macro@crate::background) and every location of [`spawn!`](crate::spawn!) that is
/// linked into the program, sorted by name.
///
/// Of a program with several replicas, each runs the functions with `every` and `cron` that are not `durable`:
/// [`Handler::ticks_in_every_process`].
///
/// A dependency that no code refers to is not linked, and its functions are not listed. `use that_crate as _;` links it.
///
/// # Examples
///
/// ```
/// #[bgtask::background]
/// async fn send_webhook(url: String) {}
///
/// assert!(bgtask::handlers().iter().any(|handler| handler.name().ends_with("send_webhook")));
/// ```
#[must_use]
pub fn handlers() -> Vec<&'static Handler> {
    let mut all: Vec<_> = inventory::iter::<Registered>
        .into_iter()
        .map(|registered| registered.0)
        .collect();
    all.sort_by_key(|handler| (handler.name(), handler.file(), handler.line()));
    all
}
