//! Transactions, cancellations, and the version of a job.

use super::*;

/// Sentences 4.1, 4.2 and 4.5.
async fn an_attempt_that_has_lost_its_job_completes_nothing(scratch: Scratch) {
    let database = scratch.open().await;
    let id = store(&database).await;
    let stale = claimed_by(&database, "bgtask:a").await;
    rescue(&database, "bgtask:a", "m1").await;
    let current = claimed_by(&database, "bgtask:b").await;

    let progress = Some(Progress::new(0.5, "stale"));
    let lost = complete(&database, &stale, "1", progress).await;
    assert_eq!(lost, Err(CompleteError::Lost));

    assert_eq!(complete(&database, &current, "2", None).await, Ok(()));
    let again = complete(&database, &current, "3", None).await;
    assert_eq!(again, Err(CompleteError::AlreadyCompleted));
    let lost = complete(&database, &stale, "4", None).await;
    assert_eq!(lost, Err(CompleteError::Lost));
    assert_eq!(output(&database, id).await, "2");
    assert_eq!(status(&database, id).await.progress, None);
}

/// Sentences 3.5 and 11.3.
async fn a_job_that_is_asked_to_end_is_cancelled_whoever_gives_it_back(scratch: Scratch) {
    let database = scratch.open().await;
    let asked = async || {
        let id = store(&database).await;
        let claim = claimed_by(&database, "bgtask:a").await;
        let cancelled = database.cancel(JobId::new(id), "asked").await;
        assert_eq!(cancelled, Ok(Cancelled::Marked));
        let status = status(&database, id).await;
        assert_eq!(
            (status.state, status.is_cancelling),
            (JobState::Running, true)
        );
        claim
    };
    let records = [
        failed(),
        Record::Returned,
        Record::Dead {
            failure: Failure::Failed,
            message: "no".to_owned(),
        },
        Record::Postponed {
            pause: Duration::ZERO,
        },
    ];
    for record in records {
        let claim = asked().await;
        assert!(recorded(&database, &claim, record).await);
        assert_eq!(state(&database, claim.id).await, JobState::Cancelled);
    }
    let claim = asked().await;
    let cancelling = database.cancelling("bgtask:a").await;
    assert_eq!(cancelling.expect("it is read"), [claim.id]);
    rescue(&database, "bgtask:a", "m1").await;
    assert_eq!(state(&database, claim.id).await, JobState::Cancelled);

    // A value counts, and one that was not asked to end goes on.
    let claim = asked().await;
    assert!(recorded(&database, &claim, done("1")).await);
    assert_eq!(state(&database, claim.id).await, JobState::Done);
    store(&database).await;
    let claim = claimed_by(&database, "bgtask:a").await;
    assert!(recorded(&database, &claim, failed()).await);
    assert_eq!(state(&database, claim.id).await, JobState::Retrying);
}

/// Sentence 11.8.
async fn each_change_raises_the_version(scratch: Scratch) {
    let database = scratch.open().await;
    let id = store(&database).await;
    let mut last = status(&database, id).await.version;
    let mut grows = async |step: &str| {
        let now = status(&database, id).await.version;
        assert!(now > last, "{step}: {now} after {last}");
        last = now;
    };
    for record in [
        failed(),
        Record::Postponed {
            pause: Duration::ZERO,
        },
        Record::Returned,
    ] {
        let claim = claimed_by(&database, "bgtask:a").await;
        grows("a claim").await;
        let progress = Record::Progress(Progress::new(0.5, "half"));
        assert!(recorded(&database, &claim, progress).await);
        grows("progress").await;
        let name = format!("{record:?}");
        assert!(recorded(&database, &claim, record).await);
        grows(&name).await;
        if database.promote().await.expect("it is written") > 0 {
            grows("it is due").await;
        }
    }
    claimed_by(&database, "bgtask:a").await;
    grows("the last claim").await;
    rescue(&database, "bgtask:a", "m1").await;
    grows("a rescue").await;
}

on_each_database! {
    async
    an_attempt_that_has_lost_its_job_completes_nothing,
    a_job_that_is_asked_to_end_is_cancelled_whoever_gives_it_back,
    each_change_raises_the_version,
}
