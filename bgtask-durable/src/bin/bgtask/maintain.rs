//! Keeps the tables in order: their version, and the jobs whose time is over. Must never make a file that was not asked for.

use crate::connect::Connector;
use crate::failure::Failure;
use crate::output::Output;
use crate::table::count;
use bgtask_durable::Jobs;
use serde::Serialize;

pub(crate) async fn migrate(
    connector: &Connector,
    create: bool,
    output: &mut Output,
) -> Result<(), Failure> {
    if !create {
        // A file that is not there is an error here, and would be made below.
        connector.builder().diagnose().await?;
    }
    let migrated = connector.builder().migrate().await?;
    output.show(&migrated, || {
        match (migrated.has_changed, migrated.before) {
            (false, _) => format!("the tables are up to date: version {}\n", migrated.now),
            (true, None) => format!("the tables were made: version {}\n", migrated.now),
            (true, Some(before)) if before == migrated.now => format!(
                "the tables were brought up to date: version {}, with new columns or triggers\n",
                migrated.now
            ),
            (true, Some(before)) => format!(
                "the tables were brought from version {before} to {}\n",
                migrated.now
            ),
        }
    })
}

#[derive(Serialize)]
struct Pruned {
    deleted: u64,
}

pub(crate) async fn prune(jobs: &Jobs, output: &mut Output) -> Result<(), Failure> {
    let deleted = jobs.prune().await?;
    output.show(&Pruned { deleted }, || {
        format!("{} deleted, whose time was over\n", count(deleted, "job"))
    })
}
