//! The settings of a store that cannot be kept: each is an error that names the cure, and none opens a store that works nothing.
#![cfg(feature = "sqlite")]

mod support;

use bgtask::durable::{EnqueueError, JobError};
use bgtask::{Manager, background};
use bgtask_durable::sqlx::{self, Connection, SqliteConnection};
use bgtask_durable::{Builder, OpenError, Synchronous, builder};
use std::time::Duration;
use support::Scratch;
use support::store::{Process, with_store};

/// Opens a store in a runtime of its own, and returns why it does not open.
fn refused(builder: Builder) -> OpenError {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let _manager = Manager::install().expect("the first of its runtime");
        builder.open().await.expect_err("it does not open")
    })
}

/// The engine would refuse them when it starts, and then work no queue at all.
#[test]
fn wrong_queues_are_refused_when_the_store_opens() {
    let scratch = Scratch::sqlite();
    for name in ["", "my mail", "9lives", "früh", &"q".repeat(65)] {
        let error = refused(builder().url(scratch.url()).queue(name, 1));
        assert!(
            matches!(error, OpenError::Setting { name: "queue", .. }),
            "{error}"
        );
        assert!(error.to_string().contains("a letter first"), "{error}");
    }
    let error = refused(builder().url(scratch.url()).queue("bgtask-suspects", 5));
    assert!(error.to_string().contains("one by one"), "{error}");
    for at_once in [10_001, usize::MAX] {
        let error = refused(builder().url(scratch.url()).queue("mail", at_once));
        assert!(error.to_string().contains("0 to 10,000"), "{error}");
    }
}

/// Sentence 14.6.
#[test]
fn a_wrong_value_of_the_program_is_named() {
    let scratch = Scratch::sqlite();
    let set = || builder().url(scratch.url());
    for (builder, name, value) in [
        (
            set().time_to_live(Duration::from_millis(99)),
            "time_to_live",
            "99ms",
        ),
        (
            set().time_to_live(Duration::from_secs(3601)),
            "time_to_live",
            "3601s",
        ),
        (set().enqueue_limit(Duration::ZERO), "enqueue_limit", "0ns"),
        (set().crash_limit(0), "crash_limit", "0"),
        (set().argument_limit(1023), "argument_limit", "1023"),
        (set().output_limit(67_108_865), "output_limit", "67108865"),
        (set().connections(1), "connections", "1"),
        (set().connections(1001), "connections", "1001"),
        (
            builder()
                .url("postgres://bgtask@127.0.0.1:1/none")
                .synchronous(Synchronous::Normal),
            "synchronous",
            "normal",
        ),
    ] {
        let error = refused(builder);
        assert!(
            matches!(&error, OpenError::Setting { name: wrong, value: is, .. } if *wrong == name && is == value),
            "{name}: {error}"
        );
    }
}

#[test]
fn an_url_that_names_no_file_is_refused() {
    for url in ["sqlite://", "sqlite:"] {
        let error = refused(builder().url(url));
        assert!(error.to_string().contains("names no file"), "{error}");
    }
    let error = refused(builder().url("bgtask.db"));
    assert!(
        matches!(&error, OpenError::Url { url, .. } if url == "bgtask.db"),
        "{error}"
    );
}

#[test]
fn a_missing_folder_is_named() {
    let scratch = Scratch::sqlite();
    let url = scratch.url().replace("jobs.db", "missing/jobs.db");
    let error = refused(builder().url(url)).to_string();
    assert!(error.contains("missing/jobs.db"), "{error}");
}

#[background(durable(keep = "1500ms"))]
async fn kept() {}

/// The unit of the database is the second, and a job stays no shorter than asked for.
#[test]
fn keep_is_rounded_up() {
    let scratch = Scratch::sqlite();
    with_store(&scratch, |_| async {
        let job = kept().after(Duration::from_secs(3600)).await;
        job.expect("it is stored");
        let mut connection = SqliteConnection::connect(scratch.url()).await.unwrap();
        let seconds: i64 = sqlx::query_scalar(
            r#"SELECT json_extract(metadata, '$."bgtask:keep"') FROM river_job"#,
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        assert_eq!(seconds, 2);
    });
}

#[background(durable, retry(max = 1))]
async fn repeats(text: String, times: usize) -> String {
    text.repeat(times)
}

/// Sentence 9.1.
#[test]
fn the_limits_of_the_sizes_are_those_that_are_set() {
    let scratch = Scratch::sqlite();
    let settings = builder().url(scratch.url());
    let process = Process::start(settings.argument_limit(1024).output_limit(1_000_000));
    process.run(async {
        let job = repeats("x".repeat(900), 1000).await.expect("it is stored");
        assert_eq!(job.outcome().await.map(|text| text.len()), Ok(900_000));
        let large = repeats("x".repeat(1024), 1).await.expect_err("too much");
        assert!(matches!(large, EnqueueError::TooLarge { limit: 1024, .. }), "{large}");
        let job = repeats("x".repeat(900), 1200).await.expect("it is stored");
        let error = job.outcome().await.expect_err("too much");
        assert!(
            matches!(&error, JobError::Failed { message, .. } if message.contains("the limit is 1000000")),
            "{error}"
        );
    });
    process.end();
}
