//! The tables and their versions, `doctor`, and wrong usage.

use crate::support::store::Process;
use crate::support::{Scratch, on_each_database};
use crate::{bgtask, migrated, run};
use bgtask::background;
use serde_json::Value;

#[background(durable)]
async fn quick(number: u32) -> u32 {
    number
}

/// Returns the results of a check, whatever the exit code.
pub(crate) fn checks(scratch: &Scratch, name: &str) -> Vec<(String, String)> {
    let out = bgtask(scratch, &["doctor", "--wait", "60s", "--json"]).out;
    let examined: Value = serde_json::from_str(&out).expect("JSON");
    let checks = examined["checks"].as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    checks
        .filter(|check| check["check"] == name)
        .map(|check| (text(&check["result"]), text(&check["message"])))
        .collect()
}

/// Whether a check has this result, and names this.
#[track_caller]
pub(crate) fn assert_check(scratch: &Scratch, name: &str, result: &str, part: &str) {
    let found = checks(scratch, name);
    let is_it = |(has, message): &(String, String)| has == result && message.contains(part);
    assert!(found.iter().any(is_it), "{name}: {found:?}");
}

fn a_database_without_tables_is_refused(scratch: Scratch) {
    if scratch.is_sqlite() {
        // A file that is not there is another matter.
        run(&scratch, "SELECT 1", "SELECT 1");
    }
    bgtask(&scratch, &["status"]).fails_with(1, &["no tables", "bgtask migrate"]);
    assert_check(&scratch, "tables", "problem", "bgtask migrate");
    let text = bgtask(&scratch, &["migrate"]).ends_with(0);
    assert!(text.starts_with("the tables were made"), "{text}");
    let text = bgtask(&scratch, &["migrate"]).ends_with(0);
    assert!(text.starts_with("the tables are up to date"), "{text}");
    bgtask(&scratch, &["status"]).ends_with(0);
}

fn newer_tables_are_refused(scratch: Scratch) {
    migrated(&scratch);
    let newer = "INSERT INTO river_migration (line, version) VALUES ('main', 999)";
    run(&scratch, newer, newer);
    for command in ["status", "prune", "migrate"] {
        bgtask(&scratch, &[command]).fails_with(1, &["999", "update the program"]);
    }
    assert_check(&scratch, "tables", "problem", "update it");
}

fn older_tables_are_refused_and_brought_up_to_date(scratch: Scratch) {
    migrated(&scratch);
    let older = "ALTER TABLE bgtask_worker DROP COLUMN beat_at";
    run(&scratch, older, older);
    bgtask(&scratch, &["jobs"]).fails_with(1, &["bgtask_worker.beat_at", "bgtask migrate"]);
    assert_check(&scratch, "tables", "problem", "bgtask_worker.beat_at");
    let text = bgtask(&scratch, &["migrate"]).ends_with(0);
    assert!(
        text.starts_with("the tables were brought up to date"),
        "{text}"
    );
    bgtask(&scratch, &["status"]).ends_with(0);
}

fn an_older_version_of_the_engine_is_refused(scratch: Scratch) {
    migrated(&scratch);
    let older =
        "DELETE FROM river_migration WHERE version = (SELECT max(version) FROM river_migration)";
    run(&scratch, older, older);
    let parts = ["the tables have version", "bgtask migrate"];
    bgtask(&scratch, &["status"]).fails_with(1, &parts);
    assert_check(&scratch, "tables", "problem", "this program needs");
}

fn a_missing_trigger_is_a_problem(scratch: Scratch) {
    migrated(&scratch);
    assert_check(&scratch, "triggers", "ok", "");
    run(
        &scratch,
        "DROP TRIGGER bgtask_fence",
        "DROP TRIGGER bgtask_fence ON river_job",
    );
    let out = bgtask(&scratch, &["doctor"]).ends_with(1);
    assert!(out.contains("bgtask_fence"), "{out}");
    bgtask(&scratch, &["migrate"]).ends_with(0);
    assert_check(&scratch, "triggers", "ok", "");
}

fn a_queue_that_no_worker_works_is_a_problem(scratch: Scratch) {
    migrated(&scratch);
    assert_check(&scratch, "workers", "warning", "none is alive");
    let process = Process::start(bgtask_durable::builder().url(scratch.url()));
    process.run(async {
        quick(1)
            .await
            .expect("it is stored")
            .outcome()
            .await
            .expect("it ends")
    });
    let out = bgtask(&scratch, &["doctor", "--wait", "60s"]).ends_with(0);
    assert!(!out.contains("PROBLEM"), "{out}");
    assert_check(&scratch, "workers", "ok", "1 worker alive");
    assert_check(&scratch, "clock", "ok", "within");
    process.run(async { quick(2).queue("nobody").await.expect("it is stored") });
    assert_check(&scratch, "queues", "problem", "no worker works nobody");
    bgtask(&scratch, &["pause", "nobody"]).ends_with(0);
    assert_check(&scratch, "queues", "warning", "bgtask resume nobody");
    assert_check(&scratch, "functions", "ok", "");
    run(
        &scratch,
        "INSERT INTO river_job (kind, args, max_attempts) VALUES ('other::job', jsonb('{}'), 3)",
        "INSERT INTO river_job (kind, args, max_attempts) VALUES ('other::job', '{}', 3)",
    );
    assert_check(&scratch, "functions", "problem", "other::job");
    process.end();
    bgtask(&scratch, &["resume", "nobody"]).ends_with(0);
    assert_check(&scratch, "workers", "problem", "jobs wait");
}

fn the_settings_of_the_database_are_shown(scratch: Scratch) {
    migrated(&scratch);
    if scratch.is_sqlite() {
        assert_check(&scratch, "journal mode", "ok", "wal");
        assert_check(&scratch, "synchronous", "ok", "full");
    } else {
        assert_check(&scratch, "server", "ok", "Postgres");
        assert_check(&scratch, "synchronous_commit", "ok", "on");
        assert_check(&scratch, "connections", "ok", "of ");
        assert_check(&scratch, "pooler", "ok", "none");
    }
}

on_each_database! {
    a_database_without_tables_is_refused,
    newer_tables_are_refused,
    older_tables_are_refused_and_brought_up_to_date,
    an_older_version_of_the_engine_is_refused,
    a_missing_trigger_is_a_problem,
    a_queue_that_no_worker_works_is_a_problem,
    the_settings_of_the_database_are_shown,
}

#[cfg(feature = "sqlite")]
#[test]
fn a_file_that_is_missing_is_not_made() {
    let scratch = Scratch::sqlite();
    let file = scratch.url().strip_prefix("sqlite://").expect("a file");
    let folder = std::path::Path::new(file).parent().expect("its folder");
    for command in [&["status"][..], &["prune"], &["migrate"]] {
        let parts = ["there is no database", file, "bgtask migrate --create"];
        bgtask(&scratch, command).fails_with(1, &parts);
    }
    assert_check(&scratch, "database", "problem", "there is no database");
    let made = std::fs::read_dir(folder).expect("a folder").count();
    assert_eq!(made, 0, "something was made in the folder");
    let text = bgtask(&scratch, &["migrate", "--create"]).ends_with(0);
    assert!(text.starts_with("the tables were made"), "{text}");
}

#[cfg(feature = "sqlite")]
#[test]
fn wrong_usage_has_an_exit_code_of_its_own() {
    let scratch = Scratch::sqlite();
    for arguments in [
        &["retry"][..],
        &["retry", "7", "--dead"],
        &["retry", "7", "--queue", "mail"],
        &["retry", "7", "--yes"],
        &["jobs", "--limit", "0"],
        &["jobs", "--state", "deceased"],
        &["job", "seven"],
        &["workers", "--wait", "long"],
        &["unknown"],
        &[],
    ] {
        bgtask(&scratch, arguments).fails_with(2, &[]);
    }
    bgtask(&scratch, &["status", "--url", "mysql://x"]).fails_with(1, &["mysql", "expected"]);
}

#[cfg(feature = "sqlite")]
#[test]
fn completions_and_help_need_no_database() {
    let scratch = Scratch::sqlite();
    for shell in ["bash", "zsh", "fish"] {
        let script = bgtask(&scratch, &["completions", shell]).ends_with(0);
        assert!(script.contains("schedules"), "{script}");
    }
    let help = bgtask(&scratch, &["--help"]).ends_with(0);
    assert!(help.contains("Exit codes"), "{help}");
}
