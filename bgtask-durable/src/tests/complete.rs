//! `complete_in`, and the check of what became of it.

use super::transactions::Pool;
use super::*;
use bgtask::{Job, background};

/// Completes its job in a transaction that does not commit in the first attempt, and returns another value.
#[background(durable, retry(max = 2, base = "10ms"))]
async fn rolls_back(job: Job, url: String) -> u32 {
    let pool = Pool::at(&url).await;
    let mut transaction = pool.begin().await;
    transaction.book(job.attempt()).await;
    let completed = job.complete_in(&mut transaction, &job.attempt()).await;
    completed.expect("it is written");
    match job.attempt() {
        1 => transaction.roll_back().await,
        _ => transaction.commit().await,
    }
    1000
}

/// Runs the job, and returns its value, its attempts, and the rows of its transactions.
async fn run(scratch: &Scratch) -> (u32, u32, Vec<i64>) {
    let (manager, _) = opened(scratch, Duration::from_secs(4)).await;
    let job = rolls_back(scratch.url().to_owned()).await;
    let job = job.expect("it is stored");
    let value = job.outcome().await.expect("it ends");
    let attempts = job.status().await.expect("it is there").attempts;
    manager.shutdown("the test is over").await;
    (value, attempts, Pool::of(scratch).await.bookings().await)
}

/// Sentences 4.3 and 4.4.
async fn a_body_that_rolls_back_and_succeeds_has_failed(scratch: Scratch) {
    assert_eq!(run(&scratch).await, (2, 2, vec![2]));
}

/// Sentence 4.4.
async fn without_the_check_its_job_would_be_done_and_its_rows_absent(scratch: Scratch) {
    Mechanism::ChecksCompletion.turn_off(&scratch.open().await);
    assert_eq!(run(&scratch).await, (1000, 1, vec![]));
}

/// Sentence 4.3. Another transaction may hold the row for a moment, as the record of a progress does.
async fn an_attempt_waits_for_its_row_to_complete_its_job(scratch: Scratch) {
    let database = scratch.open().await;
    let id = store(&database).await;
    let claim = claimed_by(&database, "bgtask:a").await;
    let mut holder = Pool::of(&scratch).await.begin().await;
    holder
        .run("SELECT 1", "SELECT 1 FROM river_job FOR UPDATE")
        .await;
    let released = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        holder.commit().await;
    };
    let (completed, ()) = tokio::join!(complete(&database, &claim, "7", None), released);
    assert_eq!(completed, Ok(()));
    assert_eq!(output(&database, id).await, "7");
}

on_each_database! {
    async
    an_attempt_waits_for_its_row_to_complete_its_job,
    a_body_that_rolls_back_and_succeeds_has_failed,
    without_the_check_its_job_would_be_done_and_its_rows_absent,
}
