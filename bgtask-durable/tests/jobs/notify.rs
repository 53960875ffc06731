//! Deliveries of the ends of jobs: stored with the end, whichever it is, sent over a channel of the program's, tried again, and dead
//! after the last attempt. No process that is killed in between loses one.

use crate::support::store::{LIMIT, Process, opened, until, with_settings};
use crate::support::transactions::Pool;
use crate::support::{Scratch, in_rounds, on_each_database, on_the_kit};
use bgtask::durable::{EnqueueError, JobHandle, JobState, Notify};
use bgtask_durable::{
    Custom, Filter, Jobs, Notification, Notifier, NotifyError, Role, Undeliverable,
};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(test);
}

/// Passes what it gets on to the test.
struct Passes(UnboundedSender<Notification>);

impl Notifier for Passes {
    async fn notify(&self, notification: Notification) -> Result<(), NotifyError> {
        Ok(self.0.send(notification)?)
    }
}

/// Returns a notifier and what it gets.
fn passes() -> (Passes, Received) {
    let (sender, received) = unbounded_channel();
    (Passes(sender), Received(received))
}

struct Received(UnboundedReceiver<Notification>);

impl Received {
    async fn next(&mut self) -> Notification {
        let next = tokio::time::timeout(LIMIT, self.0.recv()).await;
        next.expect("one is delivered")
            .expect("the notifier is there")
    }
}

fn to(name: &str) -> Custom {
    Custom::new("test", &name)
}

#[bgtask::background(durable, retry(max = 2, base = "1ms"), log = "off")]
async fn halves(number: u32) -> Result<u32, String> {
    match number % 2 {
        0 => Ok(number / 2),
        _ => Err(format!("{number} is odd")),
    }
}

/// The jobs that deliver, in this state.
async fn deliveries(jobs: &Jobs, state: JobState) -> u64 {
    let stats = jobs.stats().await.expect("they are read");
    stats
        .queues
        .get("bgtask-notify")
        .map_or(0, |queue| queue.count(state))
}

/// Sentences 16.2 and 16.6.
async fn each_end_is_delivered_with_what_the_target_asks_for(scratch: Scratch) {
    let (notifier, mut received) = passes();
    let builder = bgtask_durable::builder().notifier("test", notifier);
    with_settings(&scratch, builder, |jobs| async move {
        let done = halves(8)
            .notify(to("ann").with_value())
            .await
            .expect("it is stored");
        let one = received.next().await;
        assert_eq!(one.to::<String>().expect("a name"), "ann");
        assert_eq!((one.end.job, one.end.state), (done.id(), JobState::Done));
        assert_eq!(one.end.value.as_ref().map(|value| value.get()), Some("4"));
        let status = done.status().await.expect("it is there");
        assert_eq!(one.end.version, status.version);
        assert_eq!(one.end.function, status.function);

        let dead = halves(7)
            .notify(to("bob").with_value())
            .await
            .expect("it is stored");
        let one = received.next().await;
        assert_eq!(
            (one.end.job, one.end.state, one.end.attempt),
            (dead.id(), JobState::Dead, 2)
        );
        assert_eq!(one.end.error.as_deref(), Some("7 is odd"));
        dead.outcome().await.expect_err("it is dead");
        assert!(one.end.value.is_none());

        let waiting = halves(6).after(Duration::from_secs(3600)).notify(to("eve"));
        let waiting = waiting.await.expect("it is stored");
        assert_eq!(waiting.cancel().await, Ok(true));
        let one = received.next().await;
        assert_eq!(
            (one.end.job, one.end.state),
            (waiting.id(), JobState::Cancelled)
        );

        // Several targets, and none.
        let targets: Notify = [to("one"), to("two")].into();
        let call = halves(4)
            .notify(targets)
            .notify(None::<Custom>)
            .notify(Some(to("three")));
        call.await
            .expect("it is stored")
            .outcome()
            .await
            .expect("a value");
        let mut names = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..3 {
            let one = received.next().await;
            names.push(one.to::<String>().expect("a name"));
            ids.push(one.id);
        }
        names.sort();
        ids.sort();
        ids.dedup();
        assert_eq!(
            (names, ids.len()),
            (vec!["one".into(), "three".into(), "two".into()], 3)
        );
        // Without one, nothing follows.
        halves(2)
            .await
            .expect("it is stored")
            .outcome()
            .await
            .expect("a value");
        until_delivered(&jobs, 6).await;
    })
    .await;
}

/// Waits until this number of jobs has delivered, and none is left.
async fn until_delivered(jobs: &Jobs, number: u64) {
    let begin = std::time::Instant::now();
    loop {
        let stats = jobs.stats().await.expect("they are read");
        let queue = stats.queues.get("bgtask-notify");
        let all: u64 = queue.map_or(0, |queue| queue.jobs.values().sum());
        let done = queue.map_or(0, |queue| queue.count(JobState::Done));
        if (all, done) == (number, number) {
            return;
        }
        assert!(begin.elapsed() < LIMIT, "{stats:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[bgtask::background(durable, retry(max = 1), log = "off")]
async fn completes(
    number: u32,
    rolls_back: bool,
    pool_at: String,
    job: bgtask::Job,
) -> Result<u32, String> {
    let pool = Pool::at(&pool_at).await;
    let mut transaction = pool.begin().await;
    transaction.book(number).await;
    let completed = job.complete_in(&mut transaction, &number).await;
    completed.map_err(|error| error.to_string())?;
    if rolls_back {
        transaction.roll_back().await;
    } else {
        transaction.commit().await;
    }
    Ok(number)
}

/// Sentence 16.4.
async fn a_completion_in_a_transaction_is_delivered_if_it_commits(scratch: Scratch) {
    let (notifier, mut received) = passes();
    let builder = bgtask_durable::builder().url(scratch.url());
    let (manager, jobs) = opened(builder.notifier("test", notifier)).await;
    for (number, rolls_back) in [(1, false), (2, true)] {
        let call = completes(number, rolls_back, scratch.url().to_owned());
        let job = call
            .notify(to("ann").with_value())
            .await
            .expect("it is stored");
        let one = received.next().await;
        let value = one.end.value.as_ref().map(|value| value.get());
        assert_eq!(one.end.job, job.id());
        if rolls_back {
            assert_eq!((one.end.state, value), (JobState::Dead, None));
        } else {
            assert_eq!((one.end.state, value), (JobState::Done, Some("1")));
        }
    }
    until_delivered(&jobs, 2).await;
    manager.shutdown("the test is over").await;
}

/// Fails the first time, with each name.
struct Stumbles {
    tries: AtomicU32,
    then: Passes,
}

impl Notifier for Stumbles {
    async fn notify(&self, notification: Notification) -> Result<(), NotifyError> {
        if notification.to::<String>()? == "nobody" {
            return Err(Undeliverable::new("there is nobody of this name").into());
        }
        if self.tries.fetch_add(1, Ordering::SeqCst) == 0 {
            return Err("the line is busy".into());
        }
        self.then.notify(notification).await
    }
}

/// Sentence 16.7.
async fn a_delivery_that_fails_is_tried_again_or_dead(scratch: Scratch) {
    let (then, mut received) = passes();
    let stumbles = Stumbles {
        tries: AtomicU32::new(0),
        then,
    };
    let builder = bgtask_durable::builder().notifier("test", stumbles);
    with_settings(&scratch, builder, |jobs| async move {
        halves(8).notify(to("ann")).await.expect("it is stored");
        assert_eq!(received.next().await.to::<String>().expect("a name"), "ann");
        until_delivered(&jobs, 1).await;

        halves(8).notify(to("nobody")).await.expect("it is stored");
        // It does not decode as a name.
        halves(8)
            .notify(Custom::new("test", &7))
            .await
            .expect("it is stored");
        let begin = std::time::Instant::now();
        while deliveries(&jobs, JobState::Dead).await < 2 {
            assert!(begin.elapsed() < LIMIT, "they die at once");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let dead = jobs
            .list(Filter::all().state(JobState::Dead))
            .await
            .expect("a list");
        let mut errors: Vec<_> = dead
            .iter()
            .map(|job| job.last_error.as_deref().unwrap_or_default())
            .collect();
        // Their jobs ran side by side.
        errors.sort_unstable();
        assert!(
            errors[0].starts_with("the target does not decode"),
            "{errors:?}"
        );
        assert_eq!(errors[1], "there is nobody of this name");
        for job in &dead {
            assert_eq!(job.attempts, 1, "{job:?}");
            let outcome = jobs.get::<()>(job.id).outcome().await;
            outcome.expect_err("it is dead");
        }
    })
    .await;
}

/// Sentence 16.8.
async fn a_target_without_its_notifier_is_refused_where_it_would_be_delivered(scratch: Scratch) {
    // A process that delivers knows what it cannot.
    with_settings(&scratch, bgtask_durable::builder(), |_| async {
        let refused = halves(8).notify(to("ann")).await;
        let Err(EnqueueError::Notify { message, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert!(message.contains(r#"no notifier "test""#), "{message}");
        assert!(message.contains(".notifier("), "{message}");
    })
    .await;
}

/// Sentence 16.8.
fn one_that_only_stores_leaves_it_to_the_others(scratch: Scratch) {
    let builder = || bgtask_durable::builder().url(scratch.url());
    let web = Process::start(builder().role(Role::Enqueue));
    let job: JobHandle<u32> =
        web.run(async { halves(8).notify(to("ann")).await.expect("it is stored") });
    // A worker without the notifier fails the delivery, and the error names the notifier.
    let without = Process::start(builder().role(Role::Work));
    without.run(until(&job, |job| job.state.has_ended()));
    let failed = web.run(async {
        let begin = std::time::Instant::now();
        loop {
            let retrying = web
                .jobs
                .list(Filter::all().state(JobState::Retrying))
                .await
                .expect("a list");
            if let [failed] = &retrying[..] {
                return failed.clone();
            }
            assert!(begin.elapsed() < LIMIT, "the delivery fails");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(
        failed
            .last_error
            .as_deref()
            .unwrap_or_default()
            .contains(r#"no notifier "test""#),
        "{failed:?}"
    );
    without.end();
    // A worker of one queue delivers too, whatever `*` says.
    let (notifier, mut received) = passes();
    let worker = builder()
        .notifier("test", notifier)
        .queue("*", 0)
        .queue("other", 1);
    let worker = Process::start(worker.role(Role::Work));
    assert_eq!(worker.run(received.next()).end.job, job.id());
    worker.end();
    web.end();
}

on_each_database! {
    async
    each_end_is_delivered_with_what_the_target_asks_for,
    a_completion_in_a_transaction_is_delivered_if_it_commits,
    a_delivery_that_fails_is_tried_again_or_dead,
    a_target_without_its_notifier_is_refused_where_it_would_be_delivered,
}

on_the_kit! {
    async
    each_end_is_delivered_with_what_the_target_asks_for,
    a_delivery_that_fails_is_tried_again_or_dead,
    a_target_without_its_notifier_is_refused_where_it_would_be_delivered,
}

mod stored_and_delivered_elsewhere {
    use super::*;
    on_each_database! { one_that_only_stores_leaves_it_to_the_others }
}

mod program {
    use super::*;
    use std::io::Write as _;

    /// Writes a line, takes its time, and writes another one.
    struct Writes;

    impl Notifier for Writes {
        async fn notify(&self, notification: Notification) -> Result<(), NotifyError> {
            let number: u32 = notification.to()?;
            line("begun", &notification.id)?;
            tokio::time::sleep(Duration::from_millis(u64::from(number % 4))).await;
            line("delivered", &notification.id)?;
            Ok(())
        }
    }

    fn line(file: &str, line: &str) -> std::io::Result<()> {
        let folder = std::env::var_os("BGTASK_TEST_FOLDER").expect("the folder of the test");
        let path = std::path::PathBuf::from(folder).join(file);
        let mut file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(path)?;
        file.write_all(format!("{line}\n").as_bytes())
    }

    #[bgtask::main(grace = "1s")]
    pub(super) async fn main(shutdown: bgtask::ShutdownToken) {
        let url = std::env::var("BGTASK_TEST_URL").expect("the database of the test");
        let builder = bgtask_durable::builder().url(url).notifier("test", Writes);
        let builder = builder.time_to_live(Duration::from_millis(1000));
        let _jobs = builder.open().await.expect("it opens");
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

/// A program that works and delivers, until it is killed.
struct Worker(Child);

impl Worker {
    fn start(scratch: &Scratch, folder: &std::path::Path) -> Self {
        let program = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "notify::program", "--ignored", "--nocapture"])
            .env("BGTASK_TEST_FOLDER", folder)
            .env("BGTASK_TEST_URL", scratch.url())
            .stdout(Stdio::null())
            .spawn();
        Self(program.expect("a program"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // With SIGKILL.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sentence 16.9.
fn a_process_that_is_killed_between_the_end_and_the_delivery_loses_none(scratch: Scratch) {
    in_rounds(2, |round, _| {
        let scratch = scratch.another();
        let folder = std::env::temp_dir().join(format!(
            "bgtask-notify-{}-{round}-{}",
            std::process::id(),
            scratch.kind()
        ));
        std::fs::create_dir_all(&folder).expect("a folder");
        let lines = |file: &str| {
            let text = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let web = Process::start(
            bgtask_durable::builder()
                .url(scratch.url())
                .role(Role::Enqueue),
        );
        let count = 30_u32;
        let jobs: Vec<JobHandle<u32>> = web.run(async {
            let calls =
                (0..count).map(|number| halves(2 * number).notify(Custom::new("test", &number)));
            bgtask::durable::enqueue_all(calls)
                .await
                .expect("they are stored")
        });
        // Killed at another moment each round: some have ended, some of these are delivered, some deliveries have begun.
        let first = Worker::start(&scratch, &folder);
        let begin = std::time::Instant::now();
        while (lines("begun").len() as u32) < 1 + round * 7 % count {
            assert!(begin.elapsed() < LIMIT, "it delivers");
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(first);
        let second = Worker::start(&scratch, &folder);
        web.run(until_delivered(&web.jobs, count.into()));
        drop(second);
        let ended: std::collections::BTreeSet<_> = web.run(async {
            let mut ended = std::collections::BTreeSet::new();
            for job in &jobs {
                let status = job.status().await.expect("it is there");
                assert_eq!(status.state, JobState::Done);
                ended.insert(format!("_{}_{}_0", job.id(), status.version));
            }
            ended
        });
        let delivered: std::collections::BTreeSet<_> = lines("delivered")
            .into_iter()
            .map(|id| id[id.find('_').expect("it begins with the store")..].to_owned())
            .collect();
        assert_eq!(delivered, ended, "each end has one id, and is delivered");
        web.end();
        std::fs::remove_dir_all(&folder).expect("the folder is removed");
    });
}

mod in_the_kit {
    use super::*;
    use bgtask::testing::{expect_error, idle};
    use bgtask_durable::testing::{delivered, jobs};

    #[bgtask::test(durable, start_paused = true)]
    async fn what_follows_is_a_job_of_the_test_and_its_notifiers_are_called() {
        let (notifier, mut received) = passes();
        let builder = bgtask_durable::builder().notifier("test", notifier);
        builder.open().await.expect("the store of the test");
        let refused = halves(8).notify(Custom::new("other", &1)).await;
        assert!(
            matches!(refused, Err(EnqueueError::Notify { .. })),
            "{refused:?}"
        );

        let done = halves(8)
            .notify(to("ann").with_value())
            .await
            .expect("it is stored");
        idle().await;
        let one = received.next().await;
        assert_eq!((one.end.job, one.end.state), (done.id(), JobState::Done));
        assert_eq!(one.end.value.as_ref().map(|value| value.get()), Some("4"));
        assert_eq!(
            one.end.version,
            done.status().await.expect("it is there").version
        );

        let waiting = halves(8).after(Duration::from_secs(60)).notify(to("bob"));
        waiting
            .await
            .expect("it is stored")
            .cancel()
            .await
            .expect("it is cancelled");
        expect_error(halves);
        halves(7).notify(to("eve")).await.expect("it is stored");
        idle().await;
        let delivered = delivered();
        let all: Vec<_> = delivered
            .iter()
            .map(|one| (one.to.as_str(), one.end.state))
            .collect();
        let expected = [
            (Some("ann"), JobState::Done),
            (Some("bob"), JobState::Cancelled),
            (Some("eve"), JobState::Dead),
        ];
        assert_eq!(all, expected);
        assert_eq!(delivered[2].end.error.as_deref(), Some("7 is odd"));
        let queue = jobs()
            .list(Filter::all().queue("bgtask-notify"))
            .await
            .expect("a list");
        assert_eq!(queue.len(), 3);
    }

    #[bgtask::test(durable)]
    async fn one_that_fails_at_first_comes_later() {
        let (then, mut received) = passes();
        let tries = AtomicU32::new(0);
        let builder = bgtask_durable::builder().notifier("test", Stumbles { tries, then });
        builder.open().await.expect("the store of the test");
        halves(8).notify(to("ann")).await.expect("it is stored");
        received.next().await;
        idle().await;
        assert_eq!(delivered().len(), 1);
    }

    #[cfg(all(feature = "webhook", feature = "email"))]
    #[bgtask::test(durable)]
    async fn no_webhook_and_no_e_mail_leaves_a_test() {
        use bgtask_durable::{Email, Webhook};
        let both = (
            Webhook::to("https://10.0.0.1/").secret("partner"),
            Email::to("ann@example.com"),
        );
        halves(8).notify(both).await.expect("it is stored");
        idle().await;
        let delivered = delivered();
        assert_eq!(
            (&*delivered[0].channel, &*delivered[1].channel),
            ("webhook", "email")
        );
        assert_eq!(delivered[0].to["url"], "https://10.0.0.1/");
        assert_eq!(delivered[1].to["address"], "ann@example.com");
    }
}

mod killed {
    use super::*;
    on_each_database! { a_process_that_is_killed_between_the_end_and_the_delivery_loses_none }
}
