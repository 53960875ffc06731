//! The database of a round: a trigger of the test records each change of a job. Reads and never writes, once the trigger is there.
//! Must never know the invariants.

use super::support::store::LIMIT;
use bgtask_durable::sqlx::{self, AssertSqlSafe, ConnectOptions as _, Connection as _};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// One change of one job, in the order in which they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) job: i64,
    pub(crate) number: u32,
    /// `None` if the job was inserted.
    pub(crate) old: Option<Side>,
    /// `None` if the job was deleted.
    pub(crate) new: Option<Side>,
    /// It changed the output.
    pub(crate) is_output: bool,
}

/// A job before or after a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) state: String,
    pub(crate) attempt: u32,
    pub(crate) version: u64,
    pub(crate) crashes: u32,
    pub(crate) errors: usize,
    /// The process that claimed it last.
    pub(crate) process: Option<u32>,
}

/// A job when all is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) number: u32,
    pub(crate) state: String,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    pub(crate) crashes: u32,
    pub(crate) failure: String,
    /// The run that its output names.
    pub(crate) run: Option<String>,
    /// The texts of its errors.
    pub(crate) errors: Vec<String>,
    pub(crate) queue: String,
}

/// A row as a [`Side`], where `ROW` is its name.
const SIDE_OF_SQLITE: &str = "json_array(ROW.state, ROW.attempt, coalesce(json_extract(ROW.metadata, '$.\"bgtask:version\"'), 0),
    coalesce(json_extract(ROW.metadata, '$.\"bgtask:crashes\"'), 0), json_array_length(coalesce(ROW.errors, '[]')),
    json_extract(ROW.attempted_by, '$[#-1]'))";
const SIDE_OF_POSTGRES: &str = "jsonb_build_array(ROW.state, ROW.attempt, coalesce((ROW.metadata ->> 'bgtask:version')::bigint, 0),
    coalesce((ROW.metadata ->> 'bgtask:crashes')::bigint, 0), cardinality(coalesce(ROW.errors, '{}')),
    ROW.attempted_by[array_upper(ROW.attempted_by, 1)])::text";

const TRIGGERS_OF_SQLITE: &str = "
CREATE TABLE chaos_change (seq INTEGER PRIMARY KEY AUTOINCREMENT, job, number, old, new, is_output);
CREATE TRIGGER chaos_inserted AFTER INSERT ON river_job BEGIN
    INSERT INTO chaos_change (job, number, new, is_output)
    VALUES (NEW.id, json_extract(NEW.args, '$.number'), {NEW}, 0);
END;
CREATE TRIGGER chaos_updated AFTER UPDATE ON river_job
WHEN OLD.state <> NEW.state OR OLD.errors IS NOT NEW.errors OR OLD.attempt <> NEW.attempt
    OR (OLD.metadata -> '$.output') IS NOT (NEW.metadata -> '$.output') BEGIN
    INSERT INTO chaos_change (job, number, old, new, is_output)
    VALUES (NEW.id, json_extract(NEW.args, '$.number'), {OLD}, {NEW},
        (OLD.metadata -> '$.output') IS NOT (NEW.metadata -> '$.output'));
END;
CREATE TRIGGER chaos_deleted AFTER DELETE ON river_job BEGIN
    INSERT INTO chaos_change (job, number, old, is_output)
    VALUES (OLD.id, json_extract(OLD.args, '$.number'), {OLD}, 0);
END;";

const TRIGGERS_OF_POSTGRES: &str = "
CREATE TABLE chaos_change (seq bigserial PRIMARY KEY, job bigint, number bigint, old text, new text, is_output int);
CREATE FUNCTION chaos_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO chaos_change (job, number, new, is_output)
        VALUES (NEW.id, (NEW.args ->> 'number')::bigint, {NEW}, 0);
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO chaos_change (job, number, old, is_output)
        VALUES (OLD.id, (OLD.args ->> 'number')::bigint, {OLD}, 0);
    ELSIF OLD.state <> NEW.state OR OLD.errors IS DISTINCT FROM NEW.errors OR OLD.attempt <> NEW.attempt
        OR (OLD.metadata -> 'output') IS DISTINCT FROM (NEW.metadata -> 'output') THEN
        INSERT INTO chaos_change (job, number, old, new, is_output)
        VALUES (NEW.id, (NEW.args ->> 'number')::bigint, {OLD}, {NEW},
            ((OLD.metadata -> 'output') IS DISTINCT FROM (NEW.metadata -> 'output'))::int);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_note AFTER INSERT OR UPDATE OR DELETE ON river_job FOR EACH ROW EXECUTE FUNCTION chaos_note();";

const ROWS_OF_SQLITE: &str = "SELECT CAST(id AS TEXT), CAST(json_extract(args, '$.number') AS TEXT), state, CAST(attempt AS TEXT),
    CAST(max_attempts AS TEXT), CAST(coalesce(json_extract(metadata, '$.\"bgtask:crashes\"'), 0) AS TEXT),
    coalesce(json_extract(metadata, '$.\"bgtask:failure\"'), ''), json_extract(metadata, '$.output.run'),
    json(coalesce(errors, '[]')), queue FROM river_job ORDER BY id";
const ROWS_OF_POSTGRES: &str = "SELECT id::text, args ->> 'number', state::text, attempt::text,
    max_attempts::text, coalesce(metadata ->> 'bgtask:crashes', '0'),
    coalesce(metadata ->> 'bgtask:failure', ''), metadata -> 'output' ->> 'run',
    to_jsonb(coalesce(errors, '{}'))::text, queue FROM river_job ORDER BY id";

type Text = Option<String>;

/// The database of a round.
pub(crate) struct Database<'a>(pub(crate) &'a str);

impl Database<'_> {
    fn is_sqlite(&self) -> bool {
        self.0.starts_with("sqlite")
    }

    /// Notes all changes of jobs from now on.
    pub(crate) fn note_changes(&self) {
        let (triggers, side) = if self.is_sqlite() {
            (TRIGGERS_OF_SQLITE, SIDE_OF_SQLITE)
        } else {
            (TRIGGERS_OF_POSTGRES, SIDE_OF_POSTGRES)
        };
        let triggers = ["OLD", "NEW"]
            .into_iter()
            .fold(triggers.to_owned(), |sql, row| {
                sql.replace(&format!("{{{row}}}"), &side.replace("ROW", row))
            });
        self.ask(&triggers);
    }

    /// Breaks every other connection to this database.
    #[cfg(feature = "postgres")]
    pub(crate) fn disconnect(&self) {
        self.ask(
            "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
    }

    /// The jobs that have not ended: their number, and the first of them as a text.
    pub(crate) fn pending(&self) -> (usize, String) {
        let rows = self.ask(
            "SELECT id || ' ' || CAST(state AS text) || ' in ' || queue FROM river_job
             WHERE CAST(state AS text) NOT IN ('completed', 'discarded', 'cancelled') ORDER BY id",
        );
        let first: Vec<_> = rows.iter().take(10).flatten().flatten().cloned().collect();
        (rows.len(), first.join(", "))
    }

    pub(crate) fn changes(&self) -> Vec<Change> {
        let rows = self.ask(
            "SELECT CAST(job AS text), CAST(number AS text), old, new, CAST(is_output AS text) FROM chaos_change ORDER BY seq",
        );
        merged(rows.iter().map(|row| change(row)).collect())
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        let rows = if self.is_sqlite() {
            self.ask(ROWS_OF_SQLITE)
        } else {
            self.ask(ROWS_OF_POSTGRES)
        };
        rows.iter().map(|row| read(row)).collect()
    }

    /// How often each number stands in the table of the program.
    pub(crate) fn bookings(&self) -> BTreeMap<u32, usize> {
        let mut bookings = BTreeMap::new();
        for row in self.ask("SELECT CAST(number AS text) FROM booking") {
            *bookings.entry(number(&row[0])).or_default() += 1;
        }
        bookings
    }

    /// Runs statements, until the database is there.
    fn ask(&self, sql: &str) -> Vec<Vec<Text>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let begin = Instant::now();
        loop {
            match runtime.block_on(self.try_to_ask(sql)) {
                Ok(rows) => return rows,
                Err(error) => assert!(begin.elapsed() < LIMIT, "{sql}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    async fn try_to_ask(&self, sql: &str) -> Result<Vec<Vec<Text>>, sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        macro_rules! ask {
            ($options:ty) => {{
                let options: $options = self.0.parse()?;
                let mut connection = options.connect().await?;
                let rows = sqlx::raw_sql(sql).fetch_all(&mut connection).await;
                connection.close().await?;
                rows?.iter().map(texts).collect()
            }};
        }
        #[cfg(feature = "sqlite")]
        if self.is_sqlite() {
            return ask!(sqlx::sqlite::SqliteConnectOptions);
        }
        #[cfg(feature = "postgres")]
        return ask!(sqlx::postgres::PgConnectOptions);
        #[cfg(not(feature = "postgres"))]
        unreachable!("a database of another kind")
    }
}

fn texts<'r, R: sqlx::Row>(row: &'r R) -> Result<Vec<Text>, sqlx::Error>
where
    usize: sqlx::ColumnIndex<R>,
    Text: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    (0..row.len()).map(|column| row.try_get(column)).collect()
}

fn number<T: std::str::FromStr>(text: &Text) -> T {
    let number = text.as_ref().and_then(|text| text.parse().ok());
    number.unwrap_or_else(|| panic!("a number: {text:?}"))
}

fn read(row: &[Text]) -> Row {
    let text = |column: usize| row[column].clone().unwrap_or_default();
    let errors: Vec<serde_json::Value> = serde_json::from_str(&text(8)).expect("a list");
    Row {
        id: number(&row[0]),
        number: number(&row[1]),
        state: text(2),
        attempt: number(&row[3]),
        max_attempts: number(&row[4]),
        crashes: number(&row[5]),
        failure: text(6),
        run: row[7].clone(),
        errors: errors
            .iter()
            .map(|error| error["error"].as_str().unwrap_or_default().to_owned())
            .collect(),
        queue: text(9),
    }
}

fn change(row: &[Text]) -> Change {
    Change {
        job: number(&row[0]),
        number: number(&row[1]),
        old: row[2].as_ref().map(|side| parse(side)),
        new: row[3].as_ref().map(|side| parse(side)),
        is_output: row[4].as_deref() == Some("1"),
    }
}

fn parse(side: &str) -> Side {
    let side: Vec<serde_json::Value> = serde_json::from_str(side).expect("a list");
    let number = |at: usize| side[at].as_u64().expect("a number");
    let worker = side[5]
        .as_str()
        .and_then(|worker| worker.strip_prefix("bgtask:"));
    Side {
        state: side[0].as_str().expect("a state").to_owned(),
        attempt: number(1).try_into().expect("it is small"),
        version: number(2),
        crashes: number(3).try_into().expect("it is small"),
        errors: number(4).try_into().expect("it is small"),
        process: worker.map(|worker| {
            let (process, _) = worker.split_once('-').expect("a process and a life");
            process.parse().expect("a number")
        }),
    }
}

/// Makes one change of two: on SQLite a second trigger cancels a job in the statement that takes it out of `running`, and the order
/// in which the two are noted is that of the triggers. Only that one leaves the version as it is.
fn merged(changes: Vec<Change>) -> Vec<Change> {
    let mut merged: Vec<Change> = Vec::new();
    let mut cancelled: Vec<Change> = Vec::new();
    for change in changes {
        let is_second = matches!((&change.old, &change.new), (Some(old), Some(new))
            if new.state == "cancelled" && old.state != "running" && old.version == new.version);
        if is_second {
            let first = merged
                .iter_mut()
                .rev()
                .find(|first| is_first(first, &change));
            match first {
                Some(first) => first.new = change.new,
                None => cancelled.push(change),
            }
            continue;
        }
        let second = cancelled
            .iter()
            .position(|second| is_first(&change, second));
        match second {
            Some(second) => merged.push(Change {
                new: cancelled.swap_remove(second).new,
                ..change
            }),
            None => merged.push(change),
        }
    }
    merged.extend(cancelled);
    merged
}

fn is_first(first: &Change, second: &Change) -> bool {
    first.job == second.job
        && first.new == second.old
        && first.old.as_ref().is_some_and(|old| old.state == "running")
}

#[test]
fn a_cancellation_in_the_same_statement_is_one_change() {
    let side = |state: &str, version| {
        Some(Side {
            state: state.to_owned(),
            version,
            ..Side::default()
        })
    };
    let change = |old, new| Change {
        job: 1,
        old,
        new,
        ..Change::default()
    };
    let first = change(side("running", 1), side("discarded", 2));
    let second = change(side("discarded", 2), side("cancelled", 2));
    let expected = [change(side("running", 1), side("cancelled", 2))];
    assert_eq!(merged(vec![first.clone(), second.clone()]), expected);
    assert_eq!(merged(vec![second, first]), expected);
}
