//! Each tick of a durable function is one job, whatever happens to the processes that have it.
//!
//! The programs are this binary again: the ignored test `program` is their `main`. Each run writes a line with its tick and its job.

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::store::LIMIT;
use support::{Scratch, faketime, on_each_database};

const PERIOD: u64 = 250_000;

on_each_database! {
    of_three_processes_that_are_killed_in_turn_each_tick_is_one_job,
    clocks_that_differ_repeat_no_tick,
}

mod program {
    use bgtask::{Job, ShutdownToken};
    use std::env;
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::path::PathBuf;
    use std::time::{Duration, UNIX_EPOCH};

    #[bgtask::background(durable, every = "250ms", missed = "all")]
    async fn beat(job: Job) {
        let folder: PathBuf = env::var_os("BGTASK_TEST_FOLDER")
            .expect("of the test")
            .into();
        let tick = job.tick().expect("nobody calls it");
        let tick = tick
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_micros();
        let ledger = OpenOptions::new()
            .append(true)
            .create(true)
            .open(folder.join("ticks"));
        // Appended with one write, so that a process that is killed leaves no half of a line.
        ledger
            .expect("a file")
            .write_all(format!("{tick} {}\n", job.id()).as_bytes())
            .expect("a line");
    }

    #[bgtask::main(grace = "1s")]
    pub(super) async fn main(shutdown: ShutdownToken) {
        tracing_subscriber::fmt()
            .with_env_filter("bgtask=info,warn")
            .with_writer(std::io::stderr)
            .init();
        bgtask_durable::builder()
            .url(env::var("BGTASK_TEST_URL").expect("the database of the test"))
            .time_to_live(Duration::from_secs(1))
            .open()
            .await
            .expect("the store opens");
        shutdown.cancelled().await;
    }
}

/// The `main` of the programs.
#[test]
#[ignore = "the other tests start it as programs of their own"]
fn program() {
    if std::env::var_os("BGTASK_TEST_FOLDER").is_some() {
        program::main();
    }
}

/// One test's folder, and its programs.
struct Stage {
    scratch: Scratch,
    folder: PathBuf,
    programs: Vec<Child>,
}

impl Stage {
    fn new(scratch: Scratch) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("bgtask-ticks-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        Self {
            scratch,
            folder,
            programs: Vec::new(),
        }
    }

    /// Starts a program, perhaps with a clock of its own, such as `+5m`.
    fn start(&mut self, clock: Option<&str>) {
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command
            .args(["--exact", "program", "--ignored", "--nocapture"])
            .env("BGTASK_TEST_FOLDER", &self.folder)
            .env("BGTASK_TEST_URL", self.scratch.url())
            .stdout(Stdio::null());
        if let (Some(offset), Some(library)) = (clock, faketime()) {
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME", offset)
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        self.programs.push(command.spawn().expect("a program"));
    }

    /// Kills the program that was started first.
    fn kill_the_oldest(&mut self) {
        let mut program = self.programs.remove(0);
        let pid = i32::try_from(program.id()).expect("an id");
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("the signal is sent");
        program.wait().expect("it ends");
    }

    /// The jobs of each tick that has run.
    fn ticks(&self) -> BTreeMap<u64, BTreeSet<String>> {
        let text = fs::read_to_string(self.folder.join("ticks")).unwrap_or_default();
        let mut ticks = BTreeMap::<_, BTreeSet<_>>::new();
        for line in text.lines() {
            let (tick, job) = line.split_once(' ').expect("two words");
            let tick = tick.parse().expect("a number");
            ticks.entry(tick).or_default().insert(job.to_owned());
        }
        ticks
    }

    /// Waits until this many more ticks have run.
    fn tick(&self, count: usize) {
        let begin = Instant::now();
        let expected = self.ticks().len() + count;
        while self.ticks().len() < expected {
            assert!(begin.elapsed() < LIMIT, "{:?}", self.ticks());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Checks that every tick from the first to the last has run, and as one job.
    fn check(&self) {
        let ticks = self.ticks();
        let of_many: Vec<_> = ticks.iter().filter(|(_, jobs)| jobs.len() > 1).collect();
        assert!(of_many.is_empty(), "{of_many:?}");
        let times: Vec<_> = ticks.keys().copied().collect();
        for pair in times.windows(2) {
            assert_eq!(pair[1] - pair[0], PERIOD, "{times:?}");
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for program in &mut self.programs {
            let _ = program.kill();
            let _ = program.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Sentences 13.1 and 13.2.
fn of_three_processes_that_are_killed_in_turn_each_tick_is_one_job(scratch: Scratch) {
    // The clock of SQLite is that of each process.
    let clocks = if scratch.is_sqlite() {
        [None; 3]
    } else {
        [Some("+5m"), None, Some("-5m")]
    };
    let mut stage = Stage::new(scratch);
    for clock in clocks {
        stage.start(clock);
    }
    for clock in clocks {
        stage.tick(3);
        stage.kill_the_oldest();
        stage.start(clock);
    }
    stage.tick(6);
    stage.check();
}

/// Sentence 13.2.
fn clocks_that_differ_repeat_no_tick(scratch: Scratch) {
    let mut stage = Stage::new(scratch);
    for clock in ["-5m", "+5m"] {
        stage.start(Some(clock));
        stage.tick(3);
    }
    stage.tick(3);
    let ticks = stage.ticks();
    let of_many: Vec<_> = ticks.iter().filter(|(_, jobs)| jobs.len() > 1).collect();
    assert!(of_many.is_empty(), "{of_many:?}");
}
