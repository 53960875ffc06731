//! Files that cannot be a database, or cannot be one any more: a folder, something else, without rights, on a full disk.
//!
//! Disks are `tmpfs`, in a mount namespace that ends with its program: this binary again, as one of the ignored tests.
#![cfg(feature = "sqlite")]

mod support;

use bgtask::durable::{EnqueueError, JobState};
use bgtask::{Manager, background};
use bgtask_durable::builder;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::Scratch;
use support::log;
use support::store::{LIMIT, Process};

fn url(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

/// Opens a store in a runtime of its own, and returns why it does not open.
fn refused(path: &Path) -> String {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let error = runtime.block_on(async {
        let _manager = Manager::install().expect("the first of its runtime");
        let opened = builder().url(url(path)).open().await;
        opened.expect_err("it does not open")
    });
    error.to_string()
}

/// Sentence 12.6.
#[test]
fn a_folder_and_a_file_that_is_no_database_are_refused_and_stay_as_they_are() {
    let scratch = Scratch::sqlite();
    let folder = PathBuf::from(scratch.url().trim_start_matches("sqlite://"));
    fs::create_dir(&folder).expect("a folder");
    let error = refused(&folder);
    assert!(error.contains("is a folder: name a file in it"), "{error}");
    assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 0);

    let letter = folder.join("letter.txt");
    let text = "Dear Ann, ".repeat(1000);
    fs::write(&letter, &text).expect("a file");
    let error = refused(&letter);
    assert!(error.contains("letter.txt"), "{error}");
    assert!(error.contains("name another file"), "{error}");
    assert_eq!(fs::read_to_string(&letter).expect("it is there"), text);

    let error = refused(&letter.join("jobs.db"));
    assert!(error.contains("Not a directory"), "{error}");
}

/// Runs an ignored test on a disk of its own, as a user who has no rights but those of the files. Prints why if that cannot be.
fn on_a_disk(size: &str, test: &str) {
    let mut unshare = Command::new("unshare");
    unshare.arg("--mount");
    if !nix::unistd::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let folder = std::env::temp_dir().join(format!("bgtask-disk-{}-{test}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    // The root of the system may write to each file.
    let script = r#"mount -t tmpfs -o "size=$1" tmpfs "$2" || exit 77
        shift 2
        exec setpriv --bounding-set=-dac_override,-dac_read_search "$@""#;
    let output = unshare
        .args(["sh", "-c", script, "sh", size])
        .arg(&folder)
        .arg(std::env::current_exe().expect("this binary"))
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("BGTASK_TEST_FOLDER", &folder)
        .stdin(Stdio::null())
        .output();
    // The disk is gone with its namespace.
    fs::remove_dir(&folder).expect("an empty folder");
    let output = output.expect("a program");
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("1 passed") && output.status.success() {
        return;
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains("running 1 test"), "{text}{errors}");
    #[expect(clippy::print_stdout, reason = "whoever runs the tests is to know")]
    {
        println!("no disk can be mounted here, so this run is partial: {errors}");
    }
}

fn folder() -> PathBuf {
    let folder = std::env::var_os("BGTASK_TEST_FOLDER");
    folder.expect("another test starts this one").into()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// Sentence 12.6.
#[test]
fn a_database_that_cannot_be_written_is_refused_with_the_cure() {
    on_a_disk("4m", "without_rights");
}

#[test]
#[ignore = "a test above starts it on a disk of its own"]
fn without_rights() {
    let folder = folder().join("store");
    fs::create_dir(&folder).expect("a folder");
    let file = folder.join("jobs.db");
    Process::start(builder().url(url(&file))).end();

    set_mode(&file, 0o444);
    let error = refused(&file);
    assert!(error.contains("jobs.db"), "{error}");
    assert!(error.contains("the file and its folder"), "{error}");
    set_mode(&file, 0o000);
    let error = refused(&file);
    assert!(error.contains("the file and its folder"), "{error}");
    set_mode(&file, 0o644);

    set_mode(&folder, 0o555);
    let error = refused(&folder.join("other.db"));
    assert!(error.contains("has to write to the folder"), "{error}");
    // The lock is there, and SQLite makes files as well, unless a process that has just ended left them.
    set_mode(&folder, 0o755);
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(folder.join(format!("jobs.db{end}")));
    }
    set_mode(&folder, 0o555);
    let error = refused(&file);
    assert!(error.contains("and its folder"), "{error}");
    set_mode(&folder, 0o755);

    let disk = folder.parent().expect("the disk");
    let begin = Instant::now();
    // Threads of the stores above may have to close their files yet.
    while !Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(disk)
        .stderr(Stdio::null())
        .status()
        .expect("a program")
        .success()
    {
        assert!(begin.elapsed() < LIMIT, "a file stays open");
        std::thread::sleep(Duration::from_millis(10));
    }
    let error = refused(&file);
    assert!(error.contains("use another disk"), "{error}");
}

static GO: AtomicBool = AtomicBool::new(false);

#[background(durable, retry(max = 1))]
async fn held(load: String) -> usize {
    while !GO.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    load.len()
}

/// Sentences 7.1, 7.2, 7.3 and 12.7.
#[test]
fn on_a_full_disk_calls_fail_and_ends_are_kept() {
    on_a_disk("8m", "full");
}

#[test]
#[ignore = "a test above starts it on a disk of its own"]
fn full() {
    log::start();
    let folder = folder();
    let process = Process::start(builder().url(url(&folder.join("jobs.db"))));
    let mut jobs = process.run(async {
        let calls = (0..20).map(|_| held(String::new()));
        let jobs = bgtask::durable::enqueue_all(calls).await;
        jobs.expect("they are stored")
    });
    let begin = Instant::now();
    while process.run(process.jobs.count(JobState::Running)) != Ok(20) {
        assert!(begin.elapsed() < LIMIT, "they do not run");
        std::thread::sleep(Duration::from_millis(10));
    }
    // Until the database cannot grow; what is left of its log goes next.
    let filler = folder.join("filler");
    let mut size = 1 << 20;
    let mut filled = 0;
    while size >= 512 {
        filled += size;
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&filler);
        use std::io::Write as _;
        if file.expect("a file").write_all(&vec![1; size]).is_err() {
            size /= 2;
        }
    }
    let mut errors = Vec::new();
    process.run(async {
        for load in [100_000, 1000, 0] {
            for _ in 0..100 {
                let start = Instant::now();
                match held("x".repeat(load)).await {
                    Ok(job) => jobs.push(job),
                    Err(error) => {
                        let after = start.elapsed();
                        assert!(after < Duration::from_secs(6), "{after:?}");
                        errors.push(error);
                        break;
                    }
                }
            }
        }
    });
    assert_eq!(
        errors.len(),
        3,
        "the disk of {filled} bytes is full: {errors:?}"
    );
    for error in &errors {
        assert!(matches!(error, EnqueueError::Store { .. }), "{error:?}");
        assert!(
            error
                .to_string()
                .contains("the disk of the database is full"),
            "{error}"
        );
    }
    GO.store(true, Ordering::Relaxed);
    let begin = Instant::now();
    while log::lines("the ends of jobs could not be recorded yet").is_empty() {
        assert!(begin.elapsed() < LIMIT, "the ends are recorded");
        std::thread::sleep(Duration::from_millis(10));
    }
    fs::remove_file(&filler).expect("it is there");
    let stored = jobs.len();
    process.run(async {
        for job in jobs {
            let outcome = tokio::time::timeout(LIMIT, job.outcome()).await;
            outcome.expect("the end is recorded").expect("its value");
            let status = job.status().await.expect("it is there");
            assert_eq!((status.attempts, status.crashes), (1, 0));
        }
        let again = held(String::new()).await.expect("there is room again");
        assert_eq!(again.outcome().await, Ok(0));
    });
    assert_eq!(
        process.run(process.jobs.count(JobState::Done)),
        Ok(stored as u64 + 1)
    );
    process.end();
}
