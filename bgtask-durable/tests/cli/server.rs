//! What `doctor` finds around a server of Postgres: a pooler before it, a clock that is wrong, too few connections.

use crate::command;
use crate::examine::{assert_check, checks};
use crate::support::Scratch;
use crate::support::pgbouncer::{Mode, PgBouncer};
use crate::{bgtask, migrated, ran, run};

#[test]
fn a_pooler_that_lends_its_sessions_is_found() {
    let Some(scratch) = Scratch::postgres() else {
        return;
    };
    let Some(pooler) = PgBouncer::start(scratch.url(), Mode::Transaction, "") else {
        return;
    };
    migrated(&scratch);
    assert_check(&scratch, "pooler", "ok", "none");
    let pooled = pooler.url(scratch.url());
    let doctor = ["doctor", "--wait", "0s", "--url", &pooled];
    let out = bgtask(&scratch, &doctor).ends_with(0);
    assert!(out.contains("BGTASK_LISTEN_URL"), "{out}");
    let mut around = command(&scratch, &doctor);
    around.env("BGTASK_LISTEN_URL", scratch.url());
    let out = ran(around).ends_with(0);
    assert!(out.contains("leads around it"), "{out}");
    // The other commands work through it.
    bgtask(&scratch, &["status", "--url", &pooled]).ends_with(0);
    bgtask(&scratch, &["pause", "mail", "--new", "--url", &pooled]).ends_with(0);
}

#[test]
fn a_clock_that_is_wrong_is_found() {
    let Some((scratch, clock)) = Scratch::postgres_with_clock() else {
        return;
    };
    migrated(&scratch);
    assert_check(&scratch, "clock", "ok", "");
    clock.set("-1h");
    assert_check(&scratch, "clock", "problem", "ahead of");
    clock.set("+10s");
    assert_check(&scratch, "clock", "warning", "behind");
}

#[test]
fn a_role_whose_commits_may_be_lost_is_found() {
    let Some(scratch) = Scratch::postgres() else {
        return;
    };
    migrated(&scratch);
    let set = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$";
    run(&scratch, set, set);
    assert_check(&scratch, "synchronous_commit", "warning", "off");
}

#[test]
fn workers_that_need_more_connections_than_there_are_are_found() {
    let Some(scratch) = Scratch::postgres() else {
        return;
    };
    migrated(&scratch);
    let workers = r#"INSERT INTO bgtask_worker (id, beat, about)
        SELECT 'bgtask:' || number, 0, '{"connections": 500}' FROM generate_series(1, 2) AS number"#;
    run(&scratch, workers, workers);
    // Not watched, so they count.
    let out = bgtask(&scratch, &["doctor", "--wait", "0s"]).ends_with(1);
    assert!(out.contains("may have 1006"), "{out}");
}

#[test]
fn a_server_that_cannot_be_reached_is_a_problem_without_its_password() {
    let Some(scratch) = Scratch::postgres() else {
        return;
    };
    let url = "postgres://ann:hunter2@127.0.0.1:1/shop";
    for arguments in [["doctor", "--url", url], ["status", "--url", url]] {
        let ran = bgtask(&scratch, &arguments);
        assert_eq!(ran.code, 1, "{ran:?}");
        let text = ran.out + &ran.err;
        assert!(text.contains("cannot be reached"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert_eq!(checks(&scratch, "database").len(), 1);
}
