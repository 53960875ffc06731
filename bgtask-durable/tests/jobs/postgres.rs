//! What only a server can do to a store: be away, lose a commit, refuse a user, hold other schemas.

#![cfg(feature = "postgres")]

use crate::support::Scratch;
use crate::support::proxy::{Network, Proxy};
use crate::support::store;
use crate::support::store::{Process, open};
use bgtask::durable::{EnqueueError, JobError, JobId, JobState};
use bgtask::{Manager, background};
use bgtask_durable::{Filter, OpenError};
use riverqueue::sqlx::postgres::PgConnectOptions;
use riverqueue::sqlx::{self, AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};
use std::time::{Duration, Instant};

#[background(durable)]
async fn plain(number: u32) -> u32 {
    number + 1
}

/// Runs as long as the file is not there.
#[background(durable)]
async fn until(path: String) -> u32 {
    while !std::path::Path::new(&path).exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    7
}

/// Runs a test with a database of its own, or says that there is none.
fn with_postgres<F: Future<Output = ()>>(test: impl FnOnce(Scratch) -> F) {
    if let Some(scratch) = Scratch::postgres() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(test(scratch));
    }
}

/// Runs a future in a runtime of its own, as a process has.
fn apart<T: Send + 'static>(
    process: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> {
    let thread = tokio::task::spawn_blocking(|| {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(process)
    });
    async { thread.await.expect("no panic") }
}

/// Opens the store and shuts down.
async fn once(url: &str) -> Result<(), OpenError> {
    let url = url.to_owned();
    apart(async move {
        let manager = Manager::builder().install().expect("the first manager");
        let opened = bgtask_durable::open_at(url).await;
        manager.shutdown("the test has seen it").await;
        opened.map(drop)
    })
    .await
}

async fn refused(url: &str) -> OpenError {
    once(url).await.expect_err("it does not open")
}

async fn connect(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().expect("a URL");
    options.connect().await.expect("the server is there")
}

async fn run(connection: &mut PgConnection, statement: &str) {
    let run = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection);
    run.await.expect(statement);
}

fn through(proxy: &Proxy, url: &str) -> String {
    let port = port(url).to_string();
    url.replace(&port, &proxy.port().to_string())
}

fn port(url: &str) -> u16 {
    let options: PgConnectOptions = url.parse().expect("a URL");
    options.get_port()
}

/// Waits for a condition in the database.
async fn eventually(connection: &mut PgConnection, condition: &'static str) {
    let begin = Instant::now();
    loop {
        let holds: bool = sqlx::query_scalar(condition)
            .fetch_one(&mut *connection)
            .await
            .expect("it is read");
        if holds {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{condition}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sentence 12.6.
#[test]
fn a_server_that_refuses_says_what_to_do() {
    with_postgres(|scratch| async move {
        let url = scratch.url();
        for (wrong, text) in [
            (
                url.replace("bgtask@", "stranger@"),
                "does not accept the user `stranger`",
            ),
            (format!("{url}missing"), "create it with `createdb"),
            (
                url.replace(&format!(":{}/", port(url)), ":1/"),
                "127.0.0.1:1 cannot be reached",
            ),
            (
                format!("{url}?options=-csearch_path=elsewhere"),
                "no schema of the connection's search path",
            ),
            (
                format!("{url}?sslmode=require"),
                "no encrypted connection to the server",
            ),
            (format!("{url}?sslmode=perhaps"), "the database URL"),
            (
                url.replace("127.0.0.1", "one.example,two.example"),
                "give one address that moves",
            ),
            (
                url.replace("127.0.0.1:", "127.0.0.1:1,127.0.0.1:"),
                "give one address that moves",
            ),
        ] {
            let refused = refused(&wrong).await.to_string();
            assert!(refused.contains(text), "{wrong}: {refused}");
        }
        let mut owner = connect(url).await;
        run(&mut owner, WORKER).await;
        let as_worker = url.replace("bgtask@", "worker@");
        let refused = refused(&as_worker).await.to_string();
        assert!(
            refused.contains("the user `worker` lacks a privilege"),
            "{refused}"
        );
    });
}

/// Roles belong to the server, which other tests use as well.
const WORKER: &str = "DO $$ BEGIN
    PERFORM pg_advisory_xact_lock(1);
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'worker') THEN CREATE ROLE worker LOGIN; END IF;
END $$;";

#[background(durable, every = "1h", immediately)]
async fn hourly() {}

/// The list of docs/durable.md.
const PRIVILEGES: &str = "
GRANT USAGE ON SCHEMA public TO worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON river_job, river_queue, bgtask_worker, bgtask_schedule, bgtask_audit, bgtask_minute TO worker;
GRANT SELECT ON river_migration TO worker;
GRANT SELECT, UPDATE ON bgtask_instance TO worker;
GRANT USAGE, SELECT ON SEQUENCE river_job_id_seq TO worker;";

/// Sentence 12.3.
#[test]
fn a_role_with_the_documented_privileges_stores_and_works() {
    with_postgres(|scratch| async move {
        let docs = include_str!("../../../docs/durable.md");
        assert!(
            docs.contains(PRIVILEGES),
            "the list in the docs is another one"
        );
        let url = scratch.url();
        once(url).await.expect("it opens");
        let mut owner = connect(url).await;
        run(&mut owner, &format!("{WORKER}{PRIVILEGES}")).await;
        let url = url.replace("bgtask@", "worker@");
        let (manager, jobs) = open(&url).await;
        let job = plain(1).after(Duration::from_millis(50)).await;
        let job = job.expect("it is stored");
        assert_eq!(job.outcome().await, Ok(2));
        let never = jobs.get::<u32>(JobId::new(99)).status().await;
        assert_eq!(never, Err(JobError::NotFound));
        manager.start_schedules();
        let hourly = Filter::all().function("jobs::postgres::hourly");
        while jobs
            .list(hourly.clone().state(JobState::Done))
            .await
            .expect("it answers")
            .is_empty()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        manager.shutdown("the test is over").await;
    });
}

/// Sentence 12.2.
#[test]
fn each_schema_is_a_store_of_its_own() {
    with_postgres(|scratch| async move {
        let mut connection = connect(scratch.url()).await;
        run(
            &mut connection,
            "CREATE SCHEMA one; CREATE SCHEMA \"Two-2\"",
        )
        .await;
        let of = |schema: &str| format!("{}?options=-csearch_path={schema},public", scratch.url());
        let (manager, one) = open(&of("one")).await;
        assert_eq!(plain(1).await.expect("it is stored").outcome().await, Ok(2));
        let url = of("%22Two-2%22");
        apart(async move {
            let (manager, two) = open(&url).await;
            assert_eq!(two.count(JobState::Done).await, Ok(0));
            for number in 0..3 {
                let job = plain(number).await.expect("it is stored");
                assert_eq!(job.outcome().await, Ok(number + 1));
            }
            assert_eq!(two.count(JobState::Done).await, Ok(3));
            manager.shutdown("the test is over").await;
        })
        .await;
        assert_eq!(one.count(JobState::Done).await, Ok(1));
        let instances: i64 = sqlx::query_scalar(
            "SELECT count(DISTINCT id) FROM (SELECT id FROM one.bgtask_instance UNION ALL SELECT id FROM \"Two-2\".bgtask_instance) AS ids",
        )
        .fetch_one(&mut connection)
        .await
        .expect("they are read");
        assert_eq!(instances, 2);
        manager.shutdown("the test is over").await;
    });
}

/// Sentence 1.2.
#[test]
fn a_call_whose_commit_is_lost_is_unknown_and_stored_once_or_not_at_all() {
    with_postgres(|scratch| async move {
        let proxy = Proxy::new(port(scratch.url()));
        let (manager, jobs) = open(&through(&proxy, scratch.url())).await;
        let mut direct = connect(scratch.url()).await;
        for (network, stored) in [(Network::LosesCommit, 0), (Network::LosesAnswer, 1)] {
            proxy.set(network);
            let lost = plain(1).await.expect_err("it has no answer");
            assert!(matches!(lost, EnqueueError::Unknown { .. }), "{lost}");
            proxy.set(Network::Up);
            if stored == 1 {
                eventually(
                    &mut direct,
                    "SELECT count(*) = 1 FROM river_job WHERE state = 'completed'",
                )
                .await;
            }
            let count: i64 = sqlx::query_scalar("SELECT count(*) FROM river_job")
                .fetch_one(&mut direct)
                .await
                .expect("it is read");
            assert_eq!(count, stored);
        }
        assert_eq!(jobs.count(JobState::Done).await, Ok(1));
        manager.shutdown("the test is over").await;
    });
}

/// Sentence 1.3.
#[test]
fn a_call_with_a_key_whose_commit_is_lost_may_be_repeated() {
    with_postgres(|scratch| async move {
        let proxy = Proxy::new(port(scratch.url()));
        let (manager, _) = open(&through(&proxy, scratch.url())).await;
        let call = |key: &str| plain(1).key(key).after(Duration::from_secs(3600));
        for (network, is_there) in [(Network::LosesCommit, false), (Network::LosesAnswer, true)] {
            let key = format!("{is_there}");
            proxy.set(network);
            let lost = call(&key).await.expect_err("it has no answer");
            assert!(matches!(lost, EnqueueError::Unknown { .. }), "{lost}");
            proxy.set(Network::Up);
            let again = call(&key).await.expect("it is stored now, or was");
            assert_eq!(again.is_duplicate(), is_there);
        }
        let mut direct = connect(scratch.url()).await;
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM river_job")
            .fetch_one(&mut direct)
            .await
            .expect("it is read");
        assert_eq!(count, 2);
        manager.shutdown("the test is over").await;
    });
}

/// Sentences 7.1, 7.2 and 7.3.
#[test]
fn while_the_server_is_away_calls_fail_in_time_and_ends_are_kept() {
    with_postgres(|scratch| async move {
        for network in [Network::Down, Network::Held] {
            let file = std::env::temp_dir().join(format!("bgtask-until-{}", std::process::id()));
            let proxy = Proxy::new(port(scratch.url()));
            let (manager, _) = open(&through(&proxy, scratch.url())).await;
            let mut direct = connect(scratch.url()).await;
            let running = until(file.display().to_string())
                .await
                .expect("it is stored");
            eventually(
                &mut direct,
                "SELECT count(*) = 1 FROM river_job WHERE state = 'running'",
            )
            .await;
            proxy.set(network);
            let begin = Instant::now();
            let refused = plain(1).await.expect_err("the server is away");
            assert!(
                begin.elapsed() < Duration::from_secs(6),
                "{:?}",
                begin.elapsed()
            );
            assert!(
                matches!(
                    refused,
                    EnqueueError::Store { .. } | EnqueueError::Unknown { .. }
                ),
                "{refused}"
            );
            // It ends while the server is away.
            std::fs::write(&file, "").expect("a file");
            tokio::time::sleep(Duration::from_millis(200)).await;
            proxy.set(Network::Up);
            let outcome = tokio::time::timeout(Duration::from_secs(30), async {
                loop {
                    // A reading that fails is an error of its own.
                    match running.outcome().await {
                        Err(JobError::Store { .. }) => {
                            tokio::time::sleep(Duration::from_millis(50)).await;
                        }
                        outcome => break outcome,
                    }
                }
            });
            assert_eq!(outcome.await.expect("the end is recorded"), Ok(7));
            let status = running.status().await.expect("it is there");
            assert_eq!((status.attempts, status.crashes), (1, 0));
            // And everything works again.
            let job = plain(1).await.expect("it is stored");
            assert_eq!(job.outcome().await, Ok(2));
            manager.shutdown("the test is over").await;
            std::fs::remove_file(&file).expect("it is there");
        }
    });
}

/// Sentence 11.12.
#[test]
fn a_waiter_whose_notification_was_lost_reads_again() {
    with_postgres(|scratch| async move {
        let file = std::env::temp_dir().join(format!("bgtask-lost-{}", std::process::id()));
        let (manager, _) = open(scratch.url()).await;
        let job = until(file.display().to_string())
            .await
            .expect("it is stored");
        let id = job.id();
        let proxy = Proxy::new(port(scratch.url()));
        let url = through(&proxy, scratch.url());
        let (waits, is_waiting) = tokio::sync::oneshot::channel();
        // Another process, on the other side of the network.
        let waiter = apart(async move {
            let (manager, jobs) = open(&url).await;
            let job = jobs.get::<u32>(id);
            let outcome = tokio::spawn(async move { job.outcome().await });
            waits.send(()).expect("the test waits");
            let outcome = outcome.await.expect("no panic");
            manager.shutdown("the test is over").await;
            outcome
        });
        is_waiting.await.expect("it waits");
        let mut direct = connect(scratch.url()).await;
        eventually(
            &mut direct,
            "SELECT count(*) >= 2 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN \"public.bgtask_end\"%'",
        )
        .await;
        // The notification is sent while the other side hears nothing.
        proxy.set(Network::Down);
        std::fs::write(&file, "").expect("a file");
        assert_eq!(job.outcome().await, Ok(7));
        proxy.set(Network::Up);
        assert_eq!(waiter.await, Ok(7));
        manager.shutdown("the test is over").await;
        std::fs::remove_file(&file).expect("it is there");
    });
}

/// Sentence 3.4.
#[test]
fn a_locked_row_of_a_dead_worker_keeps_no_other_waiting() {
    with_postgres(|scratch| async move {
        let (manager, _) = open(scratch.url()).await;
        let mut holder = connect(scratch.url()).await;
        let mut direct = connect(scratch.url()).await;
        // The jobs of a worker that is gone, of which one is locked before anybody can rescue it.
        let mut transaction = holder.begin().await.expect("a transaction");
        run(
            &mut transaction,
            "INSERT INTO river_job (kind, args, state, attempt, attempted_at, attempted_by)
             SELECT 'other::job', '{}', 'running', 1, now(), ARRAY['bgtask:gone.1'] FROM generate_series(1, 3)",
        )
        .await;
        transaction.commit().await.expect("they are there");
        let mut transaction = holder.begin().await.expect("a transaction");
        run(
            &mut transaction,
            "SELECT 1 FROM river_job WHERE id = 2 FOR UPDATE",
        )
        .await;
        eventually(
            &mut direct,
            "SELECT count(*) = 2 FROM river_job WHERE state = 'available'",
        )
        .await;
        transaction.rollback().await.expect("it is unlocked");
        eventually(
            &mut direct,
            "SELECT count(*) = 3 FROM river_job WHERE state = 'available'",
        )
        .await;
        manager.shutdown("the test is over").await;
    });
}

#[test]
fn a_job_starts_within_its_notification_and_not_by_the_poll() {
    with_postgres(|scratch| async move {
        let (manager, _) = open(scratch.url()).await;
        // Until the worker listens.
        assert_eq!(plain(0).await.expect("it is stored").outcome().await, Ok(1));
        // Another client, which only inserts.
        let mut other = connect(scratch.url()).await;
        let mut waits = Vec::new();
        for _ in 0..20 {
            let wait: f64 = {
                let id: i64 = sqlx::query_scalar(
                    "WITH one AS (INSERT INTO river_job (kind, args) VALUES ('jobs::postgres::plain', '{\"number\": 1}') RETURNING id)
                     SELECT id FROM one, pg_notify('public.river_insert', '{\"queue\": \"default\"}')",
                )
                .fetch_one(&mut other)
                .await
                .expect("it is stored");
                loop {
                    let wait: Option<f64> = sqlx::query_scalar(
                        "SELECT extract(epoch FROM attempted_at - created_at)::float8 FROM river_job WHERE id = $1",
                    )
                    .bind(id)
                    .fetch_one(&mut other)
                    .await
                    .expect("it is read");
                    if let Some(wait) = wait {
                        break wait;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            waits.push(wait);
        }
        waits.sort_by(f64::total_cmp);
        // By the poll alone each would wait for the next one, 200 ms after the last. On a busy machine some wait for a processor.
        assert!(waits[4] < 0.1, "{waits:?}");
        manager.shutdown("the test is over").await;
    });
}

/// Sentence 2.5.
#[test]
fn a_clock_of_the_server_that_is_set_costs_no_live_process_a_job() {
    let Some((scratch, clock)) = Scratch::postgres_with_clock() else {
        return;
    };
    let file = std::env::temp_dir().join(format!("bgtask-clock-go-{}", std::process::id()));
    let processes = [(); 2].map(|()| {
        let builder = bgtask_durable::builder().url(scratch.url());
        Process::start(builder.time_to_live(Duration::from_secs(1)))
    });
    let [first, second] = &processes;
    let job = first.run(async {
        let job = until(file.display().to_string()).await;
        job.expect("it is stored")
    });
    first.run(store::until(&job, |job| job.state == JobState::Running));
    let least = || {
        second.run(async {
            let mut connection = connect(scratch.url()).await;
            let (least, count): (i64, i64) =
                sqlx::query_as("SELECT min(beat), count(*) FROM bgtask_worker")
                    .fetch_one(&mut connection)
                    .await
                    .expect("they are read");
            assert_eq!(count, 2);
            least
        })
    };
    for (offset, hours) in [("+1h", 1), ("-1h", -1), ("+0", 0)] {
        clock.set(offset);
        first.run(async {
            let mut connection = connect(scratch.url()).await;
            let (server, machine) = ("extract(epoch FROM now())", std::time::UNIX_EPOCH.elapsed());
            let condition = format!(
                "SELECT round(({server} - {}) / 3600) = {hours}",
                machine.expect("after 1970").as_secs()
            );
            eventually(&mut connection, condition.leak()).await;
        });
        // Two times to live.
        let end = least() + 8;
        let begin = Instant::now();
        while least() < end {
            assert!(begin.elapsed() < store::LIMIT, "they beat, {offset}");
            std::thread::sleep(Duration::from_millis(10));
        }
        // What is stored now runs now, and what has failed is not tried again in an hour.
        second.run(async {
            let begin = Instant::now();
            let job = plain(1).await.expect("it is stored");
            assert_eq!(job.outcome().await, Ok(2), "{offset}");
            assert!(begin.elapsed() < Duration::from_secs(30), "{offset}");
        });
    }
    std::fs::write(&file, "").expect("a file");
    let status = first.run(async {
        assert_eq!(job.outcome().await, Ok(7));
        job.status().await.expect("it is there")
    });
    assert_eq!((status.attempts, status.crashes), (1, 0));
    processes.into_iter().for_each(Process::end);
    std::fs::remove_file(&file).expect("it is there");
}
