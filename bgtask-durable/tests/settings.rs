//! The settings of a store that cannot be kept: each is an error that names the cure, and none opens a store that works nothing.
#![cfg(feature = "sqlite")]

#[path = "support/store.rs"]
mod store;
mod support;

use bgtask::{Manager, background};
use bgtask_durable::sqlx::{self, Connection, SqliteConnection};
use bgtask_durable::{Builder, OpenError, builder};
use std::time::Duration;
use store::with_store;
use support::Scratch;

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
        assert!(matches!(&error, OpenError::Queue { name: wrong, .. } if wrong == name));
        assert!(error.to_string().contains("a letter first"), "{error}");
    }
    for at_once in [0, 10_001, usize::MAX] {
        let error = refused(builder().url(scratch.url()).queue("mail", at_once));
        assert!(error.to_string().contains("1 to 10,000"), "{error}");
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
