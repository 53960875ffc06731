//! A store behind PgBouncer. A binary of its own, because all that the process logs is read.

#![cfg(feature = "postgres")]

mod support;

use bgtask::durable::{EnqueueError, JobError, JobState};
use bgtask::{Manager, ShutdownToken, background};
use bgtask_durable::sqlx::postgres::{PgConnectOptions, PgConnection};
use bgtask_durable::sqlx::{self, ConnectOptions as _, Connection as _};
use bgtask_durable::{Builder, builder};
use std::thread;
use std::time::{Duration, Instant};
use support::Scratch;
use support::log;
use support::pgbouncer::{Mode, PgBouncer};
use support::store::{LIMIT, Process, until};

#[background(durable)]
async fn plain(number: u32) -> u32 {
    number + 1
}

#[background(durable)]
async fn until_cancelled(token: ShutdownToken) -> Result<(), String> {
    token.cancelled().await;
    Err("it was cancelled".to_owned())
}

/// A scratch database and a PgBouncer before it. `None` without one of the programs, which the test then says.
fn pooled(mode: Mode, more: &str) -> Option<(Scratch, PgBouncer, String)> {
    let scratch = Scratch::postgres()?;
    let pgbouncer = PgBouncer::start(scratch.url(), mode, more)?;
    let url = pgbouncer.url(scratch.url());
    Some((scratch, pgbouncer, url))
}

fn block_on<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(test)
}

fn refused(builder: Builder) -> String {
    let error = block_on(async {
        let _manager = Manager::install().expect("the first of its runtime");
        builder.open().await.expect_err("it does not open")
    });
    error.to_string()
}

async fn connect(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().expect("a URL");
    options.connect().await.expect("the server is there")
}

/// How long jobs wait that another client stores, in seconds, in order.
fn waits(process: &Process, server: &str) -> Vec<f64> {
    process.run(async {
        let mut other = connect(server).await;
        let mut waits = Vec::new();
        for _ in 0..20 {
            let id: i64 = sqlx::query_scalar(
                "WITH one AS (INSERT INTO river_job (kind, args) VALUES ('pooler::plain', '{\"number\": 1}') RETURNING id)
                 SELECT id FROM one, pg_notify('public.river_insert', '{\"queue\": \"default\"}')",
            )
            .fetch_one(&mut other)
            .await
            .expect("it is stored");
            let begin = Instant::now();
            let wait = loop {
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
                assert!(begin.elapsed() < LIMIT, "it does not start");
                tokio::time::sleep(Duration::from_millis(1)).await;
            };
            waits.push(wait);
        }
        waits.sort_by(f64::total_cmp);
        waits
    })
}

/// Jobs of two processes run, are awaited, wait for their time, are cancelled and rescued.
fn works(first: &Process, second: &Process, server: &str) {
    let jobs = first.run(async {
        let jobs = bgtask::durable::enqueue_all((0..200).map(plain)).await;
        jobs.expect("they are stored")
    });
    second.run(async {
        for (number, job) in (0..).zip(jobs) {
            let job = second.jobs.get::<u32>(job.id());
            let outcome = tokio::time::timeout(LIMIT, job.outcome()).await;
            assert_eq!(outcome.expect("within the limit"), Ok(number + 1));
            let status = job.status().await.expect("it is there");
            assert_eq!((status.attempts, status.crashes), (1, 0));
        }
        let later = plain(1).after(Duration::from_millis(300)).await;
        assert_eq!(later.expect("it is stored").outcome().await, Ok(2));
        let job = until_cancelled().await.expect("it is stored");
        until(&job, |job| job.state == JobState::Running).await;
        // Whichever process runs it.
        assert_eq!(first.jobs.get::<()>(job.id()).cancel().await, Ok(true));
        let outcome = tokio::time::timeout(LIMIT, job.outcome()).await;
        let outcome = outcome.expect("within the limit");
        assert!(matches!(outcome, Err(JobError::Cancelled { .. })), "{outcome:?}");
        let mut direct = connect(server).await;
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO river_job (kind, args, state, attempt, attempted_at, attempted_by)
             VALUES ('pooler::plain', '{\"number\": 7}', 'running', 1, now(), ARRAY['bgtask:gone.1']) RETURNING id",
        )
        .fetch_one(&mut direct)
        .await
        .expect("it is stored");
        let orphan = second.jobs.get::<u32>(bgtask::durable::JobId::new(id));
        let outcome = tokio::time::timeout(LIMIT, orphan.outcome()).await;
        assert_eq!(outcome.expect("it is rescued"), Ok(8));
    });
}

/// Sentence 12.5.
#[test]
fn behind_a_pooler_that_lends_its_sessions_the_store_polls_and_says_so() {
    log::start();
    let Some((scratch, _pgbouncer, url)) = pooled(Mode::Transaction, "") else {
        return;
    };
    // On an empty database: they make the tables one after another.
    let builder = builder().url(&*url).time_to_live(Duration::from_secs(1));
    let processes = thread::scope(|scope| {
        let starts: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| Process::start(builder.clone())))
            .collect();
        starts
            .into_iter()
            .map(|start| start.join().expect("it starts"))
            .collect::<Vec<_>>()
    });
    let port = url.rsplit_once(':').expect("a port").1.to_owned();
    let warned = log::lines("it polls for jobs and their ends");
    assert_eq!(warned.len(), 8, "once each of {port}: {warned:#?}");
    assert!(warned.iter().all(|line| line.contains("BGTASK_LISTEN_URL")));
    // Other tests of this process log the same.
    assert!(log::lines("lock_timeout = '4s'").len() >= 8);
    works(&processes[0], &processes[1], scratch.url());
    // No lock of a session is left in one of the pooler's.
    processes[0].run(async {
        let locks: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database =
                (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .fetch_one(&mut connect(scratch.url()).await)
        .await
        .expect("they are read");
        assert_eq!(locks, 0);
    });
    processes.into_iter().for_each(Process::end);
}

/// Sentence 12.5.
#[test]
fn with_a_listen_url_a_store_behind_a_pooler_is_notified() {
    let Some((scratch, _pgbouncer, url)) = pooled(Mode::Transaction, "") else {
        return;
    };
    let builder = builder().url(&*url).listen_url(scratch.url());
    let processes =
        [(); 2].map(|()| Process::start(builder.clone().time_to_live(Duration::from_secs(1))));
    works(&processes[0], &processes[1], scratch.url());
    let waits = waits(&processes[0], scratch.url());
    // By the poll alone each would wait for the next one, 200 ms after the last.
    assert!(waits[10] < 0.1, "{waits:?}");
    processes.into_iter().for_each(Process::end);
}

/// Sentence 12.5.
#[test]
fn a_pooler_that_keeps_no_prepared_statements_is_refused() {
    let Some((scratch, _pgbouncer, url)) = pooled(Mode::TransactionUnprepared, "") else {
        return;
    };
    // Also when others have prepared statements in its sessions.
    for _ in 0..3 {
        let error = refused(builder().url(&*url));
        assert!(
            error.contains("does not keep prepared statements"),
            "{error}"
        );
        assert!(error.contains("max_prepared_statements"), "{error}");
    }
    let error = refused(builder().url(&*url).listen_url(scratch.url()));
    assert!(
        error.contains("does not keep prepared statements"),
        "{error}"
    );
}

#[test]
fn a_pooler_that_keeps_the_sessions_apart_needs_no_settings() {
    for more in ["", "ignore_startup_parameters = options"] {
        let Some((scratch, _pgbouncer, url)) = pooled(Mode::Session, more) else {
            return;
        };
        let process = Process::start(builder().url(&*url));
        let waits = waits(&process, scratch.url());
        assert!(waits[10] < 0.1, "{waits:?}");
        if more.ends_with("options") {
            // The limit of the wait for a lock is set, less than that of the call.
            process.run(async {
                let mut lock = connect(scratch.url()).await;
                let mut lock = lock.begin().await.expect("it begins");
                sqlx::query("LOCK TABLE river_job IN EXCLUSIVE MODE")
                    .execute(&mut *lock)
                    .await
                    .expect("it is locked");
                let refused = plain(1).await.expect_err("it is locked");
                assert_eq!(refused, EnqueueError::Busy);
            });
        }
        process.end();
    }
}

#[test]
fn a_listen_url_that_is_wrong_is_refused_with_the_cure() {
    let Some((scratch, _pgbouncer, url)) = pooled(Mode::Transaction, "") else {
        return;
    };
    let other = scratch.another();
    for listen_url in [other.url(), &url] {
        let error = refused(builder().url(&*url).listen_url(listen_url));
        let cure = if listen_url == url {
            "give the address of the server itself"
        } else {
            "is that of another database"
        };
        assert!(error.contains(cure), "{error}");
    }
    let error = refused(builder().url("sqlite://jobs.db").listen_url(scratch.url()));
    assert!(error.contains("remove it"), "{error}");
}

/// The jobs would be stored in another schema.
#[test]
fn options_of_the_url_that_a_pooler_drops_are_refused() {
    for more in ["", "ignore_startup_parameters = options"] {
        let Some((_scratch, _pgbouncer, url)) = pooled(Mode::Session, more) else {
            return;
        };
        let error = refused(builder().url(format!("{url}?options=-csearch_path=elsewhere")));
        assert!(
            error.contains("leave it out of the URL")
                || error.contains("leave them out of the URL"),
            "{error}"
        );
    }
}
