//! The plans of the statements, for a test.

use super::*;
use crate::engine::inspect::{searches, stored_key};

impl Postgres {
    /// Returns the name of each statement with the lines of its plan.
    pub(in crate::engine) async fn plans(&self) -> Result<Vec<(String, Vec<String>)>, Error> {
        let mut look = self.look().await?;
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
            let mut query = QueryBuilder::new("EXPLAIN ");
            // In the place of the parameters, of whichever type.
            let of_queue = statement.replace("queue = $1", "queue = 'default'");
            let of_names = of_queue.replace("$1::text[]", "'{default}'::text[]");
            let flag = of_names.replace("CASE WHEN $1", "CASE WHEN true");
            query.push(flag.replace("$1", "100").replace("$2", "100"));
            plans.push((name.to_owned(), plan(&mut look, query).await?));
        }
        let start = format!("EXPLAIN {COLUMNS}");
        let with_arguments = format!("EXPLAIN {WITH_ARGUMENTS}");
        for search in searches(stored_key("a::b", "7")) {
            if search.state.is_some() || search.function.is_some() {
                let mut count = QueryBuilder::new("EXPLAIN SELECT count(*) FROM (");
                push_indexed(&mut count, &search);
                count.push(") AS counted");
                plans.push((
                    format!("count of {search:?}"),
                    plan(&mut look, count).await?,
                ));
                let page = indexed_page(&start, &search, LISTED + 1);
                plans.push((format!("page of {search:?}"), plan(&mut look, page).await?));
            }
            let part = page_between(&start, &search, (1, 1000), LISTED + 1);
            plans.push((format!("part of {search:?}"), plan(&mut look, part).await?));
            let part = page_between(&with_arguments, &search, (1, 1000), ARGUMENTS_READ);
            let name = format!("part of {search:?} with arguments");
            plans.push((name, plan(&mut look, part).await?));
        }
        Ok(plans)
    }
}

async fn plan(
    look: &mut Transaction<'static, sqlx::Postgres>,
    mut query: QueryBuilder<sqlx::Postgres>,
) -> Result<Vec<String>, Error> {
    let rows = query.build().fetch_all(&mut **look).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}
