//! Versions of a program that share a database: one beside the other under load, and several that make its tables at once.
//!
//! `BGTASK_ROUNDS` sets the number of rounds.

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::transactions::Pool;
use support::{Scratch, in_rounds, on_each_database};

const LIMIT: Duration = Duration::from_secs(180);

const BEFORE: &str = env!("CARGO_BIN_EXE_before");
const AFTER: &str = env!("CARGO_BIN_EXE_after");

/// A database, a folder, and the programs that use both.
struct Stage {
    scratch: Scratch,
    folder: PathBuf,
    programs: Vec<Child>,
}

impl Stage {
    fn new(scratch: Scratch) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("bgtask-versions-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        Self {
            scratch,
            folder,
            programs: Vec::new(),
        }
    }

    /// Starts a program, which stores so many rounds of jobs.
    fn start(&mut self, program: &str, load: u32) -> usize {
        let program = Command::new(program)
            .env("BGTASK_TEST_FOLDER", &self.folder)
            .env("BGTASK_TEST_URL", self.scratch.url())
            .env("BGTASK_TEST_LOAD", load.to_string())
            .stdout(Stdio::null())
            .spawn();
        self.programs.push(program.expect("a program"));
        self.programs.len() - 1
    }

    fn end(&mut self, program: usize) {
        let pid = i32::try_from(self.programs[program].id()).expect("an id");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("the signal is sent");
        let status = self.programs[program].wait().expect("it ends");
        assert_eq!(status.code(), Some(0));
    }

    fn go(&self) {
        fs::write(self.folder.join("go"), "").expect("a file");
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn until_lines(&mut self, file: &str, count: usize) {
        let begin = Instant::now();
        while self.lines(file).len() < count {
            for program in &mut self.programs {
                let ended = program.try_wait().expect("it is awaited");
                assert!(
                    ended.is_none_or(|status| status.success()),
                    "a program has failed"
                );
            }
            assert!(begin.elapsed() < LIMIT, "{file}: {:?}", self.lines(file));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn pool(&self) -> Pool {
        block_on(Pool::of(&self.scratch))
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

fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(test)
}

/// Sentences 6.1, 10.4 and 11.11.
fn two_versions_of_a_program_work_on_one_database(scratch: Scratch) {
    in_rounds(1, |round, rounds| {
        let load = if rounds > 1 { 500 } else { 50 };
        let mut stage = Stage::new(scratch.another());
        let before = stage.start(BEFORE, load);
        stage.start(AFTER, load);
        stage.until_lines("open", 2);
        let pool = stage.pool();
        block_on(pool.note_ends());
        stage.go();
        // Each has seen the end of each of its jobs, with its value.
        stage.until_lines("through", 2);
        let run = stage.lines("run");
        let total = 8 * load as usize;
        assert_eq!((stage.lines("ended").len(), run.len()), (total, total));
        let ends = block_on(pool.noted_ends());
        assert_eq!((ends.len(), ends.iter().max()), (total, Some(&1)));
        let by = |function: &str, version: &str| {
            let of = run
                .iter()
                .filter(|line| line.starts_with(&format!("{function} ")));
            of.filter(|line| line.ends_with(version)).count()
        };
        // Only the one that has a function runs its jobs, and both run those that both have.
        for (function, only) in [("remove", "before"), ("add", "after")] {
            assert_eq!(by(function, only), load as usize);
            assert_eq!(by(function, ""), load as usize);
        }
        let shared = ["keep", "change", "rename"];
        let shared = shared.map(|function| (by(function, "before"), by(function, "after")));
        for (before, after) in shared {
            assert_eq!(before + after, 2 * load as usize);
            assert!(before > 0 && after > 0, "{shared:?}");
        }
        // Jobs of the new name are not those of the program before.
        assert!(shared[2].0 <= load as usize, "{shared:?}");
        let not_done = "SELECT count(*) FROM river_job WHERE state <> 'completed'";
        assert_eq!(block_on(pool.numbers(not_done)), [0]);

        // The deployment ends, and a job of the removed function is left.
        stage.end(before);
        block_on(pool.run(
            "INSERT INTO river_job (kind, args, max_attempts) VALUES
                 ('versions::remove', jsonb('{\"number\":7}'), 1), ('versions::first_name', jsonb('{\"number\":8}'), 1)",
            "INSERT INTO river_job (kind, args, max_attempts) VALUES
                 ('versions::remove', '{\"number\":7}', 1), ('versions::first_name', '{\"number\":8}', 1)",
        ));
        stage.until_lines("run", total + 1);
        assert_eq!(stage.lines("run")[total], "rename 8 after");
        let left = "SELECT CAST(attempt AS bigint) FROM river_job WHERE kind = 'versions::remove' AND state = 'available'";
        assert_eq!(block_on(pool.numbers(left)), [0]);
        // It is taken back, and the job runs.
        stage.start(BEFORE, 0);
        stage.until_lines("run", total + 2);
        assert_eq!(stage.lines("run")[total + 1], "remove 7 before");
        #[expect(clippy::print_stdout, reason = "of a long run")]
        {
            println!(
                "two versions, {}, round {round}: {total} jobs, 0 lost; run by the program before and after: {shared:?}",
                stage.scratch.kind()
            );
        }
    });
}

/// Sentence 10.1.
fn five_programs_make_the_tables_at_once(scratch: Scratch) {
    in_rounds(1, |round, _| {
        let mut stage = Stage::new(scratch.another());
        stage.go();
        for program in [BEFORE, AFTER, BEFORE, AFTER, BEFORE] {
            stage.start(program, 1);
        }
        stage.until_lines("through", 5);
        for program in 0..5 {
            stage.end(program);
        }
        #[expect(clippy::print_stdout, reason = "of a long run")]
        {
            println!(
                "five make the tables at once, {}, round {round}: 0 errors",
                stage.scratch.kind()
            );
        }
    });
}

on_each_database! {
    two_versions_of_a_program_work_on_one_database,
    five_programs_make_the_tables_at_once,
}
