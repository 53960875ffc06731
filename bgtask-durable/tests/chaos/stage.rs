//! One round: its folder, its processes, and what happens to them and to the database. Knows nothing of what is right.

use super::database::Database;
use super::ledger::Ledger;
use super::plan::{Event, Plan};
use super::support::Scratch;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a round waits for a condition.
const LIMIT: Duration = Duration::from_secs(120);
/// Between two looks, which cost the processes time.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Stage<'a> {
    plan: &'a Plan,
    scratch: &'a Scratch,
    pub(crate) folder: PathBuf,
    processes: Vec<Option<Child>>,
    is_kept: bool,
    /// How many processes have been started again.
    pub(crate) restarts: usize,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(plan: &'a Plan, scratch: &'a Scratch) -> Self {
        let name = format!(
            "bgtask-chaos-{}-{}-{}",
            std::process::id(),
            scratch.kind(),
            plan.seed
        );
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        Self {
            plan,
            scratch,
            folder,
            processes: plan.acts.iter().map(|_| None).collect(),
            is_kept: false,
            restarts: 0,
        }
    }

    pub(crate) fn database(&self) -> Database<'a> {
        Database(self.scratch.url())
    }

    pub(crate) fn ledger(&self) -> Ledger {
        Ledger::read(&self.folder)
    }

    /// Keeps the folder, for those who look for the cause.
    pub(crate) fn keep(&mut self) -> &Path {
        self.is_kept = true;
        &self.folder
    }

    /// Starts all processes, and lets them act once the changes of jobs are noted.
    pub(crate) fn begin(&mut self) -> Result<(), String> {
        for process in 0..self.processes.len() {
            self.start(process);
        }
        let all = self.processes.len();
        self.until("all processes open the store", |stage| {
            stage.ledger().opened == all
        })?;
        self.database().note_changes();
        self.touch("go", "");
        Ok(())
    }

    /// Lets everything happen that the plan says, each at its time.
    pub(crate) fn play(&mut self) {
        let begin = Instant::now();
        for (at, event) in &self.plan.events {
            std::thread::sleep(at.saturating_sub(begin.elapsed()));
            super::ledger::append(
                &self.folder,
                format_args!("note {} ms: {event:?}", begin.elapsed().as_millis()),
            );
            match *event {
                Event::Kill(process) => {
                    self.signal(process, Signal::SIGKILL);
                    self.reap(process);
                }
                Event::Terminate(process) => {
                    self.signal(process, Signal::SIGTERM);
                    self.give_time(process);
                }
                Event::Start(process) => {
                    self.signal(process, Signal::SIGKILL);
                    self.reap(process);
                    self.start(process);
                    self.restarts += 1;
                }
                Event::Stop(process) => self.signal(process, Signal::SIGSTOP),
                Event::Continue(process) => self.signal(process, Signal::SIGCONT),
                #[cfg(feature = "postgres")]
                Event::Disconnect => self.database().disconnect(),
                #[cfg(feature = "postgres")]
                Event::Restart { is_crash } => self.scratch.restart(is_crash),
                #[cfg(not(feature = "postgres"))]
                Event::Disconnect | Event::Restart { .. } => {}
            }
        }
    }

    /// Waits until all processes have done their acts and every job has ended. All live meanwhile.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        let all = self.processes.len();
        self.until("all acts are done and every job has ended", |stage| {
            stage.revive();
            let done = stage.ledger().done;
            (0..all).all(|process| done.contains(&process)) && stage.database().pending().0 == 0
        })
    }

    /// Has each process read the outcomes of these jobs.
    pub(crate) fn look(&mut self, ids: &[i64]) -> Result<(), String> {
        let ids: Vec<_> = ids.iter().map(i64::to_string).collect();
        self.touch("look", &ids.join("\n"));
        self.until("all processes read the outcomes", |stage| {
            // A run of the deadly job may be under way that has lost its claim.
            stage.revive();
            let looked = stage.ledger().looked;
            let mut live = stage.processes.iter().flatten();
            live.all(|process| looked.contains(&process.id()))
        })
    }

    /// Terminates all processes, and returns how they ended.
    pub(crate) fn end(&mut self) -> Result<Vec<ExitStatus>, String> {
        for process in 0..self.processes.len() {
            self.signal(process, Signal::SIGTERM);
        }
        let mut ended = Vec::new();
        self.until("all processes end", |stage| {
            for process in &mut stage.processes {
                let status = process
                    .as_mut()
                    .and_then(|child| child.try_wait().expect("it is awaited"));
                if let Some(status) = status {
                    *process = None;
                    ended.push(status);
                }
            }
            stage.processes.iter().all(Option::is_none)
        })?;
        Ok(ended)
    }

    fn touch(&self, name: &str, text: &str) {
        // In one step: the processes read it once it is there.
        let new = self.folder.join("new");
        fs::write(&new, text).expect("a file");
        fs::rename(new, self.folder.join(name)).expect("it is there");
    }

    fn start(&mut self, process: usize) {
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.folder.join(format!("stderr-{process}")));
        let child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "program", "--ignored", "--nocapture"])
            .env("BGTASK_TEST_FOLDER", &self.folder)
            .env("BGTASK_TEST_URL", self.scratch.url())
            .env("BGTASK_TEST_SEED", self.plan.seed.to_string())
            .env("BGTASK_TEST_PROCESS", process.to_string())
            .stdout(Stdio::null())
            .stderr(log.expect("a file"))
            .spawn();
        self.processes[process] = Some(child.expect("a program"));
    }

    fn signal(&mut self, process: usize, signal: Signal) {
        // Once it has ended and is awaited, another process may have its id.
        if let Some(child) = &mut self.processes[process]
            && child.try_wait().expect("it is awaited").is_none()
        {
            let pid = i32::try_from(child.id()).expect("an id");
            kill(Pid::from_raw(pid), signal).expect("it is ours, and not awaited");
        }
    }

    /// Lets a process shut down, which it cannot while the lock of its database is held by another one that is stopped.
    fn give_time(&mut self, process: usize) {
        let limit = Instant::now() + self.plan.grace + Duration::from_secs(2);
        while let Some(child) = &mut self.processes[process]
            && child.try_wait().expect("it is awaited").is_none()
            && Instant::now() < limit
        {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn reap(&mut self, process: usize) {
        if let Some(mut child) = self.processes[process].take() {
            child.wait().expect("it ends");
        }
    }

    /// Starts the processes again that a job has killed, or that a termination has ended.
    fn revive(&mut self) {
        for process in 0..self.processes.len() {
            let child = self.processes[process].as_mut();
            if child.is_none_or(|child| child.try_wait().expect("it is awaited").is_some()) {
                self.start(process);
                self.restarts += 1;
            }
        }
    }

    fn until(
        &mut self,
        what: &str,
        mut is_it: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), String> {
        let begin = Instant::now();
        while !is_it(self) {
            if begin.elapsed() > LIMIT {
                let (count, first) = self.database().pending();
                return Err(format!(
                    "not within {LIMIT:?}: {what}. {count} jobs have not ended: {first}"
                ));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        for child in self.processes.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if !self.is_kept {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
