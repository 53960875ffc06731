//! The process in which a contestant is measured: this program again, which answers with lines of numbers.
//! Must never know what they measure.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A child process. It is killed when this is dropped.
pub(crate) struct Served {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Served {
    /// Starts this program with `arguments`.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .arg("child")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        Self {
            child,
            orders,
            answers,
        }
    }

    /// Sends an order and returns the answer.
    pub(crate) fn ask(&mut self, order: &str) -> Vec<f64> {
        let orders = self.orders.as_mut().expect("it has not ended");
        writeln!(orders, "{order}").expect("the child listens");
        self.answer().expect("the child answers")
    }

    /// Reads one line of numbers. `None` if the child has ended.
    pub(crate) fn answer(&mut self) -> Option<Vec<f64>> {
        let mut line = String::new();
        let length = self.answers.read_line(&mut line).expect("a pipe");
        let number = |text: &str| text.parse().expect("a number");
        (length > 0).then(|| line.split_whitespace().map(number).collect())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the child with SIGKILL, and waits for that.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a child to its end. Returns the numbers of its last line, or nothing if it failed, which is printed.
pub(crate) fn measure(arguments: &[&str]) -> Option<Vec<f64>> {
    let mut child = Served::start(arguments);
    let mut last = None;
    while let Some(line) = child.answer() {
        last = Some(line);
    }
    let status = child.child.wait().expect("a child");
    if !status.success() {
        eprintln!("{arguments:?}: {status}");
        return None;
    }
    last
}

/// The child's side: answers with numbers.
pub(crate) fn answer(numbers: &[f64]) {
    let texts: Vec<_> = numbers.iter().map(f64::to_string).collect();
    let mut output = std::io::stdout().lock();
    writeln!(output, "{}", texts.join(" ")).expect("the parent reads");
    output.flush().expect("the parent reads");
}

/// Returns the fields of `/proc/PID/stat` after the name of the program.
fn stat(pid: u32) -> Option<Vec<u64>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    let number = |field: &str| field.parse().unwrap_or(0);
    Some(fields.split_whitespace().map(number).collect())
}

/// Linux counts processor time in hundredths of a second, on every architecture.
const TICKS: f64 = 100.0;

/// Returns the seconds of processor time that a process has used.
pub(crate) fn seconds_of(pid: u32) -> f64 {
    stat(pid).map_or(f64::NAN, |fields| (fields[11] + fields[12]) as f64 / TICKS)
}

/// Returns the seconds that a process has used, its children, and those of its children that have ended.
pub(crate) fn seconds_of_family(parent: u32) -> f64 {
    let ids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(|pid| {
        let fields = stat(pid)?;
        if pid == parent {
            // With the children that it has waited for.
            return Some(fields[11..15].iter().sum::<u64>() as f64 / TICKS);
        }
        (fields[1] == u64::from(parent)).then_some((fields[11] + fields[12]) as f64 / TICKS)
    })
    .sum()
}

/// Returns the memory that a process has in RAM, now and at most so far, in MiB.
pub(crate) fn memory_of(pid: u32) -> [f64; 2] {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    ["VmRSS:", "VmHWM:"].map(|field| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.map_or(f64::NAN, |kib| kib / 1024.0)
    })
}
