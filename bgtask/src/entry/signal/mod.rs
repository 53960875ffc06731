//! Signals as shutdown requests; a second one exits immediately. One more signal may print a snapshot.
//! Owns the handlers and the threads that wait for them, outside the runtime; must never know what a request causes.

pub(crate) mod dump;
#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(any(unix, windows)), path = "other.rs")]
mod platform;

use crate::entry::signal::dump::DumpSignal;
use crate::inspect::snapshot;
use crate::shutdown::request;
use crate::tracker::Tracker;
use crate::util::log::to_stderr;
use std::io;
use std::sync::Arc;
use std::thread;

/// The installed handlers. A signal that arrives before the watch starts is kept.
pub(super) struct Listening {
    stop: platform::Stop,
    dump: Option<platform::Dump>,
}

/// Installs the handlers. Call it while the process has a single thread: only then a signal is blocked in the whole process
/// until its handler is complete.
///
/// # Errors
///
/// Returns an error if a handler cannot be installed.
pub(super) fn listen(dump: Option<DumpSignal>) -> io::Result<Listening> {
    let (stop, dump) = platform::listen(dump)?;
    Ok(Listening { stop, dump })
}

impl Listening {
    /// Spawns the threads that wait for signals until the process ends.
    ///
    /// # Errors
    ///
    /// Returns an error if a thread cannot be spawned.
    pub(super) fn watch(self, tracker: &Arc<Tracker>) -> io::Result<()> {
        let Self { stop, dump } = self;
        let stopped = Arc::clone(tracker);
        thread::Builder::new()
            .name("bgtask-signals".to_owned())
            .spawn(move || {
                let mut is_requested = false;
                platform::for_each(stop, |signal| {
                    if is_requested {
                        exit(signal.exit_code());
                    }
                    is_requested = true;
                    // The request first: stderr may be a pipe that nobody reads.
                    request::request(&stopped, signal.into());
                    to_stderr(format_args!(
                        "{signal}: shutting down; a second signal exits immediately"
                    ));
                });
            })?;
        let Some(dump) = dump else {
            return Ok(());
        };
        let dumped = Arc::clone(tracker);
        // On its own thread: the other signals must not wait for a write to stderr.
        thread::Builder::new()
            .name("bgtask-dump".to_owned())
            .spawn(move || {
                // All signals that arrive during a print cause one more.
                platform::for_each_dump(dump, || {
                    to_stderr(format_args!("{}", snapshot::take(&dumped)));
                });
            })
            .map(drop)
    }
}

/// Exits the process immediately, whatever its threads are doing.
pub(super) fn exit(code: i32) -> ! {
    platform::exit(code)
}
