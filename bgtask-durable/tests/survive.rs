//! Jobs survive kill -9, a stopped process, a termination, a job that kills its process.
//!
//! The programs are this binary again: the ignored test `program` is their `main`. Each job writes a line when it begins, so the
//! tests wait for conditions.

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::store::LIMIT;
use support::transactions::Pool;
use support::{Scratch, faketime, in_rounds, on_each_database};

/// A setting of a long run, in milliseconds.
fn millis(name: &str) -> Option<Duration> {
    let millis = std::env::var(name).ok()?;
    Some(Duration::from_millis(millis.parse().expect("a number")))
}

fn time_to_live() -> Duration {
    millis("BGTASK_TEST_TIME_TO_LIVE").unwrap_or(Duration::from_millis(1500))
}

fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(test)
}

mod program {
    use bgtask::ShutdownToken;
    use bgtask::durable::JobState;
    use bgtask_durable::Filter;
    use std::env;
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::path::{Path, PathBuf};
    use std::process;
    use std::time::Duration;

    fn folder() -> PathBuf {
        env::var_os("BGTASK_TEST_FOLDER")
            .expect("the folder of the test")
            .into()
    }

    fn number(name: &str) -> u32 {
        env::var(name).map_or(0, |value| value.parse().expect("a number"))
    }

    fn append(file: &str, line: &str) {
        let path = folder().join(file);
        let file = OpenOptions::new().append(true).create(true).open(path);
        file.expect("a file")
            .write_all(format!("{line}\n").as_bytes())
            .expect("a line");
    }

    async fn until_there(path: &Path) {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends once the file `go` is there. Notes that its token has fired, and goes on.
    #[bgtask::background(durable, retry(max = 1))]
    async fn held(number: u32, token: ShutdownToken) -> (u32, u32) {
        append("begun", &format!("{number} {}", process::id()));
        // Long enough to be there when another job kills the process.
        tokio::time::sleep(Duration::from_millis(
            self::number("BGTASK_TEST_SLOW").into(),
        ))
        .await;
        let go = folder().join("go");
        tokio::select! {
            () = until_there(&go) => {}
            () = token.cancelled() => {
                let reason = token.reason().expect("it has fired");
                append("fired", &format!("{number} {} {reason}", process::id()));
                until_there(&go).await;
            }
        }
        (number, process::id())
    }

    /// Kills its process.
    #[bgtask::background(durable, retry(max = 1))]
    async fn deadly() {
        append("begun", &format!("deadly {}", process::id()));
        process::abort();
    }

    /// Blocks its thread until the file `go` is there.
    #[bgtask::background(durable, retry(max = 1))]
    fn blocks(number: u32) -> (u32, u32) {
        append("begun", &format!("{number} {}", process::id()));
        while !folder().join("go").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        (number, process::id())
    }

    #[bgtask::main(grace = "1s")]
    pub(super) async fn main(shutdown: ShutdownToken) {
        run(shutdown).await;
    }

    /// The drain of which lasts for as long as a test may.
    pub(super) mod patient {
        use bgtask::ShutdownToken;

        #[bgtask::main(grace = "10m")]
        pub(crate) async fn main(shutdown: ShutdownToken) {
            super::run(shutdown).await;
        }
    }

    async fn run(shutdown: ShutdownToken) {
        tracing_subscriber::fmt()
            .with_env_filter("bgtask=info,warn")
            .with_writer(std::io::stderr)
            .init();
        let jobs = bgtask_durable::builder()
            .url(env::var("BGTASK_TEST_URL").expect("the database of the test"))
            .queue("default", number("BGTASK_TEST_AT_ONCE").max(10) as usize)
            .time_to_live(super::time_to_live())
            .open()
            .await
            .expect("the store opens");
        if number("BGTASK_TEST_DEADLY") > 0 {
            deadly().await.expect("it is stored");
        }
        for number in 0..number("BGTASK_TEST_STORE") {
            held(number).await.expect("it is stored");
        }
        for number in 0..number("BGTASK_TEST_BLOCK") {
            blocks(number).await.expect("it is stored");
        }
        let clock = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
        append("clocks", &clock.as_secs().to_string());
        append("stored", &process::id().to_string());
        let expected = number("BGTASK_TEST_EXPECT");
        if expected == 0 {
            shutdown.cancelled().await;
            return;
        }
        // Not by their numbers: a process that died while it stored a job may have used one up.
        let listed = jobs.list(Filter::all().limit(1000)).await;
        let ids = listed.expect("a list").into_iter().rev().map(|job| job.id);
        for (number, id) in (1..=expected).zip(ids) {
            let job = jobs.get::<Option<(u32, u32)>>(id);
            let value = job.outcome().await;
            let status = job.status().await.expect("it is there");
            let value = match value {
                Ok(Some((number, process))) => format!("{number} {process}"),
                other => format!("{other:?}"),
            };
            append(
                "ended",
                &format!(
                    "{number}|{}|{}|{}|{value}",
                    status.state, status.attempts, status.crashes
                ),
            );
        }
        for state in [JobState::Running, JobState::Waiting] {
            assert_eq!(jobs.count(state).await, Ok(0));
        }
    }
}

/// The `main` of the programs.
#[test]
#[ignore = "the other tests start it as programs of their own"]
fn program() {
    if std::env::var_os("BGTASK_TEST_FOLDER").is_some() {
        let _ = match std::env::var_os("BGTASK_TEST_PATIENT") {
            Some(_) => program::patient::main(),
            None => program::main(),
        };
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
        let name = format!("bgtask-survive-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        Self {
            scratch,
            folder,
            programs: Vec::new(),
        }
    }

    /// Starts a program, and returns its number.
    fn start(&mut self, settings: &[(&str, u32)]) -> usize {
        let command = Command::new(std::env::current_exe().expect("this binary"));
        self.start_as(command, settings)
    }

    /// The same, with a clock of its own.
    fn start_with_clock(
        &mut self,
        library: &Path,
        offset: &str,
        settings: &[(&str, u32)],
    ) -> usize {
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command
            .env("LD_PRELOAD", library)
            .env("FAKETIME", offset)
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        self.start_as(command, settings)
    }

    fn start_as(&mut self, mut command: Command, settings: &[(&str, u32)]) -> usize {
        command
            .args(["--exact", "program", "--ignored", "--nocapture"])
            .env("BGTASK_TEST_FOLDER", &self.folder)
            .env("BGTASK_TEST_URL", self.scratch.url())
            .stdout(Stdio::null());
        for (name, value) in settings {
            command.env(name, value.to_string());
        }
        self.programs.push(command.spawn().expect("a program"));
        self.programs.len() - 1
    }

    fn signal(&self, program: usize, signal: Signal) {
        let pid = i32::try_from(self.programs[program].id()).expect("an id");
        kill(Pid::from_raw(pid), signal).expect("the signal is sent");
    }

    /// Stops a program outside a write transaction. A process that is stopped within one holds the lock of the database, and no
    /// other process can write until it goes on.
    fn stop(&self, program: usize) {
        let begin = Instant::now();
        loop {
            self.signal(program, Signal::SIGSTOP);
            if self.can_write() {
                return;
            }
            self.signal(program, Signal::SIGCONT);
            // On a busy machine it may take long to end its write.
            while !self.can_write() {
                assert!(begin.elapsed() < LIMIT, "the program always writes");
            }
        }
    }

    fn can_write(&self) -> bool {
        #[cfg(feature = "sqlite")]
        if self.scratch.url().starts_with("sqlite:") {
            return is_unlocked(self.scratch.url());
        }
        // Postgres ends a transaction that a stopped process leaves open.
        true
    }

    fn wait(&mut self, program: usize) -> Option<i32> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.programs[program].try_wait().expect("it is awaited") {
                return status.code();
            }
            assert!(begin.elapsed() < LIMIT, "the program does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn go(&self) {
        fs::write(self.folder.join("go"), "").expect("a file");
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn until_lines(&self, file: &str, count: usize) {
        let begin = Instant::now();
        while self.lines(file).len() < count {
            assert!(
                begin.elapsed() < LIMIT,
                "{:?} has {:?}",
                Path::new(file),
                self.lines(file)
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Notes from now on how often each end is recorded.
    fn note_ends(&self) {
        block_on(async { Pool::of(&self.scratch).await.note_ends().await });
    }

    fn noted_ends(&self) -> Vec<i64> {
        block_on(async { Pool::of(&self.scratch).await.noted_ends().await })
    }

    /// Waits until each process that is known now has beaten twice.
    fn until_all_beat(&self) {
        block_on(async {
            let pool = Pool::of(&self.scratch).await;
            let begin = Instant::now();
            let before = pool
                .numbers("SELECT beat FROM bgtask_worker ORDER BY id")
                .await;
            loop {
                let now = pool
                    .numbers("SELECT beat FROM bgtask_worker ORDER BY id")
                    .await;
                let is_one_gone = now.len() != before.len();
                if is_one_gone
                    || now
                        .iter()
                        .zip(&before)
                        .all(|(now, before)| now - before >= 2)
                {
                    return;
                }
                assert!(begin.elapsed() < LIMIT, "{before:?}, {now:?}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }

    /// The ends that a program with `BGTASK_TEST_EXPECT` has written: state, attempts, crashes and value of each job.
    fn ends(&self) -> BTreeMap<u32, Vec<String>> {
        let parse = |line: &String| {
            let mut parts = line.split('|').map(str::to_owned);
            let id = parts.next().expect("an id").parse().expect("a number");
            (id, parts.collect())
        };
        self.lines("ended").iter().map(parse).collect()
    }
}

#[cfg(feature = "sqlite")]
fn is_unlocked(url: &str) -> bool {
    use riverqueue::sqlx::sqlite::SqliteConnectOptions;
    use riverqueue::sqlx::{self, ConnectOptions as _, Connection as _};
    let options: SqliteConnectOptions = url.parse().expect("a URL");
    let options = options.busy_timeout(Duration::from_secs(1));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut database = options.connect().await.expect("the database is there");
        let lock = sqlx::query("BEGIN IMMEDIATE");
        let is_locked = lock.execute(&mut database).await.is_ok();
        database.close().await.expect("the connection closes");
        is_locked
    })
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

/// Sentences 3.1, 4.2 and 5.4.
fn after_kill_9_every_job_ends_and_is_recorded_once(scratch: Scratch) {
    let mut stage = Stage::new(scratch);
    let at_once = ("BGTASK_TEST_AT_ONCE", 100);
    let first = stage.start(&[("BGTASK_TEST_STORE", 120), at_once]);
    stage.until_lines("stored", 1);
    // As many as run at once; the other twenty wait.
    stage.until_lines("begun", 100);
    stage.signal(first, Signal::SIGKILL);
    stage.wait(first);

    stage.go();
    let second = stage.start(&[("BGTASK_TEST_EXPECT", 120), at_once]);
    assert_eq!(stage.wait(second), Some(0));
    let ends = stage.ends();
    assert_eq!(ends.len(), 120);
    let mut crashed = 0;
    for (id, end) in &ends {
        // With `retry(max = 1)` an attempt that a crash took counts for nothing.
        assert_eq!(end[..2], ["done", "1"], "job {id}: {end:?}");
        assert!(
            end[3].starts_with(&format!("{} ", id - 1)),
            "job {id}: {end:?}"
        );
        crashed += end[2].parse::<u32>().expect("a number");
    }
    assert_eq!(crashed, 100, "{ends:?}");
    // The bodies of the hundred began twice, and no others.
    assert_eq!(stage.lines("begun").len(), 220);
}

/// Sentences 2.6 and 4.1.
fn a_stopped_process_that_goes_on_records_nothing_and_works_again(scratch: Scratch) {
    let mut stage = Stage::new(scratch);
    let first = stage.start(&[("BGTASK_TEST_STORE", 3)]);
    stage.until_lines("begun", 3);
    stage.stop(first);
    let second = stage.start(&[]);
    stage.until_lines("begun", 6);
    let second_pid = stage.programs[second].id().to_string();
    // Both hold a body of each job now, and the first one's end first.
    stage.signal(first, Signal::SIGCONT);
    // The first one learns that it was declared dead, and its bodies that their claims are void.
    stage.until_lines("fired", 3);
    let fired = stage.lines("fired");
    assert!(
        fired.iter().all(|line| line.ends_with(" lease_lost")),
        "{fired:?}"
    );
    stage.go();
    let third = stage.start(&[("BGTASK_TEST_EXPECT", 3)]);
    assert_eq!(stage.wait(third), Some(0));
    for (id, end) in stage.ends() {
        assert_eq!(end[..3], ["done", "1", "1"], "job {id}: {end:?}");
        assert!(
            end[3].ends_with(&format!(" {second_pid}")),
            "job {id}: {end:?}"
        );
    }
    stage.signal(second, Signal::SIGTERM);
    assert_eq!(stage.wait(second), Some(0));
    // The first one is a worker again, under another name: of twelve jobs that do not end, the one that stores them holds ten.
    fs::remove_file(stage.folder.join("go")).expect("the file is there");
    stage.start(&[("BGTASK_TEST_STORE", 12)]);
    stage.until_lines("begun", 18);
    let first_pid = stage.programs[first].id().to_string();
    let begun = stage.lines("begun");
    let by_the_first = begun[6..]
        .iter()
        .filter(|line| line.ends_with(&format!(" {first_pid}")));
    assert!(by_the_first.count() >= 2, "{begun:?}");
}

/// Sentences 5.2 and 5.3.
fn a_terminated_process_returns_its_jobs_uncounted(scratch: Scratch) {
    let mut stage = Stage::new(scratch);
    let first = stage.start(&[("BGTASK_TEST_STORE", 5)]);
    stage.until_lines("begun", 5);
    stage.until_lines("stored", 1);
    stage.signal(first, Signal::SIGTERM);
    // The bodies go on after their tokens have fired, so the deadline passes.
    stage.wait(first);
    let fired = stage.lines("fired");
    assert_eq!(fired.len(), 5);
    assert!(
        fired.iter().all(|line| line.ends_with(" shutdown")),
        "{fired:?}"
    );

    stage.go();
    let second = stage.start(&[("BGTASK_TEST_EXPECT", 5)]);
    assert_eq!(stage.wait(second), Some(0));
    let ends = stage.ends();
    assert_eq!(ends.len(), 5);
    for (id, end) in ends {
        assert_eq!(end[..3], ["done", "1", "0"], "job {id}: {end:?}");
    }
}

/// Sentences 3.2 and 3.3.
fn a_job_that_kills_its_process_dies_alone(scratch: Scratch) {
    let mut stage = Stage::new(scratch);
    stage.go();
    let slow = ("BGTASK_TEST_SLOW", 300);
    stage.start(&[("BGTASK_TEST_DEADLY", 1), ("BGTASK_TEST_STORE", 10), slow]);
    let mut last = 0;
    for starts in 1.. {
        // Ended by its job, or because all has ended.
        if stage.wait(last) == Some(0) {
            break;
        }
        assert!(
            starts < 20,
            "the deadly job goes on: {:?}",
            stage.lines("begun")
        );
        // Whatever the first could not store any more is stored again: its place is among the ends.
        let stored = stage.lines("stored").len();
        last = if stored == 0 {
            stage.start(&[("BGTASK_TEST_STORE", 10), slow])
        } else {
            stage.start(&[("BGTASK_TEST_EXPECT", 11), slow])
        };
    }
    let begun = stage.lines("begun");
    let deadly = begun
        .iter()
        .filter(|line| line.starts_with("deadly"))
        .count();
    assert_eq!(deadly, 5, "{begun:?}");
    let ends = stage.ends();
    let dead: Vec<_> = ends.values().filter(|end| end[0] == "dead").collect();
    assert_eq!(dead.len(), 1, "{ends:?}");
    assert_eq!(dead[0][2], "5");
    let done = ends.values().filter(|end| end[0] == "done").count();
    assert_eq!(done, 10, "{ends:?}");
}

/// Sentences 3.1, 4.2 and 5.4.
fn after_kill_9_a_live_process_takes_all_jobs_over(scratch: Scratch) {
    in_rounds(1, |round, _| {
        let mut stage = Stage::new(scratch.another());
        let at_once = ("BGTASK_TEST_AT_ONCE", 100);
        let first = stage.start(&[("BGTASK_TEST_STORE", 100), at_once]);
        stage.until_lines("stored", 1);
        stage.until_lines("begun", 100);
        stage.note_ends();
        let second = stage.start(&[("BGTASK_TEST_EXPECT", 100), at_once]);
        stage.until_lines("stored", 2);
        // It has seen the first one's beat, and is to run jobs once that has stopped.
        stage.until_all_beat();
        stage.signal(first, Signal::SIGKILL);
        let begin = Instant::now();
        stage.until_lines("begun", 200);
        let elsewhere = begin.elapsed();
        stage.go();
        assert_eq!(stage.wait(second), Some(0));
        let ends = stage.ends();
        let lost = ends
            .values()
            .filter(|end| end[..2] != ["done", "1"])
            .count()
            + 100
            - ends.len();
        let noted = stage.noted_ends();
        let twice = noted.iter().filter(|count| **count > 1).count();
        let begun = stage.lines("begun").len();
        #[expect(clippy::print_stdout, reason = "of a long run")]
        {
            println!(
                "kill -9, {}, round {round}: all running elsewhere after {:.2} s, lost {lost}, ends recorded twice {twice}, bodies that ran twice {}",
                stage.scratch.kind(),
                elsewhere.as_secs_f64(),
                begun - 100
            );
        }
        assert_eq!((lost, twice, noted.len()), (0, 0, 100), "{ends:?}");
        assert_eq!(begun, 200, "each body ran once more");
        if let Some(limit) = millis("BGTASK_TEST_ELSEWHERE_WITHIN") {
            assert!(elsewhere <= limit, "{elsewhere:?}");
        }
    });
}

/// Sentences 2.6 and 4.2.
fn of_two_stopped_processes_that_continue_nothing_is_lost(scratch: Scratch) {
    in_rounds(2, |round, rounds| {
        let mut stage = Stage::new(scratch.another());
        let second = stage.start(&[]);
        stage.until_lines("stored", 1);
        let first = stage.start(&[("BGTASK_TEST_STORE", 20)]);
        // Each runs ten at once.
        stage.until_lines("begun", 20);
        stage.note_ends();
        stage.stop(first);
        stage.stop(second);
        std::thread::sleep(time_to_live() * 3 / 2);
        let apart = Duration::from_millis((500 * round / (rounds - 1).max(1)).into());
        stage.signal(first, Signal::SIGCONT);
        std::thread::sleep(apart);
        stage.signal(second, Signal::SIGCONT);
        stage.until_all_beat();
        stage.go();
        let third = stage.start(&[("BGTASK_TEST_EXPECT", 20)]);
        assert_eq!(stage.wait(third), Some(0));
        let ends = stage.ends();
        assert_eq!(ends.len(), 20);
        for (id, end) in &ends {
            assert_eq!(
                end[..2],
                ["done", "1"],
                "job {id}, {apart:?} apart: {end:?}"
            );
        }
        let noted = stage.noted_ends();
        assert_eq!(noted, [1; 20], "{apart:?} apart");
        #[expect(clippy::print_stdout, reason = "of a long run")]
        {
            println!(
                "stopped and continued {apart:?} apart, {}: lost 0, ends recorded twice 0, bodies that ran twice {}",
                stage.scratch.kind(),
                stage.lines("begun").len() - 20
            );
        }
    });
}

/// Sentence 2.5.
fn clocks_that_differ_cost_no_live_process_a_job(scratch: Scratch) {
    let Some(library) = faketime() else {
        return;
    };
    let mut stage = Stage::new(scratch);
    let second = stage.start_with_clock(&library, "+5m", &[]);
    stage.until_lines("stored", 1);
    // Each runs ten at once.
    let first = stage.start_with_clock(&library, "-5m", &[("BGTASK_TEST_STORE", 20)]);
    stage.until_lines("begun", 20);
    stage.until_lines("stored", 2);
    stage.note_ends();
    let clocks = stage.lines("clocks").into_iter();
    let clocks: Vec<u64> = clocks
        .map(|clock| clock.parse().expect("seconds"))
        .collect();
    assert!(clocks[0] > clocks[1] + 590, "{clocks:?}");
    // Two times to live.
    for _ in 0..4 {
        stage.until_all_beat();
    }
    assert_eq!(stage.lines("begun").len(), 20);
    stage.signal(first, Signal::SIGKILL);
    stage.wait(first);
    let second_pid = stage.programs[second].id().to_string();
    let mut of_first = stage.lines("begun");
    of_first.retain(|line| !line.ends_with(&second_pid));
    stage.go();
    let third = stage.start(&[("BGTASK_TEST_EXPECT", 20)]);
    assert_eq!(stage.wait(third), Some(0));
    let ends = stage.ends();
    let crashed = ends.values().filter(|end| end[2] == "1").count();
    assert_eq!(crashed, of_first.len(), "{ends:?}");
    for (id, end) in &ends {
        assert_eq!(end[..2], ["done", "1"], "job {id}: {end:?}");
    }
    assert_eq!(stage.noted_ends(), [1; 20]);
}

/// Sentence 5.4.
fn after_a_second_signal_others_take_over(scratch: Scratch) {
    let mut stage = Stage::new(scratch);
    let first = stage.start(&[("BGTASK_TEST_STORE", 5), ("BGTASK_TEST_PATIENT", 1)]);
    stage.until_lines("begun", 5);
    stage.until_lines("stored", 1);
    let second = stage.start(&[]);
    stage.until_lines("stored", 2);
    stage.signal(first, Signal::SIGTERM);
    // The drain has begun, and goes on until the second signal.
    stage.until_lines("fired", 5);
    stage.signal(first, Signal::SIGTERM);
    stage.wait(first);
    stage.until_lines("begun", 10);
    stage.go();
    let third = stage.start(&[("BGTASK_TEST_EXPECT", 5)]);
    assert_eq!(stage.wait(third), Some(0));
    let second = format!(" {}", stage.programs[second].id());
    for (id, end) in stage.ends() {
        assert_eq!(end[..3], ["done", "1", "1"], "job {id}: {end:?}");
        assert!(end[3].ends_with(&second), "job {id}: {end:?}");
    }
}

/// Sentence 5.3.
fn a_terminated_process_returns_jobs_that_block_their_threads(scratch: Scratch) {
    let mut stage = Stage::new(scratch);
    let first = stage.start(&[("BGTASK_TEST_BLOCK", 3)]);
    stage.until_lines("begun", 3);
    stage.until_lines("stored", 1);
    stage.signal(first, Signal::SIGTERM);
    stage.wait(first);
    stage.go();
    let second = stage.start(&[("BGTASK_TEST_EXPECT", 3)]);
    assert_eq!(stage.wait(second), Some(0));
    let ends = stage.ends();
    assert_eq!(ends.len(), 3);
    for (id, end) in ends {
        assert_eq!(end[..3], ["done", "1", "0"], "job {id}: {end:?}");
    }
}

on_each_database! {
    after_kill_9_a_live_process_takes_all_jobs_over,
    of_two_stopped_processes_that_continue_nothing_is_lost,
    clocks_that_differ_cost_no_live_process_a_job,
    after_a_second_signal_others_take_over,
    a_terminated_process_returns_jobs_that_block_their_threads,
    after_kill_9_every_job_ends_and_is_recorded_once,
    a_stopped_process_that_goes_on_records_nothing_and_works_again,
    a_terminated_process_returns_its_jobs_uncounted,
    a_job_that_kills_its_process_dies_alone,
}
