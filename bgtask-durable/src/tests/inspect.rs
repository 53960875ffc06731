//! The statements of the dashboard's pages: each goes by an index, and none reads the table of the jobs.

use super::*;

/// Enough jobs that a planner has a choice, most of them done.
const JOBS: Statement = Statement {
    sqlite: "INSERT INTO river_job (args, kind, queue, state, finalized_at, max_attempts, priority)
        WITH RECURSIVE number (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < 20000)
        SELECT '{}', 'a::b', 'default', iif(i % 100, 'completed', 'available'), iif(i % 100, datetime('now'), NULL), 1, 1 + i % 4
        FROM number",
    postgres: "INSERT INTO river_job (args, kind, queue, state, finalized_at, max_attempts, priority)
        SELECT '{}', 'a::b', 'default', (CASE WHEN i % 100 > 0 THEN 'completed' ELSE 'available' END)::river_job_state,
            CASE WHEN i % 100 > 0 THEN now() END, 1, 1 + i % 4
        FROM generate_series(1, 20000) AS number (i)",
};

const ANALYZED: Statement = Statement::same("ANALYZE river_job");

async fn no_page_reads_the_table_of_the_jobs(scratch: Scratch) {
    let database = scratch.open().await;
    JOBS.run(&database).await;
    ANALYZED.run(&database).await;
    let plans = database.plans().await.expect("the statements are right");
    assert!(plans.len() > 20);
    let reads_jobs = |line: &&String| line.contains("river_job");
    for (name, plan) in &plans {
        for line in plan.iter().filter(reads_jobs) {
            // SQLite has `SCAN river_job`, with an index or without; Postgres `Seq Scan on river_job` or a bitmap.
            let reads_all =
                line.contains("SCAN ") || line.contains("Seq Scan") || line.contains("Bitmap");
            assert!(!reads_all, "{name}: {plan:#?}");
        }
        if ["waiting", "dead"].contains(&name.as_str()) {
            let sorts = |line: &String| line.contains("ORDER BY") || line.contains("Sort ");
            assert!(
                !plan.iter().any(sorts),
                "{name} reads more than it shows: {plan:#?}"
            );
        }
        let by_id = [
            "INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
            "river_job_pkey",
        ];
        let is_part = name.starts_with("part of");
        assert!(
            !is_part
                || plan
                    .iter()
                    .any(|line| by_id.iter().any(|by_id| line.contains(by_id))),
            "{name}: {plan:#?}"
        );
    }
}

on_each_database! { async no_page_reads_the_table_of_the_jobs }
