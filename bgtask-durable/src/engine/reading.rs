//! How the statements of the dashboard's pages are run, the same on each database: what is bound, and what a row has.
//! Must never know the text of a statement.

/// The first and the last job.
pub(super) const ENDS: &str =
    "SELECT (SELECT min(id) FROM river_job), (SELECT max(id) FROM river_job)";

pub(super) const AUDIT: &str =
    "SELECT id, at, actor, action, target, result FROM bgtask_audit WHERE id ";

/// The words in which the databases differ, each up to the value that follows.
pub(super) struct Dialect {
    /// What follows the name of a state that is compared with the column, for its type.
    pub(super) state_type: &'static str,
    /// The condition that a job is one of those whose ids are selected in between.
    pub(super) ids: (&'static str, &'static str),
    /// Conditions that no index is used for.
    pub(super) function: &'static str,
    pub(super) queue: &'static str,
    pub(super) state: &'static str,
    pub(super) key: &'static str,
    /// The condition that an error contains the text in between.
    pub(super) error: (&'static str, &'static str),
}

/// Makes the functions that read for the pages, and write the audit, of one database. Its module has the statements, a `DIALECT`, and the
/// functions `look` and `begin_to_write`. SQLite takes the placeholders of Postgres.
macro_rules! reading {
    (database: $database:ident, sqlx: $sql:ty, connection: $connection:ty, row: $row:ty) => {
        use crate::engine::inspect::{
            ARGUMENTS_READ, AUDIT_KEPT, Audited, COUNTED, Candidates, Count, Dead, Detail, GROUPED,
            Held, LISTED, LOOKED_THROUGH, Listed, Page, QUEUES, Queue, Scheduled, Search,
            WAITING_READ, Worker,
        };
        use crate::engine::reading::{AUDIT, Dialect, ENDS};
        use crate::engine::row::{name_of, state_of};
        use crate::operate::WorkerInfo;

        fn state(row: &$row, at: usize) -> Result<bgtask::durable::JobState, Error> {
            Ok(state_of(row.try_get::<&str, _>(at)?))
        }

        fn listed(row: &$row) -> Result<Listed, Error> {
            Ok(Listed {
                id: row.try_get(0)?,
                function: row.try_get(1)?,
                queue: row.try_get(2)?,
                state: state(row, 3)?,
                attempts: row.try_get(4)?,
                max_attempts: row.try_get(5)?,
                at: row.try_get(6)?,
                error: row.try_get(7)?,
            })
        }

        fn detail(row: &$row) -> Result<Detail, Error> {
            let progress: Option<String> = row.try_get(16)?;
            Ok(Detail {
                job: listed(row)?,
                priority: row.try_get(8)?,
                crashes: row.try_get(9)?,
                created_at: row.try_get(10)?,
                scheduled_at: row.try_get(11)?,
                attempted_at: row.try_get(12)?,
                finalized_at: row.try_get(13)?,
                errors: row.try_get(14)?,
                workers: row.try_get(15)?,
                progress: progress.and_then(|progress| serde_json::from_str(&progress).ok()),
                is_cancelling: row.try_get(17)?,
                arguments: row.try_get(18)?,
                output: row.try_get(19)?,
            })
        }

        fn queue(row: &$row) -> Result<Queue, Error> {
            Ok(Queue {
                name: row.try_get(0)?,
                is_paused: row.try_get(1)?,
                waiting: Count::of(row.try_get(2)?),
                running: Count::of(row.try_get(3)?),
                oldest: row.try_get(4)?,
            })
        }

        fn worker(row: &$row) -> Result<Worker, Error> {
            let declared = WorkerInfo::new(row.try_get(0)?, row.try_get(1)?);
            Ok(Worker {
                id: declared.id,
                host: declared.host,
                queues: declared.queues,
                started_at: row.try_get(2)?,
                beat_age: row.try_get(3)?,
            })
        }

        fn held(row: &$row) -> Result<Held, Error> {
            Ok(Held {
                id: row.try_get(0)?,
                function: row.try_get(1)?,
                worker: row.try_get::<Option<String>, _>(2)?.unwrap_or_default(),
            })
        }

        fn dead(row: &$row) -> Result<Dead, Error> {
            Ok(Dead {
                id: row.try_get(0)?,
                function: row.try_get(1)?,
                at: row.try_get(2)?,
                error: row.try_get::<Option<String>, _>(3)?.unwrap_or_default(),
            })
        }

        fn scheduled(row: &$row) -> Result<Scheduled, Error> {
            let job: Option<i64> = row.try_get(3)?;
            let state: Option<&str> = row.try_get(4)?;
            Ok(Scheduled {
                function: row.try_get(0)?,
                definition: row.try_get(1)?,
                last_tick: row.try_get(2)?,
                job: job.map(|job| (job, state.map(state_of))),
                paused_at: row.try_get(5)?,
                paused_by: row.try_get(6)?,
                resumed_at: row.try_get(7)?,
            })
        }

        fn audited(row: &$row) -> Result<Audited, Error> {
            Ok(Audited {
                id: row.try_get(0)?,
                at: row.try_get(1)?,
                actor: row.try_get(2)?,
                action: row.try_get(3)?,
                target: row.try_get(4)?,
                result: row.try_get(5)?,
            })
        }

        impl $database {
            pub(in crate::engine) async fn counts(&self) -> Result<Vec<(JobState, Count)>, Error> {
                let mut look = self.look().await?;
                let rows = sqlx::query(COUNTS)
                    .bind(COUNTED)
                    .fetch_all(&mut *look)
                    .await?;
                let count = |row: &$row| -> Result<_, Error> {
                    Ok((state(row, 0)?, Count::of(row.try_get(1)?)))
                };
                rows.iter().map(count).collect()
            }

            pub(in crate::engine) async fn page(&self, search: &Search) -> Result<Page, Error> {
                let mut look = self.look().await?;
                let query = query_of(&mut look, COLUMNS, search, LISTED + 1).await?;
                let Some((mut query, low)) = query else {
                    return Ok(Page::default());
                };
                let rows = query.build().fetch_all(&mut *look).await?;
                let jobs: Result<_, Error> = rows.iter().map(listed).collect();
                Ok(Page::of(jobs?, low))
            }

            pub(in crate::engine) async fn candidates(
                &self,
                search: &Search,
            ) -> Result<Candidates, Error> {
                let mut look = self.look().await?;
                let query = query_of(&mut look, WITH_ARGUMENTS, search, ARGUMENTS_READ).await?;
                let Some((mut query, low)) = query else {
                    return Ok(Candidates::default());
                };
                let rows = query.build().fetch_all(&mut *look).await?;
                let candidate = |row: &$row| Ok((listed(row)?, row.try_get(8)?));
                let jobs: Result<Vec<_>, Error> = rows.iter().map(candidate).collect();
                let jobs = jobs?;
                let last = jobs.last().filter(|_| jobs.len() == ARGUMENTS_READ);
                let next = last.map(|(job, _)| job.id).or(low);
                Ok(Candidates { jobs, next })
            }

            pub(in crate::engine) async fn count_dead(
                &self,
                function: Option<&str>,
                queue: Option<&str>,
            ) -> Result<Count, Error> {
                let mut look = self.look().await?;
                let dead = Search {
                    queue: queue.map(str::to_owned),
                    state: Some(JobState::Dead),
                    ..Search::default()
                };
                let all = count_indexed(&mut look, &dead).await?;
                let Some(function) = function else {
                    return Ok(Count::of(all));
                };
                let mut query = QueryBuilder::new("SELECT count(*) FROM river_job WHERE ");
                query.push(DIALECT.ids.0);
                push_indexed(&mut query, &dead);
                query.push(DIALECT.ids.1);
                query.push(DIALECT.function).push_bind(function.to_owned());
                let count: i64 = query.build_query_scalar().fetch_one(&mut *look).await?;
                Ok(Count {
                    number: count.unsigned_abs(),
                    has_more: all > COUNTED,
                })
            }

            pub(in crate::engine) async fn detail(
                &self,
                id: i64,
                with_values: bool,
            ) -> Result<Option<Detail>, Error> {
                let mut look = self.look().await?;
                let row = sqlx::query(DETAIL)
                    .bind(with_values)
                    .bind(id)
                    .fetch_optional(&mut *look)
                    .await?;
                row.as_ref().map(detail).transpose()
            }

            pub(in crate::engine) async fn queue_names(&self) -> Result<Vec<String>, Error> {
                let mut look = self.look().await?;
                sqlx::query_scalar(QUEUE_NAMES)
                    .bind(QUEUES as i64)
                    .fetch_all(&mut *look)
                    .await
            }

            pub(in crate::engine) async fn page_of_queues(
                &self,
                names: &[String],
            ) -> Result<Vec<Queue>, Error> {
                let mut look = self.look().await?;
                let rows = sqlx::query(QUEUE)
                    .bind(bound(names)?)
                    .bind(COUNTED)
                    .fetch_all(&mut *look)
                    .await?;
                rows.iter().map(queue).collect()
            }

            pub(in crate::engine) async fn waiting_functions(
                &self,
                queue: &str,
            ) -> Result<Vec<String>, Error> {
                let mut look = self.look().await?;
                sqlx::query_scalar(WAITING)
                    .bind(queue)
                    .bind(WAITING_READ)
                    .fetch_all(&mut *look)
                    .await
            }

            pub(in crate::engine) async fn all_workers(&self) -> Result<Vec<Worker>, Error> {
                self.read(WORKERS, worker).await
            }

            pub(in crate::engine) async fn held(&self) -> Result<Vec<Held>, Error> {
                self.read(HELD, held).await
            }

            pub(in crate::engine) async fn latest_dead(&self) -> Result<Vec<Dead>, Error> {
                self.read(DEAD, dead).await
            }

            pub(in crate::engine) async fn all_schedules(&self) -> Result<Vec<Scheduled>, Error> {
                self.read(SCHEDULES, scheduled).await
            }

            /// Reads up to [`GROUPED`] rows.
            async fn read<T>(
                &self,
                statement: &'static str,
                row: fn(&$row) -> Result<T, Error>,
            ) -> Result<Vec<T>, Error> {
                let mut look = self.look().await?;
                let rows = sqlx::query(statement).bind(GROUPED).fetch_all(&mut *look);
                rows.await?.iter().map(row).collect()
            }

            pub(in crate::engine) async fn begin_audit(
                &self,
                actor: &str,
                action: &str,
                target: &str,
            ) -> Result<i64, Error> {
                let mut transaction = self.begin_to_write().await?;
                let id: i64 = sqlx::query_scalar(BEGUN)
                    .bind(actor)
                    .bind(action)
                    .bind(target)
                    .fetch_one(&mut *transaction)
                    .await?;
                sqlx::query("DELETE FROM bgtask_audit WHERE id <= $1")
                    .bind(id - AUDIT_KEPT)
                    .execute(&mut *transaction)
                    .await?;
                transaction.commit().await?;
                Ok(id)
            }

            pub(in crate::engine) async fn end_audit(
                &self,
                id: i64,
                result: &str,
            ) -> Result<(), Error> {
                sqlx::query("UPDATE bgtask_audit SET result = $1 WHERE id = $2")
                    .bind(result)
                    .bind(id)
                    .execute(&self.pool)
                    .await
                    .map(drop)
            }

            pub(in crate::engine) async fn audit(
                &self,
                before: Option<i64>,
            ) -> Result<Vec<Audited>, Error> {
                let mut look = self.look().await?;
                let mut query = QueryBuilder::new(AUDIT);
                query.push("< ").push_bind(before.unwrap_or(i64::MAX));
                query.push(" ORDER BY id DESC LIMIT ");
                query.push_bind(LISTED as i64 + 1);
                let rows = query.build().fetch_all(&mut *look).await?;
                rows.iter().map(audited).collect()
            }

            pub(in crate::engine) async fn audit_entry(
                &self,
                id: i64,
            ) -> Result<Option<Audited>, Error> {
                let mut look = self.look().await?;
                let mut query = QueryBuilder::new(AUDIT);
                query.push("= ").push_bind(id);
                let row = query.build().fetch_optional(&mut *look).await?;
                row.as_ref().map(audited).transpose()
            }
        }

        /// Counts up to one more than [`COUNTED`] of the jobs that an index has: those of a state, or of a function.
        async fn count_indexed(look: &mut $connection, search: &Search) -> Result<i64, Error> {
            let mut query = QueryBuilder::new("SELECT count(*) FROM (");
            push_indexed(&mut query, search);
            query.push(") AS counted");
            query.build_query_scalar().fetch_one(look).await
        }

        /// Returns the query of the jobs of a search, and the id down to which it looks through the jobs if there are others below it. `None`
        /// if there is no job at all.
        async fn query_of(
            look: &mut $connection,
            columns: &str,
            search: &Search,
            limit: usize,
        ) -> Result<Option<(QueryBuilder<$sql>, Option<i64>)>, Error> {
            let is_indexed = search.state.is_some() || search.function.is_some();
            if is_indexed && count_indexed(&mut *look, search).await? <= COUNTED {
                return Ok(Some((indexed_page(columns, search, limit), None)));
            }
            let (first, last): (Option<i64>, Option<i64>) =
                sqlx::query_as(ENDS).fetch_one(look).await?;
            let (Some(first), Some(last)) = (first, last) else {
                return Ok(None);
            };
            let before = search
                .before
                .unwrap_or(i64::MAX)
                .min(last.saturating_add(1));
            let low = before.saturating_sub(LOOKED_THROUGH);
            let query = page_between(columns, search, (low, before), limit);
            Ok(Some((query, (low > first).then_some(low))))
        }

        /// Adds the selection of the jobs of a state, perhaps in a queue, or of a function: up to one more than [`COUNTED`], by an index.
        fn push_indexed(query: &mut QueryBuilder<$sql>, search: &Search) {
            query.push("SELECT id FROM river_job WHERE ");
            if let Some(state) = search.state {
                query
                    .push("state = ")
                    .push_bind(name_of(state))
                    .push(DIALECT.state_type);
                if let Some(queue) = &search.queue {
                    query.push(" AND queue = ").push_bind(queue.clone());
                }
            } else {
                query
                    .push("kind = ")
                    .push_bind(search.function.clone().unwrap_or_default());
            }
            query.push(" LIMIT ").push_bind(COUNTED + 1);
        }

        /// Returns the query of a page whose jobs an index has.
        fn indexed_page(columns: &str, search: &Search, limit: usize) -> QueryBuilder<$sql> {
            let mut query = QueryBuilder::new(columns);
            query.push(DIALECT.ids.0);
            push_indexed(&mut query, search);
            query.push(DIALECT.ids.1);
            if let Some(before) = search.before {
                query.push(" AND id < ").push_bind(before);
            }
            push_conditions(&mut query, search, limit);
            query
        }

        /// Returns the query of a page whose jobs are looked through by their ids: from `low` on, and below `before`.
        fn page_between(
            columns: &str,
            search: &Search,
            (low, before): (i64, i64),
            limit: usize,
        ) -> QueryBuilder<$sql> {
            let mut query = QueryBuilder::new(columns);
            query.push("id < ").push_bind(before);
            query.push(" AND id >= ").push_bind(low);
            push_conditions(&mut query, search, limit);
            query
        }

        /// Adds the conditions of a search, the order and the limit.
        fn push_conditions(query: &mut QueryBuilder<$sql>, search: &Search, limit: usize) {
            if let Some(function) = &search.function {
                query.push(DIALECT.function).push_bind(function.clone());
            }
            if let Some(queue) = &search.queue {
                query.push(DIALECT.queue).push_bind(queue.clone());
            }
            if let Some(state) = search.state {
                query.push(DIALECT.state).push_bind(name_of(state));
            }
            if let Some(key) = &search.key {
                query.push(DIALECT.key).push_bind(key.clone());
            }
            if let Some(error) = &search.error {
                query
                    .push(DIALECT.error.0)
                    .push_bind(error.clone())
                    .push(DIALECT.error.1);
            }
            query.push(" ORDER BY id DESC LIMIT ");
            query.push_bind(limit as i64);
        }
    };
}
pub(super) use reading;
