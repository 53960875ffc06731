//! The plans of the statements, for a test.

use super::*;
use crate::engine::inspect::{searches, stored_key};

impl Sqlite {
    /// Returns the name of each statement with the lines of its plan.
    pub(in crate::engine) async fn plans(&self) -> Result<Vec<(String, Vec<String>)>, Error> {
        let mut plans = Vec::new();
        for (name, statement) in [
            ("counts", COUNTS),
            ("ends", ENDS),
            ("detail", DETAIL),
            ("queue names", QUEUE_NAMES),
            ("queue", QUEUE),
            ("waiting", WAITING),
            ("workers", WORKERS),
            ("held", HELD),
            ("dead", DEAD),
            ("schedules", SCHEDULES),
        ] {
            let mut query = QueryBuilder::new("EXPLAIN QUERY PLAN ");
            query.push(statement);
            plans.push((name.to_owned(), self.plan(query).await?));
        }
        let start = format!("EXPLAIN QUERY PLAN {COLUMNS}");
        let with_arguments = format!("EXPLAIN QUERY PLAN {WITH_ARGUMENTS}");
        for search in searches(stored_key("a::b", "7")) {
            if search.state.is_some() || search.function.is_some() {
                let mut count = QueryBuilder::new("EXPLAIN QUERY PLAN SELECT count(*) FROM (");
                push_indexed(&mut count, &search);
                count.push(") AS counted");
                plans.push((format!("count of {search:?}"), self.plan(count).await?));
                let page = indexed_page(&start, &search, LISTED + 1);
                plans.push((format!("page of {search:?}"), self.plan(page).await?));
            }
            let part = page_between(&start, &search, (1, 1000), LISTED + 1);
            plans.push((format!("part of {search:?}"), self.plan(part).await?));
            let part = page_between(&with_arguments, &search, (1, 1000), ARGUMENTS_READ);
            let name = format!("part of {search:?} with arguments");
            plans.push((name, self.plan(part).await?));
        }
        Ok(plans)
    }

    async fn plan(&self, mut query: QueryBuilder<sqlx::Sqlite>) -> Result<Vec<String>, Error> {
        let rows = query.build().fetch_all(&self.pool).await?;
        rows.iter().map(|row| row.try_get("detail")).collect()
    }
}
