//! The settings of a manager, and its installation on a runtime.
//! Owns the defaults, and the takeover of a manager that a call has installed; must never know what a manager does.

use crate::configure::{self, OptionValues, Overrides};
use crate::context;
use crate::error::InstallError;
use crate::handler::self_check;
use crate::inspect::slow_tasks;
use crate::manager::{DEFAULT_GRACE, Manager};
use crate::observe::hooks::{FailedTask, FinishedTask, Hooks, PanickedTask};
use crate::schedule;
use crate::state::ToProvide;
use crate::task::attempt::{Attempt, Wrapper, wrapper};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

impl Manager {
    /// Returns a builder with the default settings.
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder {
            grace: DEFAULT_GRACE,
            pre_stop: Duration::ZERO,
            hooks: Hooks::default(),
            wrappers: Vec::new(),
            provided: ToProvide::default(),
            schedules: false,
            warn_after: None,
            overrides: Overrides::new(),
        }
    }

    /// Installs a manager with the default settings on the current runtime.
    ///
    /// # Errors
    ///
    /// See [`ManagerBuilder::install`].
    pub fn install() -> Result<Self, InstallError> {
        Self::builder().install()
    }
}

/// A builder for a [`Manager`].
#[must_use = "a builder does nothing until `install` or `install_on`"]
#[derive(Clone)]
pub struct ManagerBuilder {
    grace: Duration,
    pre_stop: Duration,
    hooks: Hooks,
    wrappers: Vec<Wrapper>,
    provided: ToProvide,
    schedules: bool,
    warn_after: Option<Duration>,
    overrides: Overrides,
}

impl ManagerBuilder {
    /// Sets the grace period: the time from the request for a shutdown to its deadline. Default: 25 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets how long [`Manager::token`] does not fire after the request for a shutdown, while [`Manager::is_ready`] already returns
    /// `false`: a server goes on for that long, until no load balancer sends it requests any more. Default: zero.
    ///
    /// The time counts within [`grace`](Self::grace); if it is longer than that, the token fires at the deadline. It ends early when
    /// [`Manager::shutdown`] is called. Schedules start no run from the request on.
    pub fn pre_stop(mut self, time: Duration) -> Self {
        self.pre_stop = time;
        self
    }

    /// Adds a hook that is called whenever a task panics, on the thread that panicked. A hook that panics itself is reported, and
    /// the task is not affected.
    pub fn on_panic(mut self, hook: impl Fn(&PanickedTask<'_>) + Send + Sync + 'static) -> Self {
        self.hooks.on_panic.push(Arc::new(hook));
        self
    }

    /// Adds a hook that is called whenever a task returns an `Err`, whether or not its handle is still held.
    pub fn on_error(mut self, hook: impl Fn(&FailedTask<'_>) + Send + Sync + 'static) -> Self {
        self.hooks.on_error.push(Arc::new(hook));
        self
    }

    /// Adds a hook that is called whenever a task ends, whatever its outcome, before the end is counted. Keep it short, because it
    /// runs on the task's thread.
    ///
    /// Not called for abandoned tasks, because they have not ended. For blocking functions still queued at the shutdown deadline,
    /// the hook runs on a helper thread and is given one second; if no thread can be spawned, it runs on the thread that requested
    /// the shutdown, after the shutdown completes.
    pub fn on_finish(mut self, hook: impl Fn(&FinishedTask<'_>) + Send + Sync + 'static) -> Self {
        self.hooks.on_finish.push(Arc::new(hook));
        self
    }

    /// Adds code around each attempt of every task: for what all tasks need, such as a tenant, a locale, a span or a measurement.
    /// `wrap` receives the [`Attempt`], which is a future, and awaits it.
    ///
    /// - It runs around each attempt: once per call, or, with `retry`, once per attempt. Waits for a policy are not part of it, and
    ///   `timeout` includes it.
    /// - The wrapper that was added first is the outermost. The `wrap` option of a function is inside of all of these.
    /// - It runs as the task: in its span, and under its token. The body runs within its `await`, so task-locals
    ///   (`KEY.scope(value, attempt).await`) and spans (`attempt.instrument(span).await`) reach the body. Those of a plain `fn`, too:
    ///   its wrappers run on the function's thread of the blocking pool, which waits while they wait.
    /// - A panic in the body unwinds through the `await`. A panic in the wrapper is the task's panic.
    /// - A wrapper that returns before the body has ended, such as one that does not await the attempt, cancels the call: its
    ///   handle returns [`TaskError::Cancelled`](crate::TaskError::Cancelled), an `error` is logged, and no further attempt is made.
    ///
    /// Without wrappers, a call only reads one flag.
    ///
    /// # Examples
    ///
    /// ```
    /// use bgtask::{Attempt, background};
    /// use std::time::Instant;
    ///
    /// tokio::task_local! { static TENANT: String; }
    ///
    /// #[background(fields(tenant))]
    /// async fn import(tenant: String) -> String {
    ///     format!("{tenant} is {}", TENANT.get())
    /// }
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// let manager = bgtask::Manager::builder()
    ///     .wrap(|attempt: Attempt| async move {
    ///         let (name, begun) = (attempt.name(), Instant::now());
    ///         let outcome = attempt.await;
    ///         println!("{name} {outcome} after {:?}", begun.elapsed());
    ///     })
    ///     .wrap(|attempt: Attempt| async move {
    ///         let tenant = attempt.fields().get("tenant").unwrap_or("nobody").to_owned();
    ///         TENANT.scope(tenant, attempt).await;
    ///     })
    ///     .install_on(runtime.handle())?;
    /// # runtime.block_on(async {
    /// assert_eq!(import("acme".into()).await?, "acme is acme");
    /// # Ok::<(), bgtask::TaskError>(())
    /// # }).unwrap();
    /// # runtime.block_on(manager.shutdown("the example ends"));
    /// # Ok::<(), bgtask::InstallError>(())
    /// ```
    pub fn wrap<F>(mut self, wrap: impl Fn(Attempt) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.wrappers.push(wrapper(wrap));
        self
    }

    /// Provides a value for [`State`](crate::State) parameters of its type; see [`provide`](crate::provide).
    #[track_caller]
    pub fn provide<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.provided.add(value);
        self
    }

    /// Sets new values for the options of the functions of this name, or whose names fit this pattern; see [`Overrides`]. A value replaces
    /// that of the attribute: an option that the attribute does not have cannot be added.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// #[bgtask::background(name = "shop::deliver", timeout = "30s", concurrency = 2)]
    /// async fn deliver(hook: String) { /* … */ }
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// let manager = bgtask::Manager::builder()
    ///     .configure("shop::*", |options| options.timeout(Duration::from_secs(10)))
    ///     .configure("shop::deliver", |options| options.concurrency(16))
    ///     .install_on(runtime.handle())?;
    /// # Ok::<(), bgtask::InstallError>(())
    /// ```
    pub fn configure(
        mut self,
        functions: impl Into<String>,
        values: impl FnOnce(OptionValues) -> OptionValues,
    ) -> Self {
        self.overrides = self.overrides.set(functions, values);
        self
    }

    /// Adds new values for the options of functions, as a program reads them from its configuration.
    pub fn overrides(mut self, overrides: Overrides) -> Self {
        self.overrides.append(overrides);
        self
    }

    /// Sets whether the functions with `every`, `cron` or `on_start` start with the manager; see
    /// [`Manager::start_schedules`]. Default: `false`, because a test or a second runtime rarely needs them.
    pub fn schedules(mut self, start: bool) -> Self {
        self.schedules = start;
        self
    }

    /// Sets how long a task may run before it is reported once, with its name, id, age, state and call site. Off by default. A
    /// function's own `warn_after` takes precedence, and functions with `on_start`, which are meant to run for long, need one to
    /// be reported at all.
    ///
    /// The clock starts at the call, or, if a policy makes the call wait, when it is admitted. It is the operating system's, so a
    /// test's paused time does not affect it. A separate thread scans the tasks, so it also works while every worker is stuck.
    /// A report is late by at most a tenth of the limit, and by at most a second.
    pub fn warn_after(mut self, limit: Duration) -> Self {
        self.warn_after = Some(limit);
        self
    }

    /// Installs the manager on the current runtime.
    ///
    /// # Errors
    ///
    /// [`InstallError::NoRuntime`] outside of a runtime; [`InstallError::AlreadyInstalled`] if the runtime has a manager;
    /// [`InstallError::Overrides`] if the values of [`configure`](Self::configure) do not fit the functions.
    pub fn install(self) -> Result<Manager, InstallError> {
        let runtime = Handle::try_current().map_err(|_| InstallError::NoRuntime)?;
        self.install_on(&runtime)
    }

    /// Installs the manager on `runtime`.
    ///
    /// # Errors
    ///
    /// [`InstallError::AlreadyInstalled`] if the runtime has a manager; [`InstallError::Overrides`] if the values of
    /// [`configure`](Self::configure) do not fit the functions.
    pub fn install_on(self, runtime: &Handle) -> Result<Manager, InstallError> {
        let manager = self.install_unchecked(runtime, false)?;
        self_check::self_check();
        Ok(manager)
    }

    /// Installs the process default, for `#[bgtask::main]`. Skips the self-check, which would log before `main` can set its
    /// subscriber.
    pub(crate) fn install_as_default(self, runtime: &Handle) -> Result<Manager, InstallError> {
        self.install_unchecked(runtime, true)
    }

    fn install_unchecked(
        self,
        runtime: &Handle,
        is_process_default: bool,
    ) -> Result<Manager, InstallError> {
        let Self {
            grace,
            pre_stop,
            hooks,
            wrappers,
            provided,
            schedules,
            warn_after,
            overrides,
        } = self;
        configure::check(&overrides).map_err(InstallError::Overrides)?;
        // A call may have installed a manager. That one stays, with these settings and the calls it tracks.
        let take_over = |hooks| {
            let tracker = context::take_over(runtime)?;
            tracker.shared.shutdown.set_grace(grace);
            tracker.shared.hooks.change(|all| all.append(hooks));
            Some(tracker)
        };
        let tracker = match take_over(hooks.clone()) {
            Some(tracker) => tracker,
            None => match context::install(runtime, grace, hooks.clone(), is_process_default) {
                Ok(tracker) => tracker,
                // A call may have installed one since the first attempt.
                Err(error) => take_over(hooks).ok_or(error)?,
            },
        };
        tracker.shared.shutdown.set_pre_stop(pre_stop);
        tracker.shared.wrappers.add(wrappers);
        provided.put_into(&tracker.shared.policies.states);
        slow_tasks::start(&tracker, warn_after);
        // Checked before the installation.
        let _ = configure::apply(&tracker.shared, &overrides);
        if schedules {
            schedule::start(&tracker);
        }
        Ok(Manager::new(tracker))
    }
}

impl fmt::Debug for ManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerBuilder")
            .field("grace", &self.grace)
            .field("pre_stop", &self.pre_stop)
            .field("warn_after", &self.warn_after)
            .finish_non_exhaustive()
    }
}
