//! Backups that are made while a process works, and what runs again after they are restored; see docs/deploy/README.md.

use crate::support::store::Process;
use crate::support::{Scratch, on_each_database};
use bgtask::background;
use bgtask::durable::{JobError, JobId, JobState};
#[cfg(feature = "sqlite")]
use bgtask_durable::sqlx;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// How often each number has run, by test.
static RUNS: Mutex<BTreeMap<(String, u32), u32>> = Mutex::new(BTreeMap::new());

#[background(durable(queue = "notes"))]
async fn note(test: String, number: u32) -> u32 {
    let mut runs = RUNS.lock().expect("no thread panics with it");
    *runs.entry((test, number)).or_insert(0) += 1;
    number
}

fn runs(test: &str, number: u32) -> u32 {
    let runs = RUNS.lock().expect("no thread panics with it");
    runs.get(&(test.to_owned(), number)).copied().unwrap_or(0)
}

/// How a backup is made: of the first database, into the second.
type Backup = fn(&Scratch, &Scratch);

/// Makes a backup while a process works, goes on, restores it, and starts a process on it.
fn what_ended_since_the_backup_runs_again(scratch: &Scratch, backup: Backup) {
    let test = scratch.url().to_owned();
    let copy = scratch.another();
    let first = Process::start(bgtask_durable::builder().url(scratch.url()));
    let [done, waiting, later] = first.run(async {
        let done = note(test.clone(), 1).await.expect("it is stored");
        done.outcome().await.expect("it ends");
        first.jobs.pause("notes").await.expect("it pauses");
        let waiting = note(test.clone(), 2).await.expect("it is stored");
        backup(scratch, &copy);
        let later = note(test.clone(), 3).await.expect("it is stored");
        first.jobs.resume("notes").await.expect("it resumes");
        for job in [&waiting, &later] {
            job.outcome().await.expect("it ends");
        }
        [done.id(), waiting.id(), later.id()]
    });
    first.end();
    assert_eq!([1, 2, 3].map(|number| runs(&test, number)), [1, 1, 1]);

    let second = Process::start(bgtask_durable::builder().url(copy.url()));
    second.run(async {
        let of = |id: JobId| second.jobs.get::<u32>(id);
        assert_eq!(of(done).outcome().await, Ok(1));
        let status = of(waiting).status().await.expect("it is there");
        assert_eq!(status.state, JobState::Waiting);
        let gone = of(later).status().await.expect_err("it was stored later");
        assert!(matches!(gone, JobError::NotFound), "{gone}");
        let queues = second.jobs.queues().await.expect("they are read");
        let notes = queues.iter().find(|queue| queue.name == "notes");
        assert!(
            notes.is_some_and(|queue| queue.paused_at.is_some()),
            "{queues:?}"
        );
        second.jobs.resume("notes").await.expect("it resumes");
        assert_eq!(of(waiting).outcome().await, Ok(2));
    });
    second.end();
    assert_eq!([1, 2, 3].map(|number| runs(&test, number)), [1, 2, 1]);
}

/// The copy of a database has all triggers, and the program finds nothing to make.
fn the_copy_is_complete(scratch: &Scratch, backup: Backup) {
    let copy = scratch.another();
    Process::start(bgtask_durable::builder().url(scratch.url())).end();
    backup(scratch, &copy);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let found = bgtask_durable::builder().url(copy.url()).diagnose().await;
        let found = found.expect("it opens");
        assert!(!found.is_older() && !found.is_newer(), "{found:?}");
        assert_eq!(found.triggers, Vec::<String>::new());
    });
}

#[cfg(feature = "sqlite")]
fn file(scratch: &Scratch) -> &str {
    scratch.url().strip_prefix("sqlite://").expect("a file")
}

/// Restores a file: in place of the one of the second database.
#[cfg(feature = "sqlite")]
fn vacuum_into(scratch: &Scratch, copy: &Scratch) {
    let statement = format!("VACUUM INTO '{}'", file(copy));
    let url = scratch.url().to_owned();
    // The caller may be within a runtime.
    let made = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let pool = sqlx::SqlitePool::connect(&url).await.expect("it opens");
            let statement = sqlx::AssertSqlSafe(statement);
            let made = sqlx::query(statement).execute(&pool).await;
            made.expect("a copy");
        });
    });
    made.join().expect("a copy");
}

#[cfg(feature = "postgres")]
fn dump_and_restore(scratch: &Scratch, copy: &Scratch) {
    use std::process::Command;
    let initdb = crate::support::binaries().expect("it runs").join("initdb");
    let initdb = initdb.canonicalize().expect("it is there");
    let program = |name: &str| Command::new(initdb.with_file_name(name));
    let dump = program("pg_dump").arg(scratch.url()).output();
    let dump = dump.expect("pg_dump runs");
    assert!(
        dump.status.success(),
        "{}",
        String::from_utf8_lossy(&dump.stderr)
    );
    let file = std::env::temp_dir().join(format!(
        "bgtask-dump-{}-{}.sql",
        std::process::id(),
        copy.url().rsplit('/').next().unwrap_or_default()
    ));
    std::fs::write(&file, dump.stdout).expect("a file");
    let restored = program("psql")
        .args(["-q", "-v", "ON_ERROR_STOP=1", "-f"])
        .args([file.as_os_str(), copy.url().as_ref()])
        .output();
    let restored = restored.expect("psql runs");
    let _ = std::fs::remove_file(&file);
    assert!(
        restored.status.success(),
        "{}",
        String::from_utf8_lossy(&restored.stderr)
    );
}

fn backup_of(scratch: &Scratch) -> Backup {
    if scratch.is_sqlite() {
        #[cfg(feature = "sqlite")]
        return vacuum_into;
    }
    #[cfg(feature = "postgres")]
    return dump_and_restore;
    #[cfg(not(feature = "postgres"))]
    unreachable!("a database of another kind")
}

fn jobs_that_ended_since_the_backup_run_again(scratch: Scratch) {
    what_ended_since_the_backup_runs_again(&scratch, backup_of(&scratch));
}

fn a_restored_copy_needs_no_migration(scratch: Scratch) {
    the_copy_is_complete(&scratch, backup_of(&scratch));
}

on_each_database! {
    jobs_that_ended_since_the_backup_run_again,
    a_restored_copy_needs_no_migration,
}
