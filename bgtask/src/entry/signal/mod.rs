//! Signals as shutdown requests; a second one exits immediately. One more signal may print a snapshot.
//! Owns the handlers and the threads that wait for them, outside the runtime; must never know what a request causes.

pub(crate) mod dump;
#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(any(unix, windows)), path = "other.rs")]
mod platform;

use crate::entry::signal::dump::DumpSignal;
use crate::inspect::snapshot;
use crate::report::Signal;
use crate::shutdown::request;
use crate::tracker::Tracker;
use crate::util::log::to_stderr;
use crate::util::sync::unmodelled::Mutex;
use std::io;
use std::sync::Arc;
use std::thread;

/// The handlers that this process has. The first program installs them, and a later one finds them.
struct Installed {
    stop: bool,
    dumps: Vec<DumpSignal>,
}

/// Locked while handlers are installed.
static INSTALLED: Mutex<Installed> = Mutex::new(Installed {
    stop: false,
    dumps: Vec::new(),
});

/// The programs that signals concern: usually one.
struct Watched {
    trackers: Vec<Arc<Tracker>>,
    is_requested: bool,
}

/// Locked to add or to remove a program, and to decide what a signal does; never while that is done.
static WATCHED: Mutex<Watched> = Mutex::new(Watched {
    trackers: Vec::new(),
    is_requested: false,
});

/// The handlers that were installed for one program. A signal that arrives before the watch starts is kept.
pub(super) struct Listening {
    stop: Option<platform::Stop>,
    dump: Option<platform::Dump>,
}

/// Installs the handlers that the process does not have yet. Call it while the process has a single thread: only then a signal is
/// blocked in the whole process until its handler is complete.
///
/// # Errors
///
/// Returns an error if a handler cannot be installed.
pub(super) fn listen(dump: Option<DumpSignal>) -> io::Result<Listening> {
    let mut installed = INSTALLED.lock();
    let dump = dump.filter(|signal| !installed.dumps.contains(signal));
    let (stop, listening) = platform::listen(!installed.stop, dump)?;
    installed.stop = true;
    installed.dumps.extend(dump);
    Ok(Listening {
        stop,
        dump: listening,
    })
}

impl Listening {
    /// Has signals request the shutdown of `tracker`'s manager. The threads that wait for signals live until the process ends.
    ///
    /// # Errors
    ///
    /// Returns an error if a thread cannot be spawned.
    pub(super) fn watch(self, tracker: &Arc<Tracker>) -> io::Result<Watching> {
        let Self { stop, dump } = self;
        let watching = Watching(tracker.clone());
        WATCHED.lock().trackers.push(tracker.clone());
        if let Some(stop) = stop {
            thread::Builder::new()
                .name("bgtask-signals".to_owned())
                .spawn(|| platform::for_each(stop, request_or_exit))?;
        }
        if let Some(dump) = dump {
            // On its own thread: the other signals must not wait for a write to stderr.
            thread::Builder::new()
                .name("bgtask-dump".to_owned())
                // All signals that arrive during a print cause one more.
                .spawn(|| platform::for_each_dump(dump, print_snapshots))?;
        }
        Ok(watching)
    }
}

/// Has signals concern a program until it is dropped. Once no program is left, a signal ends the process, as it does by default.
#[must_use = "signals do not concern the program once this is dropped"]
pub(super) struct Watching(Arc<Tracker>);

impl Drop for Watching {
    fn drop(&mut self) {
        let mut watched = WATCHED.lock();
        let others = |tracker: &Arc<Tracker>| !Arc::ptr_eq(tracker, &self.0);
        watched.trackers.retain(others);
        if watched.trackers.is_empty() {
            // The next program has a first signal of its own.
            watched.is_requested = false;
            platform::forget();
        }
    }
}

/// Handles a signal: the first one requests the shutdown, a further one exits.
fn request_or_exit(signal: Signal) {
    let mut watched = WATCHED.lock();
    let trackers = watched.trackers.clone();
    let is_further = std::mem::replace(&mut watched.is_requested, true);
    drop(watched);
    if is_further || trackers.is_empty() {
        exit(signal.exit_code());
    }
    // The requests first: stderr may be a pipe that nobody reads.
    for tracker in &trackers {
        request::request(tracker, signal.into());
    }
    to_stderr(format_args!(
        "{signal}: shutting down; a second signal exits immediately"
    ));
}

fn print_snapshots() {
    let trackers = WATCHED.lock().trackers.clone();
    for tracker in &trackers {
        to_stderr(format_args!("{}", snapshot::take(tracker)));
    }
}

/// Exits the process immediately, whatever its threads are doing.
pub(super) fn exit(code: i32) -> ! {
    platform::exit(code)
}
