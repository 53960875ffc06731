//! Jobs that are stored, and completed, in transactions of the program's.

use crate::support::store::{open, until, with_store};
use crate::support::transactions::Pool;
use crate::support::{Scratch, on_each_database};
use bgtask::durable::{CompleteError, EnqueueError, JobError, JobState, enqueue_all, not_stored};
use bgtask::{Job, State, background};

/// The program's pool, as the state of its functions: a store waits a while for it.
async fn provided(scratch: &Scratch) -> Pool {
    let pool = Pool::of(scratch).await;
    bgtask::provide(pool.clone());
    pool
}

#[background(durable)]
async fn double(number: u32) -> u32 {
    number * 2
}

/// Sentences 1.4 and 1.6.
fn a_job_is_stored_if_the_transaction_commits(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let pool = provided(&scratch).await;
        let mut transaction = pool.begin().await;
        transaction.book(1).await;
        let job = double(1)
            .within(&mut transaction)
            .await
            .expect("it is written");
        // Nobody sees it yet.
        assert_eq!(job.outcome().await, Err(JobError::NotFound));
        transaction.commit().await;
        assert_eq!(job.outcome().await, Ok(2));
        assert_eq!(pool.bookings().await, [1]);
    });
}

/// Sentences 1.4 and 1.6.
fn a_job_is_never_there_if_the_transaction_does_not_commit(scratch: Scratch) {
    let scratch = &scratch;
    with_store(scratch, |jobs| async move {
        let pool = provided(scratch).await;
        let mut transaction = pool.begin().await;
        let calls = (0..10).map(double);
        let handles = enqueue_all(calls)
            .within(&mut transaction)
            .await
            .expect("they are written");
        assert_eq!(handles.len(), 10);
        transaction.roll_back().await;
        for state in [JobState::Waiting, JobState::Running, JobState::Done] {
            assert_eq!(jobs.count(state).await, Ok(0));
        }
        assert_eq!(handles[0].outcome().await, Err(JobError::NotFound));
        assert_eq!(not_stored(), 0);
    });
}

/// Sentence 1.4.
fn many_jobs_and_keys_are_stored_in_one_transaction(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let pool = provided(&scratch).await;
        let mut transaction = pool.begin().await;
        let first = double(1)
            .key("a")
            .within(&mut transaction)
            .await
            .expect("it is written");
        let calls = [double(2).key("a"), double(3).key("b"), double(4).key("b")];
        let handles = enqueue_all(calls)
            .within(&mut transaction)
            .await
            .expect("they are written");
        transaction.commit().await;
        let duplicates: Vec<_> = handles.iter().map(|job| job.is_duplicate()).collect();
        assert_eq!(duplicates, [true, false, true]);
        assert_eq!(handles[0].id(), first.id());
        assert_eq!(handles[0].outcome().await, Ok(2));
        assert_eq!(handles[2].outcome().await, Ok(6));
    });
}

/// Sentence 1.5.
fn a_transaction_of_another_database_is_an_error(scratch: Scratch) {
    let other = scratch.another();
    let like = scratch.another();
    with_store(&scratch, |jobs| async move {
        // A database without our tables.
        let pool_of_other = Pool::of(&other).await;
        let mut transaction = pool_of_other.begin().await;
        let error = double(1)
            .within(&mut transaction)
            .await
            .expect_err("another database");
        assert_eq!(error, EnqueueError::OtherDatabase);
        // The transaction goes on.
        transaction.book(1).await;
        transaction.commit().await;
        assert_eq!(pool_of_other.bookings().await, [1]);

        // One with such tables of its own.
        let url = like.url().to_owned();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let (manager, _) = open(&url).await;
                manager.shutdown("its tables are there").await;
            });
        })
        .join()
        .expect("it ends");
        let pool = Pool::of(&like).await;
        let mut transaction = pool.begin().await;
        let error = double(1)
            .within(&mut transaction)
            .await
            .expect_err("another store");
        assert_eq!(error, EnqueueError::OtherDatabase);
        drop(transaction);
        assert_eq!(jobs.count(JobState::Done).await, Ok(0));
        assert_eq!(not_stored(), 0);
    });
}

/// On SQLite, of which a transaction that writes locks the whole file.
///
/// Sentence 12.1.
#[cfg(feature = "sqlite")]
#[test]
fn a_task_with_a_transaction_that_stores_outside_of_it_gets_an_error_soon() {
    let scratch = Scratch::sqlite();
    with_store(&scratch, |_| async {
        let pool = provided(&scratch).await;
        let mut transaction = pool.begin().await;
        transaction.book(1).await;
        let begin = std::time::Instant::now();
        let error = double(1).await.expect_err("the database is locked");
        assert_eq!(error, EnqueueError::Busy);
        assert!(
            error.to_string().contains(".within(&mut transaction)"),
            "{error}"
        );
        assert!(
            begin.elapsed() < std::time::Duration::from_secs(6),
            "{:?}",
            begin.elapsed()
        );
        let job = double(1)
            .within(&mut transaction)
            .await
            .expect("it is written");
        transaction.commit().await;
        assert_eq!(job.outcome().await, Ok(2));
    });
}

/// Sentence 1.7.
fn a_future_that_is_not_awaited_stores_nothing_and_is_reported(scratch: Scratch) {
    let scratch = &scratch;
    with_store(scratch, |jobs| async move {
        let pool = provided(scratch).await;
        let mut transaction = pool.begin().await;
        drop(double(1).within(&mut transaction));
        drop(enqueue_all([double(1), double(2)]).within(&mut transaction));
        transaction.commit().await;
        assert_eq!(not_stored(), 3);
        assert_eq!(jobs.count(JobState::Waiting).await, Ok(0));
    });
}

/// What an attempt does after it has completed its job.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
enum Then {
    Commit,
    CommitAndFail,
    RollBack,
    RollBackAndFail,
    CompleteAgain,
}

#[background(durable, retry(max = 3, base = "10ms", backoff = "constant"))]
async fn booked(job: Job, State(pool): State<Pool>, then: Then) -> Result<u32, String> {
    let mut transaction = pool.begin().await;
    transaction.book(job.attempt()).await;
    job.progress(1.0, "booked");
    let completed = job.complete_in(&mut transaction, &job.attempt()).await;
    completed.map_err(|error| error.to_string())?;
    if matches!(then, Then::CompleteAgain) {
        let again = job.complete_in(&mut transaction, &0).await;
        assert_eq!(again, Err(CompleteError::AlreadyCompleted));
    }
    let is_rolled_back =
        matches!(then, Then::RollBack | Then::RollBackAndFail) && job.attempt() == 1;
    if is_rolled_back {
        transaction.roll_back().await;
    } else {
        transaction.commit().await;
    }
    match then {
        Then::CommitAndFail => Err("after the commit".to_owned()),
        Then::RollBackAndFail if is_rolled_back => Err("by itself".to_owned()),
        // Another value than the one that is stored.
        _ => Ok(1000),
    }
}

fn with_bookings<F: Future<Output = ()>>(scratch: &Scratch, test: impl FnOnce(Pool) -> F) {
    with_store(scratch, |_| async {
        let pool = provided(scratch).await;
        test(pool).await;
    });
}

/// Sentences 4.2 and 4.3.
fn a_job_is_completed_with_the_transaction_whatever_its_body_returns(scratch: Scratch) {
    with_bookings(&scratch, |pool| async move {
        for (number, then) in [Then::Commit, Then::CommitAndFail, Then::CompleteAgain]
            .into_iter()
            .enumerate()
        {
            let job = booked(then).await.expect("it is stored");
            assert_eq!(job.outcome().await, Ok(1));
            let status = job.status().await.expect("it is there");
            assert_eq!((status.state, status.attempts), (JobState::Done, 1));
            assert_eq!(status.last_error, None);
            assert_eq!(status.progress.expect("it reported some").note, "booked");
            assert_eq!(pool.bookings().await.len(), number + 1);
        }
    });
}

/// Sentences 4.3 and 4.4.
fn an_attempt_whose_transaction_does_not_commit_has_failed(scratch: Scratch) {
    const NOT_COMMITTED: &str = "the transaction in which the job was completed was not committed";
    with_bookings(&scratch, |pool| async move {
        let job = booked(Then::RollBack).await.expect("it is stored");
        assert_eq!(job.outcome().await, Ok(2), "the second attempt commits");
        let status = until(&job, |status| status.state == JobState::Done).await;
        assert_eq!(status.attempts, 2);
        assert_eq!(status.last_error.as_deref(), Some(NOT_COMMITTED));
        assert_eq!(pool.bookings().await, [2]);

        let job = booked(Then::RollBackAndFail).await.expect("it is stored");
        assert_eq!(job.outcome().await, Ok(2));
        let status = job.status().await.expect("it is there");
        let error = format!("{NOT_COMMITTED}: by itself");
        assert_eq!(status.last_error, Some(error));
    });
}

#[background(durable, retry(max = 1))]
async fn completes_elsewhere(job: Job, State(pool): State<Pool>, other: String) -> u32 {
    let elsewhere = Pool::at(&other).await;
    let mut transaction = elsewhere.begin().await;
    let error = job.complete_in(&mut transaction, &1).await;
    assert_eq!(error, Err(CompleteError::OtherDatabase));
    let mut transaction = pool.begin().await;
    let error = job.complete_in(&mut transaction, &"a\0b").await;
    assert_eq!(error, Err(CompleteError::Nul));
    let large = "x".repeat(300 * 1024);
    let error = job.complete_in(&mut transaction, &large).await;
    assert!(matches!(
        error,
        Err(CompleteError::TooLarge { size: 307_202, .. })
    ));
    // The body's own value counts, because nothing was completed.
    7
}

fn what_cannot_be_completed_is_an_error_and_leaves_the_job_as_it_is(scratch: Scratch) {
    let other = scratch.another();
    with_bookings(&scratch, |_| async move {
        let job = completes_elsewhere(other.url().to_owned())
            .await
            .expect("it is stored");
        assert_eq!(job.outcome().await, Ok(7));
    });
}

on_each_database! {
    a_job_is_stored_if_the_transaction_commits,
    a_job_is_never_there_if_the_transaction_does_not_commit,
    many_jobs_and_keys_are_stored_in_one_transaction,
    a_transaction_of_another_database_is_an_error,
    a_future_that_is_not_awaited_stores_nothing_and_is_reported,
    a_job_is_completed_with_the_transaction_whatever_its_body_returns,
    an_attempt_whose_transaction_does_not_commit_has_failed,
    what_cannot_be_completed_is_an_error_and_leaves_the_job_as_it_is,
}
