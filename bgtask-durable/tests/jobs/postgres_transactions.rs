//! Jobs that are stored, and completed, in transactions of the program's on Postgres.

#![cfg(feature = "postgres")]

use crate::support::Scratch;
use bgtask::durable::{CompleteError, EnqueueError, JobError, JobState, enqueue_all};
use bgtask::{Job, Manager, State, background};
use bgtask_durable::Jobs;
use bgtask_durable::sqlx::{self, PgPool, Postgres, Transaction};

/// Runs a test with a store and a pool of the program's own, or says that there is no Postgres.
fn with_store<F: Future<Output = ()>>(test: impl FnOnce(Jobs, PgPool) -> F) {
    let Some(scratch) = Scratch::postgres() else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let manager = Manager::builder().install().expect("the first manager");
        let jobs = bgtask_durable::open_at(scratch.url())
            .await
            .expect("it opens");
        let pool = pool(&scratch).await;
        bgtask::provide(pool.clone());
        test(jobs, pool).await;
        manager.shutdown("the test is over").await;
    });
}

/// A pool of the program's own, with a table.
async fn pool(scratch: &Scratch) -> PgPool {
    let pool = PgPool::connect(scratch.url()).await.expect("it opens");
    sqlx::query("CREATE TABLE booking (number int NOT NULL)")
        .execute(&pool)
        .await
        .expect("a table");
    pool
}

async fn book(transaction: &mut Transaction<'_, Postgres>, number: i32) {
    sqlx::query("INSERT INTO booking (number) VALUES ($1)")
        .bind(number)
        .execute(&mut **transaction)
        .await
        .expect("a row");
}

async fn bookings(pool: &PgPool) -> Vec<i32> {
    sqlx::query_scalar("SELECT number FROM booking ORDER BY number")
        .fetch_all(pool)
        .await
        .expect("they are read")
}

#[background(durable)]
async fn double(number: u32) -> u32 {
    number * 2
}

/// Sentences 1.4 and 1.6.
#[test]
fn a_job_is_there_if_and_only_if_the_transaction_commits() {
    with_store(|jobs, pool| async move {
        let mut transaction = pool.begin().await.expect("it begins");
        book(&mut transaction, 1).await;
        let job = double(1)
            .within(&mut transaction)
            .await
            .expect("it is written");
        // Nobody sees it yet.
        assert_eq!(job.outcome().await, Err(JobError::NotFound));
        transaction.commit().await.expect("it commits");
        assert_eq!(job.outcome().await, Ok(2));

        let mut transaction = pool.begin().await.expect("it begins");
        book(&mut transaction, 2).await;
        let handles = enqueue_all((0..10).map(double))
            .within(&mut transaction)
            .await
            .expect("they are written");
        transaction.rollback().await.expect("it rolls back");
        assert_eq!(handles[9].outcome().await, Err(JobError::NotFound));
        for state in [JobState::Waiting, JobState::Running] {
            assert_eq!(jobs.count(state).await, Ok(0));
        }
        assert_eq!(jobs.count(JobState::Done).await, Ok(1));
        assert_eq!(bookings(&pool).await, [1]);
    });
}

/// Sentence 1.5.
#[test]
fn a_transaction_of_another_database_or_schema_is_refused_and_goes_on() {
    with_store(|jobs, pool| async move {
        let other = Scratch::postgres().expect("there is a server");
        let other = self::pool(&other).await;
        for pool in [&pool, &other] {
            let mut transaction = pool.begin().await.expect("it begins");
            sqlx::raw_sql("CREATE SCHEMA elsewhere; SET LOCAL search_path = elsewhere")
                .execute(&mut *transaction)
                .await
                .expect("a schema");
            let refused = double(1).within(&mut transaction).await;
            assert!(
                matches!(refused, Err(EnqueueError::OtherDatabase)),
                "{refused:?}"
            );
            sqlx::query("SET LOCAL search_path = public")
                .execute(&mut *transaction)
                .await
                .expect("it is not aborted");
            book(&mut transaction, 1).await;
            transaction.commit().await.expect("it commits");
            assert_eq!(bookings(pool).await, [1]);
        }
        assert_eq!(jobs.count(JobState::Done).await, Ok(0));
    });
}

/// Completes its job in a transaction, which the first attempt rolls back if it is asked to.
#[background(durable, retry(max = 3, base = "10ms", backoff = "constant"))]
async fn booked(job: Job, State(pool): State<PgPool>, is_rolled_back: bool) -> Result<u32, String> {
    let attempt = job.attempt();
    let mut transaction = pool.begin().await.expect("it begins");
    book(&mut transaction, attempt.try_into().expect("a few")).await;
    let completed = job.complete_in(&mut transaction, &attempt).await;
    completed.map_err(|error| error.to_string())?;
    let again = job.complete_in(&mut transaction, &0).await;
    assert_eq!(again, Err(CompleteError::AlreadyCompleted));
    if is_rolled_back && attempt == 1 {
        transaction.rollback().await.expect("it rolls back");
    } else {
        transaction.commit().await.expect("it commits");
    }
    // Another value than the one that is stored.
    Ok(1000)
}

/// Sentences 4.3 and 4.4.
#[test]
fn a_job_ends_with_the_transaction_that_completes_it() {
    with_store(|_, pool| async move {
        let job = booked(false).await.expect("it is stored");
        assert_eq!(job.outcome().await, Ok(1));
        assert_eq!(bookings(&pool).await, [1]);
        // The value that the body returns does not count: nothing of it has happened.
        let job = booked(true).await.expect("it is stored");
        assert_eq!(job.outcome().await, Ok(2));
        assert_eq!(bookings(&pool).await, [1, 2]);
    });
}
