//! Who may do what: the rights, other sites, and tokens.

use super::site::{Site, send};
use super::support::store::Process;
use super::{Scratch, on_each_database};
use bgtask::dashboard::{Rights, builder};
use bgtask::durable::JobState;
#[cfg(feature = "postgres")]
use bgtask_durable::Role;
use bgtask_durable::dashboard::sections;

pub(crate) const PAGES: [&str; 7] = [
    "/overview",
    "/jobs",
    "/queues",
    "/workers",
    "/schedules",
    "/errors",
    "/audit",
];

const ACTIONS: [&str; 10] = [
    "retry",
    "cancel",
    "delete",
    "pause",
    "resume",
    "retry-dead",
    "edit",
    "pause-schedule",
    "resume-schedule",
    "run-schedule",
];

/// A form that each of the actions would accept.
fn form(token: &str, job: bgtask::durable::JobId) -> String {
    format!("token={token}&job={job}&queue=sums&q=state%3Adead&schedule=a%3A%3Ab&priority=1")
}

/// CVE-2021-41238, Hangfire: its dashboard ran actions for visitors without authorisation. And Oban Web 2.12.5: its actions lacked the
/// check that hid their buttons.
fn no_action_without_its_rights(scratch: Scratch) {
    let site = Site::start(&scratch);
    let (dead, waiting) = (site.dead("no paper"), site.waiting(7));
    let token = site.token("ann/operate");
    for user in ["ann/none", "ann/view", "nobody"] {
        for action in ACTIONS {
            // The token is the right one: the rights alone are missing.
            let form = form(&token, dead);
            let answer = site.send("POST", &format!("/do/{action}"), &site.lines(user), &form);
            assert_eq!(answer.status, 403, "{user} {action}: {}", answer.body);
        }
    }
    let answer = site.send(
        "POST",
        "/do/delete",
        &site.lines("ann/operate"),
        &form(&token, dead),
    );
    assert_eq!(
        answer.status, 403,
        "who operates may not delete: {}",
        answer.body
    );
    assert_eq!(site.state(dead), Some(JobState::Dead));
    assert_eq!(site.state(waiting), Some(JobState::Waiting));
    assert_eq!(site.audited(&scratch), 0);
    for page in PAGES {
        assert_eq!(site.visit("ann/none", page).status, 403, "{page}");
        assert_eq!(site.visit("nobody", page).status, 403, "{page}");
        let seen = site.visit("ann/view", page);
        assert_eq!(seen.status, 200, "{page}");
        assert!(
            !seen.body.contains("method=\"post\"") && !seen.body.contains("name=\"token\""),
            "{page} offers what its visitor may not do"
        );
    }
    // With the rights, the same form acts.
    let answer = site.send(
        "POST",
        "/do/retry",
        &site.lines("ann/operate"),
        &form(&token, dead),
    );
    assert_eq!(answer.status, 303, "{}", answer.body);
    site.end();
}

/// CVE-2021-41238, Hangfire, from another site: a page of a stranger acts with the cookies of an operator.
fn a_post_of_another_site_changes_nothing(scratch: Scratch) {
    let site = Site::start(&scratch);
    let dead = site.dead("no paper");
    let token = site.token("ann/operate");
    let own = format!("origin: http://{}", site.addr);
    let other_port = format!("origin: http://127.0.0.1:{}", site.addr.port() ^ 1);
    for lines in [
        &["origin: https://evil.example"][..],
        &["origin: null"],
        &[other_port.as_str()],
        &[own.as_str(), "sec-fetch-site: cross-site"],
        &[own.as_str(), "sec-fetch-site: same-site"],
        &[own.as_str(), "sec-fetch-site: none"],
        &["sec-fetch-site: same-origin", "origin: null"],
        // No browser leaves both out.
        &[],
    ] {
        let mut head = vec![
            "x-user: ann/operate".to_owned(),
            "content-type: application/x-www-form-urlencoded".to_owned(),
        ];
        head.extend(lines.iter().map(|line| (*line).to_owned()));
        for action in ["retry", "retry-dead", "pause"] {
            let answer = site.send("POST", &format!("/do/{action}"), &head, &form(&token, dead));
            assert_eq!(answer.status, 403, "{lines:?} {action}: {}", answer.body);
        }
    }
    // A form of another type is none, whatever it contains.
    let mut head = site.lines("ann/operate");
    head.pop();
    head.push("content-type: text/plain".to_owned());
    let answer = site.send("POST", "/do/retry", &head, &form(&token, dead));
    assert_eq!(answer.status, 415, "{}", answer.body);
    assert_eq!(site.state(dead), Some(JobState::Dead));
    assert_eq!(site.audited(&scratch), 0);
    site.end();
}

/// The same where a browser sends neither header, or a flaw lets a stranger's request through: it does not know the token.
fn an_action_needs_the_token_of_its_actor(scratch: Scratch) {
    let site = Site::start(&scratch);
    let dead = site.dead("no paper");
    let (ann, bob) = (site.token("ann/operate"), site.token("bob/operate"));
    assert_ne!(ann, bob);
    let mut forged = ann.clone();
    forged.replace_range(..1, if ann.starts_with('A') { "B" } else { "A" });
    for token in [
        "",
        "x",
        bob.as_str(),
        forged.as_str(),
        &ann[..ann.len() - 2],
    ] {
        let answer = site.send(
            "POST",
            "/do/retry",
            &site.lines("ann/operate"),
            &form(token, dead),
        );
        assert_eq!(answer.status, 403, "{token}: {}", answer.body);
        assert!(answer.body.contains("token"), "{}", answer.body);
    }
    let answer = site.send(
        "POST",
        "/do/retry",
        &site.lines("ann/operate"),
        &format!("job={dead}"),
    );
    assert_eq!(answer.status, 403, "without the field: {}", answer.body);
    assert_eq!(site.state(dead), Some(JobState::Dead));
    assert_eq!(site.audited(&scratch), 0);
    // Another process of the same database takes it: a balancer may send the form there.
    let second = Site::start(&scratch);
    let answer = second.send(
        "POST",
        "/do/retry",
        &second.lines("ann/operate"),
        &form(&ann, dead),
    );
    assert_eq!(answer.status, 303, "{}", answer.body);
    second.end();
    site.end();
}

/// CVE-2021-41238, Hangfire: no address that a person opens, or a page loads as an image, acts.
fn no_get_changes_anything(scratch: Scratch) {
    let site = Site::start(&scratch);
    let (dead, waiting) = (site.dead("no paper"), site.waiting(7));
    let token = site.token("root/admin");
    for method in ["GET", "HEAD"] {
        for action in ACTIONS {
            let path = format!("/do/{action}?{}", form(&token, dead));
            let answer = site.send(method, &path, &site.lines("root/admin"), "");
            assert!(
                [403, 405].contains(&answer.status),
                "{method} {path}: {}",
                answer.status
            );
        }
        for page in PAGES {
            let answer = site.send(method, page, &["x-user: root/admin".to_owned()], "");
            assert_eq!(answer.status, 200, "{method} {page}");
        }
        for job in [dead, waiting] {
            let answer = site.send(
                method,
                &format!("/jobs/{job}"),
                &["x-user: root/admin".to_owned()],
                "",
            );
            assert_eq!(answer.status, 200);
        }
    }
    for page in PAGES {
        let answer = site.send("POST", page, &site.lines("root/admin"), &form(&token, dead));
        assert_eq!(answer.status, 405, "{page}");
    }
    assert_eq!(site.state(dead), Some(JobState::Dead));
    assert_eq!(site.state(waiting), Some(JobState::Waiting));
    assert_eq!(site.audited(&scratch), 0);
    site.end();
}

/// CVE-2021-41238, Hangfire: without options, whoever is on this machine sees and does not act, and nobody else gets in.
fn without_options_nobody_acts(scratch: Scratch) {
    let process = Process::start(bgtask_durable::builder().url(scratch.url()));
    let pages = || builder().sections(sections(process.jobs.clone()));
    let addr = process
        .run(async { pages().serve("127.0.0.1:0") })
        .expect("it listens");
    let lines = [
        format!("origin: http://{addr}"),
        "content-type: application/x-www-form-urlencoded".to_owned(),
    ];
    for page in PAGES {
        let seen = send(addr, "GET", page, &[], "");
        assert_eq!(seen.status, 200, "{page}: {}", seen.body);
        assert!(!seen.body.contains("method=\"post\""), "{page}");
        let rebound = send(
            addr,
            "GET",
            page,
            &["x-forwarded-for: 127.0.0.1".to_owned()],
            "",
        );
        assert_eq!(rebound.status, 403, "{page} came through a proxy");
    }
    for action in ACTIONS {
        let refused = send(
            addr,
            "POST",
            &format!("/do/{action}"),
            &lines,
            "token=x&queue=default",
        );
        assert_eq!(refused.status, 403, "{action}");
        assert!(refused.body.contains("may not do this"), "{}", refused.body);
    }
    // No option gives rights to other machines.
    let open = process.run(async { pages().local_rights(Rights::Admin).serve("0.0.0.0:0") });
    open.expect_err("other machines could act");
    let local = process.run(async { pages().local_rights(Rights::Operate).serve("127.0.0.1:0") });
    let local = local.expect("it listens");
    let proxied = [
        "x-forwarded-for: 127.0.0.1".to_owned(),
        format!("origin: http://{local}"),
        lines[1].clone(),
    ];
    let refused = send(
        local,
        "POST",
        "/do/pause",
        &proxied,
        "token=x&queue=default",
    );
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("proxy"), "{}", refused.body);
    process.end();
}

on_each_database! {
    no_action_without_its_rights,
    a_post_of_another_site_changes_nothing,
    an_action_needs_the_token_of_its_actor,
    no_get_changes_anything,
    without_options_nobody_acts,
}

/// Whatever a person may do on the page, the role of the database decides what the process can.
#[cfg(feature = "postgres")]
#[test]
fn a_role_that_only_reads_has_the_pages_and_changes_nothing() {
    let Some(scratch) = Scratch::postgres() else {
        return;
    };
    let site = Site::start(&scratch);
    let dead = site.dead("no paper");
    for statement in [
        "CREATE ROLE reader LOGIN",
        "GRANT USAGE ON SCHEMA public TO reader",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
    ] {
        site.sql(&scratch, statement, statement);
    }
    site.end();
    let url = scratch.url().replace("bgtask@", "reader@");
    let builder = bgtask_durable::builder().url(url).role(Role::Enqueue);
    let site = Site::start_with(builder, |sections| sections);
    for page in PAGES {
        assert_eq!(site.visit("ann/view", page).status, 200, "{page}");
    }
    if cfg!(not(feature = "live")) {
        // Without a key for tokens, which the first who may act makes, the pages offer nothing. A store with tickets has made it.
        let seen = site.visit("root/admin", "/jobs");
        assert_eq!(seen.status, 200, "{}", seen.body);
        assert!(
            seen.body
                .contains("view only: The database returned an error")
                && !seen.body.contains("method=\"post\""),
            "{}",
            seen.body
        );
        let key =
            "UPDATE bgtask_instance SET ticket_key = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'";
        site.sql(&scratch, key, key);
    }
    for (action, form) in [
        ("retry", format!("job={dead}")),
        ("pause", "queue=default".to_owned()),
    ] {
        let refused = site.try_act("root/admin", action, &form);
        assert_eq!(refused.status, 409, "{action}: {}", refused.body);
        assert!(
            refused.body.contains("permission denied"),
            "{}",
            refused.body
        );
    }
    assert_eq!(site.state(dead), Some(JobState::Dead));
    site.end();
}

#[test]
#[should_panic(expected = "without `local_rights`")]
fn the_rights_of_peers_are_not_silently_ignored_beside_authorize() {
    let _ = builder().authorize(|_| true).local_rights(Rights::Admin);
}

#[test]
#[should_panic(expected = "without `local_rights`")]
fn authorize_does_not_silently_replace_the_rights_of_peers() {
    let _ = builder().local_rights(Rights::Admin).authorize(|_| true);
}
