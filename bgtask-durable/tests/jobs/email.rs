//! E-mails, against a real mail server.
#![cfg(feature = "email")]

use crate::support::smtp::Mailbox;
use crate::support::store::{LIMIT, opened};
use crate::support::{Scratch, on_each_database};
use bgtask::durable::{EnqueueError, JobState};
use bgtask_durable::{Email, Filter, OpenError, email};
use serde::{Deserialize, Serialize};
use std::time::Duration;

fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(test);
}

#[derive(Serialize, Deserialize)]
struct Receipt {
    title: String,
    total: u32,
}

#[bgtask::background(
    durable(notify = email(address.as_str()).subject("Your order").template("You pay {{ value.total }}")),
    retry(max = 1),
    log = "off"
)]
async fn orders(address: String, title: String) -> Result<Receipt, String> {
    let _ = address;
    if title.is_empty() {
        return Err("it has no title".to_owned());
    }
    Ok(Receipt { title, total: 12 })
}

/// Sentence 16.14.
async fn an_e_mail_has_what_its_templates_say_and_comes_with_one_id(scratch: Scratch) {
    let Some(mut mailbox) = Mailbox::start(1) else {
        return;
    };
    let builder = bgtask_durable::builder()
        .url(scratch.url())
        .smtp_url(mailbox.url());
    let (manager, jobs) = opened(builder.email_from("Shop <shop@example.com>")).await;
    let more = Email::to("Bob <bob@example.com>")
        .subject("Order {{ job }}: {{ value.title }}")
        .html_template("<p>{{ value.title }}</p>");
    let call = orders(
        "ann@example.com".to_owned(),
        "A & B\nBcc: eve@example.com".to_owned(),
    );
    let done = call.notify(more).await.expect("it is stored");
    let mut mails = [mailbox.next(), mailbox.next()];
    // One is refused at first, and comes later.
    mails.sort_by_key(|mail| mail.to.clone());
    let [ann, bob] = mails;
    assert_eq!(
        (&*ann.from, &*ann.to),
        ("shop@example.com", &["ann@example.com".to_owned()][..])
    );
    assert_eq!(ann.header("Subject"), "Your order");
    assert_eq!(ann.header("From"), "Shop <shop@example.com>");
    assert!(
        ann.text().trim_end().ends_with("\r\n\r\nYou pay 12"),
        "{}",
        ann.text()
    );
    assert_eq!(ann.header("X-Bgtask-Job"), done.id().to_string());
    let version = done.status().await.expect("it is there").version;
    assert_eq!(ann.header("X-Bgtask-Version"), version.to_string());
    assert_eq!(bob.to, ["bob@example.com"]);
    assert_eq!(
        bob.header("Subject"),
        format!("Order {}: A & B Bcc: eve@example.com", done.id())
    );
    assert!(
        bob.text()
            .contains("<p>A &amp; B\r\nBcc: eve@example.com</p>"),
        "{}",
        bob.text()
    );
    assert!(
        bob.text().contains("Job "),
        "the default text stands beside it"
    );
    assert_ne!(ann.header("Message-ID"), bob.header("Message-ID"));
    assert!(
        ann.header("Message-ID").ends_with("_0@example.com>"),
        "{}",
        ann.header("Message-ID")
    );

    let dead = orders("ann@example.com".to_owned(), String::new())
        .await
        .expect("it is stored");
    let mail = mailbox.next();
    assert_eq!(mail.header("X-Bgtask-Job"), dead.id().to_string());
    assert!(
        mail.text().trim_end().ends_with("\r\n\r\nYou pay"),
        "{}",
        mail.text()
    );
    let begin = std::time::Instant::now();
    loop {
        let all = jobs
            .list(Filter::all().queue("bgtask-notify"))
            .await
            .expect("a list");
        if all.iter().filter(|job| job.state == JobState::Done).count() == 3 {
            let attempts: u32 = all.iter().map(|job| job.attempts).sum();
            assert_eq!(attempts, 4, "one was refused once");
            break;
        }
        assert!(begin.elapsed() < LIMIT, "still {all:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    manager.shutdown("the test is over").await;
}

/// Sentence 16.8.
async fn what_could_not_be_sent_is_refused_at_the_call(scratch: Scratch) {
    let (manager, _jobs) = opened(bgtask_durable::builder().url(scratch.url())).await;
    for (target, reason) in [
        (email("ann@example.com"), "BGTASK_SMTP_URL"),
        (email("ann"), "the address of an e-mail is none"),
        (
            email("ann@example.com\r\nBcc: eve@example.com"),
            "a control character",
        ),
        (
            email("ann@example.com").template("{{ value"),
            "a template of an e-mail is wrong",
        ),
    ] {
        // The one of the attribute is in order.
        let call = plain().notify(target);
        let Err(EnqueueError::Notify { message, .. }) = call.await else {
            panic!("{reason}");
        };
        assert!(message.contains(reason), "{message}");
    }
    for (builder, name, shown) in [
        (
            bgtask_durable::builder().smtp_url("http://user:hunter2@host"),
            "smtp_url",
            "smtps://",
        ),
        (
            bgtask_durable::builder().smtp_url("smtps://user:hunter2@host"),
            "email_from",
            "an address",
        ),
        (
            bgtask_durable::builder()
                .smtp_url("smtp://host")
                .email_from("a\nb@example.com"),
            "email_from",
            "an address",
        ),
    ] {
        let error = builder
            .url(scratch.url())
            .open()
            .await
            .expect_err("it is refused");
        assert!(matches!(error, OpenError::Setting { .. }), "{error:?}");
        let error = error.to_string();
        assert!(error.contains(name) && error.contains(shown), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    manager.shutdown("the test is over").await;
}

#[bgtask::background(durable)]
async fn plain() {}

on_each_database! {
    async
    an_e_mail_has_what_its_templates_say_and_comes_with_one_id,
    what_could_not_be_sent_is_refused_at_the_call,
}
