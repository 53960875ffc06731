//! What the actions do, what they say about it, and what stays in the audit.

use super::site::Site;
use super::{Scratch, on_each_database};
use bgtask::durable::JobState;

fn an_action_says_what_really_happened(scratch: Scratch) {
    let site = Site::start(&scratch);
    let dead: Vec<_> = (0..3)
        .map(|number| site.dead(&format!("no paper {number}")))
        .collect();
    let done = site.process.run(async {
        let job = super::site::keyed(7).await.expect("it is stored");
        job.outcome().await.expect("it ends");
        job.id()
    });
    let waiting = site.waiting(7);
    let form = format!(
        "job={}&job={}&job={}&job={done}&job=999999&q=state:dead",
        dead[0], dead[1], dead[2]
    );
    let page = site.act("ann/operate", "retry", &form);
    assert!(
        page.contains("3 retried, 1 had already ended, 1 not there any more"),
        "{page}"
    );
    // The list is that of the search from which the jobs were chosen.
    assert!(page.contains("value=\"state:dead\""), "{page}");
    let page = site.act("ann/operate", "cancel", &format!("job={waiting}"));
    assert!(page.contains("1 cancelled"), "{page}");
    assert_eq!(site.state(waiting), Some(JobState::Cancelled));
    let page = site.act("ann/operate", "cancel", &format!("job={waiting}"));
    assert!(page.contains("1 had already ended"), "{page}");
    let page = site.act("root/admin", "delete", &format!("job={waiting}"));
    assert!(page.contains("1 deleted"), "{page}");
    assert_eq!(site.state(waiting), None);
    let page = site.act("ann/operate", "pause", "queue=default");
    assert!(
        page.contains("paused: no process claims its jobs"),
        "{page}"
    );
    let later = site.process.run(async {
        super::site::fails("later".to_owned())
            .await
            .expect("it is stored")
            .id()
    });
    let page = site.act("ann/operate", "retry", &format!("job={later}"));
    assert!(page.contains("1 waiting already"), "{page}");
    assert_eq!(site.state(later), Some(JobState::Waiting));
    site.act("ann/operate", "resume", "queue=default");
    site.until(&format!("/jobs/{later}"), "tag is-dead");
    site.end();
}

fn all_dead_jobs_of_a_search_are_retried_after_their_number_was_shown(scratch: Scratch) {
    let site = Site::start(&scratch);
    for number in 0..3 {
        site.dead(&format!("no paper {number}"));
    }
    site.sql(
        &scratch,
        "INSERT INTO river_job (args, kind, queue, max_attempts, state, finalized_at)
         VALUES ('{}', 'other::job', 'other', 1, 'discarded', datetime('now'))",
        "INSERT INTO river_job (args, kind, queue, max_attempts, state, finalized_at) VALUES ('{}', 'other::job', 'other', 1, 'discarded', now())",
    );
    let button = |q: &str| site.visit("ann/operate", &format!("/jobs?q={q}")).body;
    assert!(button("state:dead").contains("Retry all 4"));
    assert!(button("state:dead%20queue:other").contains("Retry all 1"));
    assert!(button("state:dead%20fn:other::job").contains("Retry all 1"));
    // An error is no condition of the statement, so nothing is offered, and nothing done.
    assert!(!button("state:dead%20error:paper").contains("Retry all"));
    for q in ["state:dead error:paper", "fn:other::job", "", "state:done"] {
        let refused = site.try_act("ann/operate", "retry-dead", &format!("q={q}"));
        assert_eq!(refused.status, 409, "{q}");
    }
    let page = site.act("ann/operate", "retry-dead", "q=state:dead queue:other");
    assert!(
        page.contains("all jobs of queue:other state:dead: 1 retried"),
        "{page}"
    );
    assert!(button("state:dead").contains("Retry all 3"));
    let page = site.act("ann/operate", "retry-dead", "q=state:dead");
    assert!(page.contains("3 retried"), "{page}");
    site.end();
}

fn the_audit_has_each_action_with_its_actor_and_result(scratch: Scratch) {
    let site = Site::start(&scratch);
    let dead = site.dead("no paper");
    site.waiting(7);
    assert!(site.page("/audit").contains("Nobody has acted yet"));
    site.act("ann/operate", "pause", "queue=mail");
    site.act("bob/admin", "delete", &format!("job={dead}"));
    let page = site.page("/audit");
    let at = |text: &str| {
        page.find(text)
            .unwrap_or_else(|| panic!("no {text}: {page}"))
    };
    assert!(at(">bob<") < at(">ann<"), "the latest first");
    for text in [
        "pause",
        "queue mail",
        "delete",
        &format!("job {dead}"),
        "1 deleted",
    ] {
        at(text);
    }
    assert_eq!(site.audited(&scratch), 2);
    // What is refused is no action.
    site.try_act("ann/operate", "delete", "job=1");
    site.try_act("ann/operate", "pause", "queue=no%20queue");
    assert_eq!(site.audited(&scratch), 2);
    // Without an entry, nothing is done.
    let rename = "ALTER TABLE bgtask_audit RENAME TO gone";
    site.sql(&scratch, rename, rename);
    let refused = site.try_act("ann/operate", "resume", "queue=mail");
    assert_eq!(refused.status, 409, "{}", refused.body);
    let stats = site
        .process
        .run(async { site.process.jobs.stats().await.expect("they are read") });
    assert!(stats.queues["mail"].is_paused);
    site.end();
}

/// No field of a form, and no other address, names a function, arguments, or a page elsewhere.
fn no_action_changes_which_code_runs(scratch: Scratch) {
    let site = Site::start(&scratch);
    let dead = site.dead("no paper");
    let before = site.page(&format!("/jobs/{dead}"));
    let more = "fn=other::job&function=other::job&kind=other::job&args={}&arguments={}&queue=other&priority=1&return=//evil.example&to=https://evil.example&next=//evil.example";
    let answer = site.try_act("root/admin", "retry", &format!("job={dead}&{more}"));
    assert_eq!(answer.status, 303);
    let to = answer.header("location").expect("a page").to_owned();
    assert!(to.starts_with(&format!("../jobs/{dead}?done=")), "{to}");
    let waiting = site.waiting(7);
    let text = site.act("root/admin", "edit", &format!("job={waiting}&{more}"));
    assert!(
        text.contains("changed") && text.contains("site::double") && !text.contains("other"),
        "{text}"
    );
    let after = site.until(&format!("/jobs/{dead}"), "tag is-dead");
    for page in [&before, &after] {
        assert!(
            page.contains("site::fails")
                && page.contains("no paper")
                && page.contains("q=queue:default"),
            "{page}"
        );
        assert!(!page.contains("other"), "{page}");
    }
    for action in ["run", "enqueue", "update", "schedule", "retry/../run"] {
        let answer = site.send(
            "POST",
            &format!("/do/{action}"),
            &site.lines("root/admin"),
            "",
        );
        assert_eq!(answer.status, 404, "{action}");
    }
    site.end();
}

fn the_priority_and_the_time_of_a_waiting_job_are_changed(scratch: Scratch) {
    let site = Site::start(&scratch);
    let (waiting, dead) = (site.waiting(7), site.dead("no paper"));
    let page = |job| format!("/jobs/{job}");
    let seen = site.visit("ann/operate", &page(waiting)).body;
    assert!(
        seen.contains("do/edit") && seen.contains("<option selected>1<"),
        "{seen}"
    );
    assert!(!site.page(&page(waiting)).contains("do/edit"));
    assert!(
        !site
            .visit("ann/operate", &page(dead))
            .body
            .contains("do/edit")
    );
    let act = |job, form: &str| site.act("ann/operate", "edit", &format!("job={job}&{form}"));
    let seen = act(waiting, "priority=3&at=");
    assert!(
        seen.contains("to priority 3: changed, and its time has come"),
        "{seen}"
    );
    assert!(seen.contains("<option selected>3<"), "{seen}");
    let seen = act(waiting, "priority=1&at=2099-12-01T15%3A00");
    assert!(
        seen.contains("at 2099-12-01T15:00:00Z: changed, and its time is to come"),
        "{seen}"
    );
    assert!(seen.contains("datetime=\"2099-12-01T15:00:00Z\""), "{seen}");
    assert_eq!(site.state(waiting), Some(JobState::Scheduled));
    act(waiting, "at=2001-12-01T15%3A00%3A30");
    assert_eq!(site.state(waiting), Some(JobState::Waiting));
    let seen = act(dead, "priority=1");
    assert!(seen.contains("had already ended"), "{seen}");
    let before = site.audited(&scratch);
    for form in [
        "",
        "priority=0",
        "priority=5",
        "at=tomorrow",
        "priority=&at=",
    ] {
        let form = format!("job={waiting}&{form}");
        assert_eq!(
            site.try_act("ann/operate", "edit", &form).status,
            409,
            "{form}"
        );
    }
    assert_eq!(site.audited(&scratch), before);
    site.end();
}

on_each_database! {
    an_action_says_what_really_happened,
    all_dead_jobs_of_a_search_are_retried_after_their_number_was_shown,
    the_audit_has_each_action_with_its_actor_and_result,
    no_action_changes_which_code_runs,
    the_priority_and_the_time_of_a_waiting_job_are_changed,
}
