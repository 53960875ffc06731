//! The roles of docs/deploy/postgres: each can do its work, and not that of the others.
#![cfg(feature = "postgres")]

use crate::support::Scratch;
use crate::support::store::Process;
use bgtask::background;
use bgtask::durable::{EnqueueError, JobError, JobState};
use bgtask_durable::sqlx::postgres::{PgConnectOptions, PgConnection};
use bgtask_durable::sqlx::{self, AssertSqlSafe, ConnectOptions as _};
use bgtask_durable::{Builder, Filter, Role, builder};
use std::time::Duration;

const ROLES: &str = include_str!("../../../docs/deploy/postgres/roles.sql");
const GRANTS: &str = include_str!("../../../docs/deploy/postgres/grants.sql");

/// Another test of this process may make the roles at the same time.
const ALONE: &str = "BEGIN; SELECT pg_advisory_xact_lock(3);";

#[background(durable(queue = "quick", unique))]
async fn double(number: u32) -> u32 {
    number * 2
}

struct Roles(Scratch);

impl Roles {
    /// Makes the roles, the tables as their owner, and the grants: as the README says. `None` without a Postgres.
    async fn made() -> Option<Self> {
        let own = Self(Scratch::postgres()?);
        run(
            &mut connect(own.0.url()).await,
            &format!("{ALONE} {ROLES} COMMIT"),
        )
        .await;
        let migrated = own.builder("jobs_owner").migrate().await;
        assert!(migrated.expect("the owner makes the tables").has_changed);
        run(&mut own.connect("jobs_owner").await, GRANTS).await;
        Some(own)
    }

    fn url(&self, role: &str) -> String {
        self.0.url().replace("bgtask@", &format!("{role}@"))
    }

    fn builder(&self, role: &str) -> Builder {
        let builder = builder().url(self.url(role));
        // The first process without them would keep new ones in the database, which not each role may.
        #[cfg(feature = "live")]
        let builder = builder.ticket_keys([[7; 32]]);
        builder
    }

    async fn connect(&self, role: &str) -> PgConnection {
        connect(&self.url(role)).await
    }

    /// Checks that a role lacks the privilege for each of these statements.
    async fn lacks(&self, role: &str, statements: &[&str]) {
        let mut connection = self.connect(role).await;
        for statement in statements {
            let shown = format!("{role}: {statement}");
            let statement = AssertSqlSafe((*statement).to_owned());
            let refused = sqlx::raw_sql(statement).execute(&mut connection).await;
            let refused = refused.expect_err(&shown);
            let code = refused.as_database_error().and_then(|error| error.code());
            let code = code.map(|code| code.into_owned()).unwrap_or_default();
            // No privilege, not the owner, or a transaction that only reads.
            assert!(["42501", "25006"].contains(&&*code), "{shown}: {refused}");
        }
    }
}

async fn connect(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().expect("a URL");
    options.connect().await.expect("it connects")
}

async fn run(connection: &mut PgConnection, script: &str) {
    let script = AssertSqlSafe(script.to_owned());
    let done = sqlx::raw_sql(script).execute(connection).await;
    done.expect("it runs");
}

fn with_roles<F: Future<Output = ()>>(test: impl FnOnce(Roles) -> F) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        if let Some(roles) = Roles::made().await {
            test(roles).await;
        }
    });
}

/// What only the owner may do.
const DEFINES: [&str; 4] = [
    "CREATE TABLE other (id int)",
    "DROP TRIGGER bgtask_fence ON river_job",
    "ALTER TABLE river_job DISABLE TRIGGER bgtask_fence",
    "DROP TABLE bgtask_schedule",
];

#[test]
fn a_site_stores_calls_and_workers_run_them() {
    with_roles(|roles| async move {
        let (site, worker) = (roles.builder("jobs_enqueue"), roles.builder("jobs_worker"));
        // Each has a runtime of its own.
        let work = std::thread::spawn(move || {
            let site = Process::start(site.role(Role::Enqueue));
            let job = site.run(async {
                let first = double(4).await.expect("it is stored");
                // Finds the first.
                let again = double(4).await.expect("it is found");
                assert!(again.is_duplicate());
                first
            });
            let worker = Process::start(worker);
            let outcome = site.run(async { job.outcome().await });
            assert_eq!(outcome, Ok(8));
            worker.run(async {
                let operated = worker.jobs.pause("quick").await;
                operated.expect("a worker may pause");
                let job = double(5).await.expect("a worker may store");
                assert_eq!(job.cancel().await, Ok(true));
                assert_eq!(worker.jobs.delete(job.id()).await, Ok(true));
                assert_eq!(worker.jobs.prune().await, Ok(0));
            });
            site.run(async {
                let job = double(6).await.expect("it is stored");
                let refused = job.cancel().await.expect_err("a site may not cancel");
                assert!(
                    refused.to_string().contains("permission denied"),
                    "{refused}"
                );
                let refused = site.jobs.resume("quick").await;
                refused.expect_err("a site may not resume");
            });
            worker.end();
            site.end();
        });
        work.join().expect("it works");
        roles.lacks("jobs_worker", &DEFINES).await;
        roles.lacks("jobs_enqueue", &DEFINES).await;
        let changes = [
            "UPDATE river_job SET state = 'available'",
            "UPDATE river_job SET args = '{}'",
            "DELETE FROM river_job",
            "UPDATE bgtask_worker SET beat = beat + 1",
            "INSERT INTO bgtask_worker (id, beat) VALUES ('a', 1)",
            "UPDATE bgtask_schedule SET last_tick = 0",
            "UPDATE bgtask_instance SET id = 'other'",
            "INSERT INTO river_queue (name, updated_at) VALUES ('a', now())",
        ];
        roles.lacks("jobs_enqueue", &changes).await;
    });
}

#[test]
fn a_reader_sees_everything_and_changes_nothing() {
    with_roles(|roles| async move {
        let mut worker = roles.connect("jobs_worker").await;
        let stored = "INSERT INTO river_job (kind, args, max_attempts) VALUES ('a::b', '{\"number\": 4}', 3)";
        run(&mut worker, stored).await;
        let jobs = roles.builder("jobs_read").operate().await;
        let jobs = jobs.expect("it opens");
        let listed = jobs.list(Filter::all()).await.expect("a list");
        let id = listed[0].id;
        assert_eq!(
            jobs.details(id).await.expect("it is there").status,
            listed[0]
        );
        let content = jobs.content(id).await.expect("it is there");
        assert!(
            content.arguments.get().contains('4'),
            "{:?}",
            content.arguments
        );
        assert_eq!(jobs.count(JobState::Waiting).await, Ok(1));
        assert_eq!(jobs.matching(Filter::all()).await, Ok(1));
        assert_eq!(jobs.queues().await.expect("they are read").len(), 1);
        assert_eq!(jobs.workers(Duration::ZERO).await, Ok(Vec::new()));
        assert_eq!(jobs.schedules().await, Ok(Vec::new()));
        let found = roles.builder("jobs_read").diagnose().await;
        assert!(found.expect("it is examined").triggers.is_empty());

        let refused = |error: JobError| {
            assert!(matches!(error, JobError::Store { .. }), "{error}");
        };
        let job = jobs.get::<u32>(id);
        refused(job.cancel().await.expect_err("no cancellation"));
        refused(jobs.delete(id).await.expect_err("no deletion"));
        refused(jobs.prune().await.expect_err("no pruning"));
        refused(jobs.pause("default").await.expect_err("no pause"));
        refused(jobs.retry_dead(Filter::all()).await.expect_err("no retry"));
        let migrated = roles.builder("jobs_read").migrate().await;
        let current = migrated.expect("there is nothing to make");
        assert!(!current.has_changed, "{current:?}");
        roles.lacks("jobs_read", &DEFINES).await;
        let writes = [
            stored,
            "UPDATE river_job SET state = 'cancelled', finalized_at = now()",
            "DELETE FROM bgtask_worker",
        ];
        roles.lacks("jobs_read", &writes).await;
    });
}

/// A process that only reads cannot store a call either.
#[test]
fn a_reader_stores_no_call() {
    with_roles(|roles| async move {
        let reader = roles.builder("jobs_read");
        let refused = std::thread::spawn(move || {
            let process = Process::start(reader.role(Role::Enqueue));
            let refused = process.run(async { double(1).await.map(|job| job.id()) });
            process.end();
            refused
        });
        let refused = refused.join().expect("it ends");
        assert!(
            matches!(refused, Err(EnqueueError::Store { .. })),
            "{refused:?}"
        );
    });
}
