//! What each page shows, on both databases.

use super::site::{Site, double, fails, keyed};
use super::support::store::LIMIT;
use super::{Scratch, on_each_database};
use bgtask::background;
use bgtask::durable::{JobId, JobState};
use bgtask_durable::Role;
use std::time::Instant;

#[background(durable, every = "12h")]
async fn sweep() {}

#[background(durable(queue = "gates"))]
async fn waits_for(job: bgtask::Job, token: bgtask::ShutdownToken) {
    job.progress(0.4, "rendering <page> 4");
    token.cancelled().await;
}

/// The ids that a list shows, in its order.
fn ids(page: &str) -> Vec<i64> {
    let parts = page.split("jobs/").skip(1);
    let ids = parts.filter_map(|part| {
        let (id, rest) = part.split_once('"')?;
        rest.starts_with(">#").then(|| id.parse().ok())?
    });
    ids.collect()
}

fn numbers(jobs: &[JobId]) -> Vec<i64> {
    jobs.iter().map(|job| job.get()).collect()
}

impl Site {
    /// Returns the name under which the function of a job is stored.
    fn function(&self, job: JobId) -> String {
        let job: bgtask::durable::JobHandle<()> = self.process.jobs.get(job);
        self.process
            .run(async { job.status().await.expect("it is there").function })
    }
}

fn a_search_finds_the_jobs_for_which_each_word_holds(scratch: Scratch) {
    let site = Site::start(&scratch);
    let dead = site.dead("the printer has no PAPER");
    let other = site.dead("timed out after 7 s");
    let waiting = site.waiting(7);
    let keys = site.process.run(async {
        site.process.jobs.pause("keyed").await.expect("it pauses");
        [7, 8].map(async |order| keyed(order).await.expect("it is stored").id())
    });
    let keys = keys.map(|key| site.process.run(key));
    let (fails, keyed) = (site.function(dead), site.function(keys[0]));
    for (search, expected) in [
        (String::new(), vec![keys[1], keys[0], waiting, other, dead]),
        (format!("fn:{fails}"), vec![other, dead]),
        ("queue:sums".to_owned(), vec![waiting]),
        ("state:dead".to_owned(), vec![other, dead]),
        ("state:waiting".to_owned(), vec![keys[1], keys[0], waiting]),
        ("state:waiting queue:sums".to_owned(), vec![waiting]),
        ("error:paper".to_owned(), vec![dead]),
        ("error:\"timed out\" state:dead".to_owned(), vec![other]),
        (format!("fn:{keyed} key:7"), vec![keys[0]]),
        (format!("fn:{keyed} key:9"), vec![]),
        ("state:parked".to_owned(), vec![]),
        (format!("fn:{fails} queue:sums"), vec![]),
    ] {
        let encoded = search.replace(' ', "%20").replace('"', "%22");
        let page = site.page(&format!("/jobs?q={encoded}"));
        assert_eq!(ids(&page), numbers(&expected), "{search}");
    }
    let wrong = site.page("/jobs?q=size:7");
    assert!(
        wrong.contains("does not know `size`") && wrong.contains("role=\"alert\""),
        "{wrong}"
    );
    site.end();
}

fn a_list_goes_on_from_page_to_page(scratch: Scratch) {
    let site = Site::start(&scratch);
    site.sql(
        &scratch,
        "INSERT INTO river_job (args, kind, queue, max_attempts, scheduled_at, state)
         WITH RECURSIVE number (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < 120)
         SELECT '{}', 'other::job', 'other', 1, datetime('now', '+1 day'), 'scheduled' FROM number",
        "INSERT INTO river_job (args, kind, queue, max_attempts, scheduled_at, state)
         SELECT '{}', 'other::job', 'other', 1, now() + interval '1 day', 'scheduled' FROM generate_series(1, 120)",
    );
    for search in ["", "state:scheduled", "fn:other::job", "queue:other"] {
        let mut path = format!("jobs?q={search}");
        let mut all = Vec::new();
        loop {
            let page = site.page(&format!("/{path}"));
            let shown = ids(&page);
            assert!(shown.len() <= 50, "{search}: {}", shown.len());
            all.extend(shown);
            let more = page
                .split_once("<p class=\"more\">")
                .map_or("", |(_, more)| more);
            let Some((_, next)) = more.split_once("href=\"./jobs") else {
                break;
            };
            let next = next
                .split('"')
                .next()
                .expect("an address")
                .replace("&amp;", "&");
            path = format!("jobs{next}");
        }
        assert_eq!(all.len(), 120, "{search}");
        assert!(
            all.is_sorted_by(|one, next| one > next),
            "{search}: {all:?}"
        );
    }
    site.end();
}

fn counts_and_searches_are_bounded(scratch: Scratch) {
    let site = Site::start(&scratch);
    site.sql(
        &scratch,
        "INSERT INTO river_job (args, kind, queue, max_attempts, scheduled_at, state)
         WITH RECURSIVE number (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < 60010)
         SELECT '{}', iif(i = 5, 'rare::job', 'other::job'), 'other', 1, datetime('now', '+1 day'), 'scheduled' FROM number",
        "INSERT INTO river_job (args, kind, queue, max_attempts, scheduled_at, state)
         SELECT '{}', CASE i WHEN 5 THEN 'rare::job' ELSE 'other::job' END, 'other', 1, now() + interval '1 day', 'scheduled'
         FROM generate_series(1, 60010) AS number (i)",
    );
    let page = site.page("/jobs?q=state:scheduled");
    assert!(page.contains("scheduled <b>10,000+</b>"), "{page}");
    assert_eq!(ids(&page).len(), 50);
    // An index has the jobs of one function, however rare it is among those of its state.
    assert_eq!(ids(&site.page("/jobs?q=fn:rare::job")).len(), 1);
    // No index has those of an error: they are looked through in parts, and the page says so.
    let parts = site.page("/jobs?q=state:scheduled%20error:none");
    assert!(
        parts.contains("looked through in parts") && parts.contains("Before #"),
        "{parts}"
    );
    assert!(ids(&parts).is_empty());
    site.end();
}

fn the_page_of_a_job_shows_what_happened(scratch: Scratch) {
    let site = Site::start(&scratch);
    let (dead, waiting) = (site.dead("order <7> is gone"), site.waiting(7));
    let running = site
        .process
        .run(async { waits_for().await.expect("it is stored").id() });
    let page = site.page(&format!("/jobs/{dead}"));
    for text in [
        "tag is-dead",
        "Stored",
        "Attempt 1 began",
        "Attempt 1 failed",
        "Ended: dead",
        "order &lt;7&gt; is gone",
        "took",
        "1 of 1",
        "bgtask:",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let page = site.page(&format!("/jobs/{waiting}"));
    assert!(
        page.contains("tag is-waiting") && !page.contains("began"),
        "{page}"
    );
    // Live: the same address shows the progress once it is stored.
    let page = site.until(&format!("/jobs/{running}"), "rendering &lt;page&gt; 4");
    assert!(
        page.contains("40 %") && page.contains("tag is-running"),
        "{page}"
    );
    assert_eq!(site.visit("vic/view", "/jobs/123456").status, 404);
    let page = site.act("ann/operate", "cancel", &format!("job={running}"));
    // The answer may come after its end.
    assert!(page.contains("1 asked to end"), "{page}");
    // It ends with a value, because it returns one.
    site.until(&format!("/jobs/{running}"), "Ended: done");
    site.end();
}

fn arguments_and_outputs_are_hidden_unless_a_rule_shows_them(scratch: Scratch) {
    let site = Site::start(&scratch);
    let job = site.process.run(async {
        let job = double(2_147_000).await.expect("it is stored");
        assert_eq!(job.outcome().await, Ok(4_294_000));
        job.id()
    });
    let dead = site.dead("secret-message");
    for page in [
        format!("/jobs/{job}"),
        "/jobs".to_owned(),
        "/overview".to_owned(),
    ] {
        let page = site.page(&page);
        assert!(
            !page.contains("2147000") && !page.contains("4294000"),
            "{page}"
        );
    }
    site.end();
    let builder = bgtask_durable::builder().url(scratch.url());
    let site = Site::start_with(builder, |sections| {
        sections.show_values(|function, mut value| {
            if function.ends_with("fails") {
                return None;
            }
            if let Some(number) = value.get_mut("number") {
                *number = "<redacted>".into();
            }
            Some(value)
        })
    });
    let page = site.page(&format!("/jobs/{job}"));
    assert!(
        page.contains("&lt;redacted&gt;") && page.contains("4294000"),
        "{page}"
    );
    assert!(!page.contains("2147000"), "{page}");
    let page = site.page(&format!("/jobs/{dead}"));
    // The error is shown, the argument is not.
    assert_eq!(page.matches("secret-message").count(), 1, "{page}");
    site.end();
}

fn arguments_are_searched_as_they_are_shown(scratch: Scratch) {
    let hides = Site::start(&scratch);
    let hidden = hides.waiting(7);
    let page = hides.page("/jobs?q=args.number:7");
    assert!(
        page.contains("hides arguments, so nobody can search them"),
        "{page}"
    );
    assert!(
        ids(&page).is_empty() && !page.contains("args.order.id"),
        "{page}"
    );
    hides.end();
    let builder = bgtask_durable::builder().url(scratch.url());
    let site = Site::start_with(builder, |sections| {
        sections.show_values(|function, mut value| {
            if function.ends_with("fails") {
                return None;
            }
            if let Some(card) = value.get_mut("card") {
                *card = "…".into();
            }
            Some(value)
        })
    });
    let others = [site.waiting(8), site.waiting(7)];
    let dead = site.dead("secret");
    site.sql(
        &scratch,
        "INSERT INTO river_job (args, kind, queue, max_attempts, scheduled_at, state)
         WITH RECURSIVE number (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < 1100)
         SELECT jsonb('{\"order\":{\"id\":' || (i % 550) || ',\"paid\":true},\"card\":\"4111\"}'), 'other::job', 'other', 1, datetime('now', '+1 day'), 'scheduled'
         FROM number",
        "INSERT INTO river_job (args, kind, queue, max_attempts, scheduled_at, state)
         SELECT jsonb_build_object('order', jsonb_build_object('id', i % 550, 'paid', true), 'card', '4111'), 'other::job', 'other', 1, now() + interval '1 day', 'scheduled'
         FROM generate_series(1, 1100) AS number (i)",
    );
    let found = |search: &str| ids(&site.page(&format!("/jobs?q={search}")));
    assert_eq!(
        found("state:waiting%20args.number:7"),
        numbers(&[others[1], hidden])
    );
    assert_eq!(found("queue:sums%20args.number:8"), numbers(&[others[0]]));
    // What the rule redacts or hides is not found out.
    assert!(found("state:scheduled%20args.card:4111").is_empty());
    assert!(found(&format!("fn:{}%20args.message:secret", site.function(dead))).is_empty());
    // The latest thousand, and then the rest.
    let page = site.page("/jobs?q=state:scheduled%20args.order.id:30%20args.order.paid:true");
    assert!(
        page.contains("Looked at the arguments of 1,000 jobs"),
        "{page}"
    );
    assert_eq!(ids(&page).len(), 1, "{page}");
    let before = page
        .rsplit("before=")
        .next()
        .and_then(|rest| rest.split('"').next());
    let before = before.expect("a link to the rest");
    let rest = site.page(&format!(
        "/jobs?q=state:scheduled%20args.order.id:30&before={before}"
    ));
    assert_eq!(ids(&rest).len(), 1, "{rest}");
    assert!(
        rest.contains("Looked at the arguments of 100 jobs") && !rest.contains("Before #"),
        "{rest}"
    );
    site.end();
}

fn the_overview_has_the_problems_first(scratch: Scratch) {
    let site = Site::start(&scratch);
    let page = site.page("/overview");
    assert!(page.contains("<p class=\"nothing\">None.</p>"), "{page}");
    site.dead("no paper");
    site.waiting(7);
    site.sql(
        &scratch,
        "INSERT INTO river_job (args, kind, queue, max_attempts, scheduled_at) VALUES
         ('{}', 'gone::job', 'default', 1, datetime('now', '-90 seconds')), ('{}', 'other::job', 'elsewhere', 1, datetime('now'))",
        "INSERT INTO river_job (args, kind, queue, max_attempts, scheduled_at) VALUES
         ('{}', 'gone::job', 'default', 1, now() - interval '90 seconds'), ('{}', 'other::job', 'elsewhere', 1, now())",
    );
    site.sql(
        &scratch,
        "INSERT INTO bgtask_worker (id, beat, about, beat_at)
         VALUES ('bgtask:77-00', 1, '{\"host\":\"host-7\",\"queues\":{}}', (unixepoch() - 60) * 1000)",
        "INSERT INTO bgtask_worker (id, beat, about, beat_at)
         VALUES ('bgtask:77-00', 1, '{\"host\":\"host-7\",\"queues\":{}}', now() - interval '60 seconds')",
    );
    // Until others declare that worker dead and remove it.
    let page = site.page("/overview");
    assert!(
        page.contains("Process 77 on host-7 has not beaten for 1 m"),
        "{page}"
    );
    for text in [
        "Queue sums is paused, and 1 job waits in it",
        "No process works queue elsewhere, and 1 job waits in it",
        "This program does not have gone::job",
        "The oldest job of queue default has waited for 1 m",
        "1 job is dead",
    ] {
        site.until("/overview", text);
    }
    let page = site.page("/overview");
    let at = |text: &str| {
        page.find(text)
            .unwrap_or_else(|| panic!("no {text}: {page}"))
    };
    assert!(at("Problems") < at("Jobs by state") && at("Jobs by state") < at("Oldest waiting job"));
    site.end();
}

fn queues_workers_schedules_and_errors_have_their_pages(scratch: Scratch) {
    let begin = Instant::now();
    let site = Site::start(&scratch);
    site.process.manager.start_schedules();
    site.waiting(7);
    let running = site
        .process
        .run(async { waits_for().await.expect("it is stored").id() });
    site.dead("order 17 is gone");
    site.dead("order 18 is gone");
    let queues = site.until("/queues", "gates</span>");
    assert!(
        queues.contains("sums</span>") && queues.contains("paused"),
        "{queues}"
    );
    assert!(
        !queues.contains("Resume"),
        "a viewer may not resume: {queues}"
    );
    assert!(site.visit("ann/operate", "/queues").body.contains("Resume"));
    // The worker notes its queues once it has begun, and beats every second.
    let workers = site.until("/workers", "gates");
    assert!(
        workers.contains(&format!(">{}<", std::process::id())),
        "{workers}"
    );
    site.until("/workers", " ago</td>");
    site.until("/workers", &format!("jobs/{running}"));
    let schedules = site.until("/schedules", "sweep");
    assert!(
        schedules.contains("12h") && schedules.contains("<time"),
        "{schedules}"
    );
    assert!(
        schedules.contains("in 11 h") || schedules.contains("in 12 h"),
        "{schedules}"
    );
    let errors = site.page("/errors");
    assert!(
        errors.contains("order # is gone") && !errors.contains("order 17"),
        "{errors}"
    );
    assert_eq!(errors.matches("order # is gone").count(), 1);
    assert!(begin.elapsed() < LIMIT);
    site.end();
}

fn a_schedule_is_paused_resumed_and_run_on_its_page(scratch: Scratch) {
    let site = Site::start(&scratch);
    site.process.manager.start_schedules();
    let page = site.until("/schedules", "sweep");
    assert!(!page.contains("Run now"), "a viewer may not run it: {page}");
    // The form of a job has the token.
    site.waiting(7);
    let name = concat!(module_path!(), "::sweep");
    let form = format!("schedule={name}");
    let page = site.act("ann/operate", "pause-schedule", &form);
    assert!(page.contains("paused: it has no ticks"), "{page}");
    assert!(
        page.contains(" ago</time> by ann") && page.contains("Resume"),
        "{page}"
    );
    let page = site.act("bob/operate", "pause-schedule", &form);
    assert!(
        page.contains("was paused already") && page.contains(" by ann"),
        "{page}"
    );
    let problem = format!("ann has paused the schedule of {name}");
    site.until("/overview", &problem);
    // Paused or not.
    let page = site.act("ann/operate", "run-schedule", &form);
    assert!(
        page.contains("is stored") && page.contains("sweep"),
        "{page}"
    );
    let id = page
        .split("<h1>Job ")
        .nth(1)
        .and_then(|rest| rest.split('<').next());
    let id = id.unwrap_or_else(|| panic!("the page of a job: {page}"));
    site.until(&format!("/jobs/{id}"), "tag is-done");
    let page = site.act("ann/operate", "resume-schedule", &form);
    assert!(
        page.contains("resumed: the next tick") && page.contains("in 1"),
        "{page}"
    );
    let page = site.act("ann/operate", "resume-schedule", &form);
    assert!(page.contains("was not paused"), "{page}");
    let page = site.act("ann/operate", "run-schedule", "schedule=no::such");
    assert!(page.contains("there is no schedule of no::such"), "{page}");
    assert_eq!(site.try_act("ann/operate", "run-schedule", "").status, 409);
    assert_eq!(site.audited(&scratch), 6);
    site.end();
}

/// Sentence 11.19.
fn the_overview_has_the_throughput_of_all_processes_through_restarts(scratch: Scratch) {
    let site = Site::start(&scratch);
    let page = site.page("/overview");
    let empty = "Last hour by the minute: 0 done and 0 failed attempts, at most 0 in one minute";
    assert!(
        page.contains(empty) && page.contains("role=\"img\""),
        "{page}"
    );
    let work = |site: &Site| {
        site.dead("no paper");
        site.process.run(async {
            for number in 0..3 {
                let job = double(number).await.expect("it is stored");
                job.outcome().await.expect("it ends");
            }
        });
    };
    work(&site);
    let other = Site::start(&scratch);
    work(&other);
    // Whichever of the two ran them.
    for text in [
        "Last hour by the minute: 6 done and 2 failed attempts",
        "Last 24 hours by the hour: 6 done and 2 failed attempts",
        ">2 dead</span>",
    ] {
        site.until("/overview", text);
    }
    other.end();
    site.end();
    let earlier = "INSERT INTO bgtask_minute (minute, done, retried, dead)
        SELECT min(minute) - 120, 40, 1, 0 FROM bgtask_minute UNION ALL SELECT min(minute) - 1500, 900, 9, 9 FROM bgtask_minute";
    let site = Site::start(&scratch);
    site.sql(&scratch, earlier, earlier);
    let page = site.page("/overview");
    for text in [
        "Last hour by the minute: 6 done and 2 failed attempts",
        "Last 24 hours by the hour: 46 done and 3 failed attempts",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    site.end();
}

fn the_tables_of_an_earlier_version_get_what_the_pages_need(scratch: Scratch) {
    let site = Site::start(&scratch);
    for column in [
        "ALTER TABLE bgtask_worker DROP COLUMN about",
        "ALTER TABLE bgtask_worker DROP COLUMN beat_at",
        "DROP TABLE bgtask_audit",
        "DROP TABLE bgtask_minute",
        "ALTER TABLE bgtask_schedule DROP COLUMN resumed_at",
        "ALTER TABLE bgtask_schedule DROP COLUMN job_options",
    ] {
        site.sql(&scratch, column, column);
    }
    site.end();
    let site = Site::start(&scratch);
    site.until("/workers", "gates");
    site.until("/workers", " ago</td>");
    site.waiting(7);
    let page = site.act("ann/operate", "resume", "queue=sums");
    assert!(page.contains("resumed"), "{page}");
    assert_eq!(site.audited(&scratch), 1);
    site.end();
}

/// A server that works on no jobs shows them all the same.
fn a_process_that_only_stores_has_the_pages(scratch: Scratch) {
    let builder = bgtask_durable::builder().url(scratch.url());
    let site = Site::start_with(builder.role(Role::Enqueue), |sections| sections);
    let job = site
        .process
        .run(async { fails("never".to_owned()).await.expect("it is stored").id() });
    assert_eq!(ids(&site.page("/jobs")), [job.get()]);
    let page = site.page("/overview");
    assert!(
        page.contains("No process works queue default, and 1 job waits in it"),
        "{page}"
    );
    assert!(site.page("/workers").contains("No process works on jobs"));
    site.act("ann/operate", "cancel", &format!("job={job}"));
    assert_eq!(site.state(job), Some(JobState::Cancelled));
    site.end();
}

on_each_database! {
    a_search_finds_the_jobs_for_which_each_word_holds,
    a_list_goes_on_from_page_to_page,
    counts_and_searches_are_bounded,
    the_page_of_a_job_shows_what_happened,
    arguments_and_outputs_are_hidden_unless_a_rule_shows_them,
    arguments_are_searched_as_they_are_shown,
    the_overview_has_the_problems_first,
    queues_workers_schedules_and_errors_have_their_pages,
    a_schedule_is_paused_resumed_and_run_on_its_page,
    the_overview_has_the_throughput_of_all_processes_through_restarts,
    the_tables_of_an_earlier_version_get_what_the_pages_need,
    a_process_that_only_stores_has_the_pages,
}
