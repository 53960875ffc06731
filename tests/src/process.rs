//! Processes that tests start, signal and read. Owns the pipes and the child, which is killed when a test fails. Knows nothing of
//! the programs.

use crate::{FOREVER, blocking_until};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// A running program.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// The lines of its stdout, as they come.
    stdout: mpsc::Receiver<String>,
    /// Its output to stderr so far.
    stderr: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// An ended program.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// Its stdout after the last awaited line.
    pub stdout: String,
    /// Its whole stderr.
    pub stderr: String,
}

impl Process {
    /// Starts a program.
    pub fn start(program: &str, arguments: &[&str]) -> Self {
        Self::start_with(program, arguments, &[])
    }

    /// Starts a program with additional environment variables.
    pub fn start_with(program: &str, arguments: &[&str], environment: &[(&str, &OsStr)]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().copied())
            // On a busy machine, a backtrace takes a second and delays every other panic.
            .env("RUST_BACKTRACE", "0")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (lines, stdout_lines) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            while stdout.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                // The test may have stopped reading.
                let _ = lines.send(std::mem::take(&mut line));
            }
        });
        let mut stderr = child.stderr.take().expect("a pipe");
        // Reads while the program runs, because a full pipe would block it.
        let text = Arc::new(Mutex::new(String::new()));
        let read = text.clone();
        let reader = thread::spawn(move || {
            let mut bytes = [0; 4096];
            let mut all = Vec::new();
            while let Ok(count @ 1..) = stderr.read(&mut bytes) {
                all.extend_from_slice(&bytes[..count]);
                // The last character may be incomplete.
                *read.lock().unwrap() = String::from_utf8_lossy(&all).into_owned();
            }
        });
        Self {
            child,
            stdout: stdout_lines,
            stderr: text,
            reader: Some(reader),
        }
    }

    /// Waits until its stderr satisfies `fits`.
    pub fn wait_for_stderr(&self, what: &str, fits: impl Fn(&str) -> bool) {
        blocking_until(what, || fits(&self.stderr.lock().unwrap()));
    }

    /// Reads its stdout up to this line.
    pub fn wait_for(&mut self, line: &str) {
        assert!(self.reaches(line), "it never printed {line:?}");
    }

    /// Reads its stdout up to this line. Returns `false` if stdout ends first.
    pub fn reaches(&mut self, line: &str) -> bool {
        loop {
            match self.stdout.recv_timeout(FOREVER) {
                Ok(printed) if printed.trim_end() == line => return true,
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => panic!("waited for ever for {line:?}"),
            }
        }
    }

    /// Sends a signal such as `TERM`. The process may have ended, if its exit code has not been read.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .expect("`kill` is installed");
        assert!(status.success());
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        let mut status = None;
        blocking_until("the process has ended", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        let stdout = self.stdout.iter().collect();
        if let Some(reader) = self.reader.take() {
            reader.join().expect("it only reads");
        }
        let stderr = self.stderr.lock().unwrap().clone();
        Ended {
            status: status.expect("it has ended"),
            stdout,
            stderr,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
