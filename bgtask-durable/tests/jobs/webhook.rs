//! Webhooks: what a receiver gets, how it verifies that, what it may answer, and where no request goes.
#![cfg(feature = "webhook")]

use crate::support::receiver::{Answer, Receiver, Request};
use crate::support::store::{LIMIT, opened};
use crate::support::{Scratch, on_each_database};
use bgtask::durable::{EnqueueError, JobState, JobStatus};
use bgtask_durable::{Builder, Filter, Jobs, OpenError, Webhook, webhook};
use serde_json::Value;
use std::time::{Duration, Instant, SystemTime};

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(test);
}

#[bgtask::background(durable, retry(max = 1), log = "off")]
async fn halves(number: u32) -> Result<u32, String> {
    match number % 2 {
        0 => Ok(number / 2),
        _ => Err(format!("{number} is odd")),
    }
}

/// The URL is an argument of the call.
#[bgtask::background(durable(notify = callback.as_ref().map(|url| webhook(url).secret("partner"))))]
async fn reports(month: u8, callback: Option<String>) -> u8 {
    let _ = callback;
    month
}

fn local(scratch: &Scratch) -> Builder {
    let builder = bgtask_durable::builder().url(scratch.url());
    builder
        .webhook_allow("127.0.0.1")
        .webhook_secret("partner", [OLD])
}

/// Verifies a request with the library of the specification, as a receiver would with this secret.
fn verify(secret: &str, request: &Request) -> bool {
    let webhook = standardwebhooks::Webhook::new(secret).expect("a secret");
    let mut headers = http::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let value = request.header(name).parse().expect("a header");
        headers.insert(name, value);
    }
    webhook.verify(request.body.as_bytes(), &headers).is_ok()
}

async fn job(jobs: &Jobs, is_it: impl Fn(&JobStatus) -> bool) -> JobStatus {
    let begin = Instant::now();
    loop {
        let all = jobs
            .list(Filter::all().queue("bgtask-notify"))
            .await
            .expect("a list");
        if let Some(found) = all.iter().find(|job| is_it(job)) {
            return found.clone();
        }
        assert!(begin.elapsed() < LIMIT, "still {all:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sentence 16.10.
async fn a_receiver_verifies_what_it_gets(scratch: Scratch) {
    let receiver = Receiver::start(|_| Answer::status(200));
    let (manager, jobs) = opened(local(&scratch)).await;
    let url = receiver.url("/hooks?token=secret");
    let target = Webhook::to(&url).secret("partner").with_value();
    let done = halves(8).notify(target).await.expect("it is stored");
    let request = receiver.next();
    assert!(verify(OLD, &request), "{request:?}");
    assert!(!verify(NEW, &request));
    let mut changed = request.clone();
    changed.body = changed.body.replace("\"value\":4", "\"value\":5");
    assert!(changed.body != request.body && !verify(OLD, &changed));
    assert_eq!(request.path, "/hooks?token=secret");
    assert_eq!(request.header("content-type"), "application/json");
    let timestamp: u64 = request
        .header("webhook-timestamp")
        .parse()
        .expect("a number");
    let now = SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .as_secs();
    assert!(now.abs_diff(timestamp) < 100);
    let body: Value = serde_json::from_str(&request.body).expect("JSON");
    let status = done.status().await.expect("it is there");
    assert_eq!(body["type"], "job.done");
    let data = &body["data"];
    assert_eq!(data["job"], done.id().get());
    assert_eq!(data["version"], status.version);
    assert_eq!((&data["attempt"], &data["value"]), (&1.into(), &4.into()));
    assert_eq!(body["timestamp"], data["at"]);

    let target = webhook(&url).secret("partner").with_value();
    halves(7).notify(target).await.expect("it is stored");
    let request = receiver.next();
    let body: Value = serde_json::from_str(&request.body).expect("JSON");
    assert_eq!(body["type"], "job.dead");
    assert_eq!(body["data"]["error"], "7 is odd");
    assert!(body["data"].get("value").is_none());

    // Of the attribute, if there is a URL.
    reports(1, None).await.expect("it is stored");
    reports(2, Some(url)).await.expect("it is stored");
    let request = receiver.next();
    let body: Value = serde_json::from_str(&request.body).expect("JSON");
    assert!(
        body["data"]["function"]
            .as_str()
            .expect("a name")
            .ends_with("reports")
    );
    assert!(
        body["data"].get("value").is_none(),
        "it has not asked for it"
    );
    job(&jobs, |job| job.state == JobState::Done).await;
    manager.shutdown("the test is over").await;
}

/// Sentence 16.10.
async fn a_repeated_request_has_the_same_id_and_body(scratch: Scratch) {
    let receiver = Receiver::start(|number| Answer::status(if number == 0 { 503 } else { 204 }));
    let (manager, jobs) = opened(local(&scratch)).await;
    let target = webhook(receiver.url("/")).secret("partner");
    halves(8).notify(target).await.expect("it is stored");
    let (first, second) = (receiver.next(), receiver.next());
    assert!(verify(OLD, &first) && verify(OLD, &second));
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert_eq!(first.body, second.body);
    let done = job(&jobs, |job| job.state == JobState::Done).await;
    assert_eq!(done.attempts, 2);
    let error = done.last_error.expect("that of the first attempt");
    assert!(
        error.contains("503") && error.contains(&receiver.url("")),
        "{error}"
    );
    manager.shutdown("the test is over").await;
}

/// Sentence 16.11.
async fn while_a_secret_is_replaced_both_sign(scratch: Scratch) {
    let receiver = Receiver::start(|_| Answer::status(200));
    let builder = local(&scratch).webhook_secret("partner", [NEW, OLD]);
    let (manager, _jobs) = opened(builder.webhook_secret("default", [NEW])).await;
    halves(8)
        .notify(webhook(receiver.url("/")).secret("partner"))
        .await
        .expect("it is stored");
    let request = receiver.next();
    assert!(
        verify(OLD, &request) && verify(NEW, &request),
        "{request:?}"
    );
    halves(8)
        .notify(webhook(receiver.url("/")))
        .await
        .expect("it is stored");
    let request = receiver.next();
    assert!(verify(NEW, &request) && !verify(OLD, &request));
    manager.shutdown("the test is over").await;
}

/// Sentence 16.13.
async fn what_a_receiver_answers_decides(scratch: Scratch) {
    let elsewhere = Receiver::start(|_| Answer::status(200));
    let location = elsewhere.url("/");
    let receiver = Receiver::start(move |number| match number {
        0 => Answer::status(410),
        1 => Answer::redirect(&location),
        2 => Answer::endless(),
        _ => Answer::status(404),
    });
    let (manager, jobs) = opened(local(&scratch)).await;
    let send = || async {
        let target = webhook(receiver.url("/private?token=secret")).secret("partner");
        halves(8).notify(target).await.expect("it is stored");
        receiver.next()
    };
    // It wants no more.
    send().await;
    let dead = job(&jobs, |job| job.state == JobState::Dead).await;
    assert_eq!(dead.attempts, 1);
    assert!(
        dead.last_error
            .as_deref()
            .unwrap_or_default()
            .contains("410"),
        "{dead:?}"
    );
    // A redirection is not followed.
    send().await;
    let retrying = job(&jobs, |job| job.state == JobState::Retrying).await;
    let error = retrying.last_error.unwrap_or_default();
    assert!(
        error.contains("302") && error.contains("the final URL"),
        "{error}"
    );
    assert!(!error.contains("secret"), "{error}");
    assert_eq!(elsewhere.count(), 0);
    jobs.delete(retrying.id).await.expect("it is deleted");
    // An answer without end is not read to its end.
    send().await;
    job(&jobs, |job| job.state == JobState::Done).await;
    send().await;
    let retrying = job(&jobs, |job| job.state == JobState::Retrying).await;
    assert!(retrying.last_error.unwrap_or_default().contains("404"));
    manager.shutdown("the test is over").await;
}

/// Sentence 16.13.
async fn a_receiver_says_when_it_wants_to_be_asked_again(scratch: Scratch) {
    /// Longer than the first pause of the back-off.
    const PAUSE: u64 = 2;
    let receiver = Receiver::start(|number| match number {
        0 => Answer::later(PAUSE),
        _ => Answer::status(200),
    });
    let (manager, jobs) = opened(local(&scratch)).await;
    let target = webhook(receiver.url("/")).secret("partner");
    halves(8).notify(target).await.expect("it is stored");
    receiver.next();
    let begin = Instant::now();
    receiver.next();
    // The answer was written after the request was noted.
    assert!(
        begin.elapsed() >= Duration::from_secs(PAUSE),
        "{:?}",
        begin.elapsed()
    );
    job(&jobs, |job| job.state == JobState::Done).await;
    manager.shutdown("the test is over").await;
}

/// Sentence 16.12.
async fn no_request_leaves_for_an_address_that_is_not_public(scratch: Scratch) {
    let receiver = Receiver::start(|_| Answer::status(200));
    let builder = bgtask_durable::builder().url(scratch.url());
    let (manager, jobs) = opened(builder.webhook_secret("default", [NEW])).await;
    // The call refuses a URL that names such an address itself.
    let port = receiver.port();
    for (url, reason) in [
        (
            format!("https://127.0.0.1:{port}/"),
            "not on the public internet",
        ),
        (
            format!("https://[::ffff:127.0.0.1]:{port}/"),
            "not on the public internet",
        ),
        (
            "https://169.254.169.254/latest/meta-data".to_owned(),
            "not on the public internet",
        ),
        ("http://example.com/".to_owned(), "not encrypted"),
        ("ftp://example.com/".to_owned(), "begins neither with"),
        ("https://ann@example.com/".to_owned(), "has a user name"),
        ("https:///path".to_owned(), "is none"),
        ("https://exa mple.com".to_owned(), "is none"),
    ] {
        let refused = halves(8).notify(webhook(&url)).await;
        let Err(EnqueueError::Notify { message, .. }) = refused else {
            panic!("{url}: {refused:?}");
        };
        assert!(message.contains(reason), "{url}: {message}");
    }
    // What a name leads to is known when the connection is made. The others are no names to TLS, whatever the system makes of them.
    for (host, reason) in [
        ("localhost", "is not on the public internet"),
        ("0x7f.1", "failed"),
        ("2130706433", "failed"),
    ] {
        let target = webhook(format!("https://{host}:{port}/"));
        halves(8).notify(target).await.expect("it is stored");
        let refused = job(&jobs, |job| job.state == JobState::Retrying).await;
        let error = refused.last_error.unwrap_or_default();
        assert!(error.contains(reason), "{host}: {error}");
        jobs.delete(refused.id).await.expect("it is deleted");
    }
    assert_eq!(receiver.count(), 0, "not even a connection");
    manager.shutdown("the test is over").await;
}

/// Sentence 16.12.
async fn a_host_that_is_allowed_by_its_name_is_reached(scratch: Scratch) {
    let receiver = Receiver::start(|_| Answer::status(200));
    let builder = bgtask_durable::builder().url(scratch.url());
    let builder = builder
        .webhook_secret("default", [NEW])
        .webhook_allow("localhost");
    let (manager, _jobs) = opened(builder).await;
    let url = format!("http://localhost:{}/", receiver.port());
    halves(8).notify(webhook(url)).await.expect("it is stored");
    assert!(verify(NEW, &receiver.next()));
    manager.shutdown("the test is over").await;
}

/// Sentence 16.8.
async fn a_webhook_without_its_secret_is_refused(scratch: Scratch) {
    let (manager, _jobs) = opened(local(&scratch)).await;
    for (target, variable) in [
        (webhook("https://example.com"), "BGTASK_WEBHOOK_SECRET,"),
        (
            webhook("https://example.com").secret("other-one"),
            "BGTASK_WEBHOOK_SECRET_OTHER_ONE",
        ),
    ] {
        let refused = halves(8).notify(target).await;
        let message = refused.expect_err("it is refused").to_string();
        assert!(message.contains(variable), "{message}");
    }
    manager.shutdown("the test is over").await;
}

on_each_database! {
    async
    a_receiver_verifies_what_it_gets,
    a_repeated_request_has_the_same_id_and_body,
    while_a_secret_is_replaced_both_sign,
    what_a_receiver_answers_decides,
    a_receiver_says_when_it_wants_to_be_asked_again,
    no_request_leaves_for_an_address_that_is_not_public,
    a_host_that_is_allowed_by_its_name_is_reached,
    a_webhook_without_its_secret_is_refused,
}

#[test]
fn wrong_settings_are_errors_that_show_no_secret() {
    block_on(async {
        let _manager = bgtask::Manager::builder().install().expect("a manager");
        let scratch = Scratch::sqlite();
        for (builder, name, shown) in [
            (
                local(&scratch).webhook_secret("x", ["whsec_c2VjcmV0"]),
                "webhook_secret",
                "24 to 64",
            ),
            (
                local(&scratch).webhook_secret("x", ["hunter2"]),
                "webhook_secret",
                "openssl rand",
            ),
            (
                local(&scratch).webhook_allow("10.0.0.0/40"),
                "webhook_allow",
                "10.0.0.0/40",
            ),
            (
                local(&scratch).notifier("email", Never),
                "notifier",
                "\"email\"",
            ),
        ] {
            let error = builder.open().await.expect_err("it is refused");
            assert!(matches!(error, OpenError::Setting { .. }), "{error:?}");
            let error = error.to_string();
            assert!(error.contains(name) && error.contains(shown), "{error}");
            assert!(
                !error.contains("hunter2") && !error.contains("c2VjcmV0"),
                "{error}"
            );
        }
    });
}

struct Never;

impl bgtask_durable::Notifier for Never {
    async fn notify(
        &self,
        _: bgtask_durable::Notification,
    ) -> Result<(), bgtask_durable::NotifyError> {
        unreachable!("nothing is opened")
    }
}
