//! All that this process logs, as text. Knows nothing of jobs.

use std::io;
use std::sync::{Mutex, Once};

static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut logged = LOGGED.lock().expect("no thread panics with it");
        logged.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to keep the events of `bgtask`.
pub(crate) fn start() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .with_env_filter("bgtask=debug")
            .with_ansi(false)
            .with_writer(|| Log)
            .init();
    });
}

/// The lines so far with this text.
pub(crate) fn lines(text: &str) -> Vec<String> {
    let logged = LOGGED.lock().expect("no thread panics with it");
    let logged = String::from_utf8_lossy(&logged);
    let lines = logged.lines().filter(|line| line.contains(text));
    lines.map(str::to_owned).collect()
}
