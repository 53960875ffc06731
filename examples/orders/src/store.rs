//! The shop's tables, on SQLite or Postgres. In a program with one database, a pool takes the place of the enum.
//! Knows nothing of the web.

use crate::order::Order;
use crate::transaction::{Transaction, on_either};
use bgtask::durable::JobId;
use bgtask_durable::sqlx::{self, PgPool, SqlitePool};
use serde::Serialize;

const TABLES: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS shop_order (
        id TEXT PRIMARY KEY, item TEXT NOT NULL, quantity BIGINT NOT NULL, job BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS shop_receipt (
        order_id TEXT PRIMARY KEY, body TEXT NOT NULL, attempt BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS shop_charge (
        idempotency_key TEXT PRIMARY KEY, order_id TEXT NOT NULL, cents BIGINT NOT NULL)",
];

#[derive(Clone)]
pub(crate) enum Store {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

pub(crate) struct Placed {
    pub(crate) order: Order,
    pub(crate) job: JobId,
}

pub(crate) struct Receipt {
    pub(crate) body: String,
    /// The number of the attempt that rendered it.
    pub(crate) attempt: u32,
}

#[derive(Serialize)]
pub(crate) struct Counts {
    pub(crate) orders: i64,
    pub(crate) receipts: i64,
    pub(crate) charges: i64,
    /// The orders with more than one charge.
    pub(crate) charged_twice: i64,
}

impl Store {
    /// Connects to a database that `bgtask_durable` has opened, and creates the shop's tables.
    pub(crate) async fn open(url: &str) -> sqlx::Result<Self> {
        let store = if url.starts_with("postgres") {
            Self::Postgres(PgPool::connect(url).await?)
        } else {
            Self::Sqlite(SqlitePool::connect(url).await?)
        };
        let mut transaction = store.begin().await?;
        if let Transaction::Postgres(transaction) = &mut transaction {
            // Two processes that create one table at once would fail.
            let lock = sqlx::query("SELECT pg_advisory_xact_lock(hashtext('shop'))");
            lock.execute(&mut **transaction).await?;
        }
        for table in TABLES {
            transaction.create(table).await?;
        }
        transaction.commit().await?;
        Ok(store)
    }

    pub(crate) async fn begin(&self) -> sqlx::Result<Transaction> {
        Ok(match self {
            // Takes the lock for writing at the start, so the transaction waits for it there, and never fails later.
            Self::Sqlite(pool) => Transaction::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Transaction::Postgres(pool.begin().await?),
        })
    }

    pub(crate) async fn order(&self, id: &str) -> sqlx::Result<Option<Placed>> {
        let sql = "SELECT id, item, quantity, job FROM shop_order WHERE id = $1";
        let row = on_either!(self, pool => sqlx::query_as(sql).bind(id).fetch_optional(pool).await);
        Ok(row?.map(Placed::from_row))
    }

    /// Returns the newest orders first: the ids of jobs only grow.
    pub(crate) async fn newest(&self, limit: i64) -> sqlx::Result<Vec<Placed>> {
        let sql = "SELECT id, item, quantity, job FROM shop_order ORDER BY job DESC LIMIT $1";
        let rows = on_either!(self, pool => sqlx::query_as(sql).bind(limit).fetch_all(pool).await);
        Ok(rows?.into_iter().map(Placed::from_row).collect())
    }

    pub(crate) async fn receipt(&self, order: &str) -> sqlx::Result<Option<Receipt>> {
        let sql = "SELECT body, attempt FROM shop_receipt WHERE order_id = $1";
        let row: Option<(String, i64)> =
            on_either!(self, pool => sqlx::query_as(sql).bind(order).fetch_optional(pool).await)?;
        Ok(row.map(|(body, attempt)| Receipt {
            body,
            attempt: attempt as u32,
        }))
    }

    pub(crate) async fn counts(&self) -> sqlx::Result<Counts> {
        let sql = "SELECT (SELECT count(*) FROM shop_order), (SELECT count(*) FROM shop_receipt),
            (SELECT count(*) FROM shop_charge), (SELECT count(*) FROM (
                SELECT order_id FROM shop_charge GROUP BY order_id HAVING count(*) > 1) AS twice)";
        let row = on_either!(self, pool => sqlx::query_as(sql).fetch_one(pool).await)?;
        let (orders, receipts, charges, charged_twice) = row;
        Ok(Counts {
            orders,
            receipts,
            charges,
            charged_twice,
        })
    }

    pub(crate) async fn is_charged(&self, key: &str) -> sqlx::Result<bool> {
        let sql = "SELECT count(*) FROM shop_charge WHERE idempotency_key = $1";
        let (count,): (i64,) =
            on_either!(self, pool => sqlx::query_as(sql).bind(key).fetch_one(pool).await)?;
        Ok(count > 0)
    }

    pub(crate) async fn charge(&self, key: &str, order: &Order) -> sqlx::Result<()> {
        let sql = "INSERT INTO shop_charge VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        on_either!(self, pool => {
            let insert = sqlx::query(sql).bind(key).bind(&order.id).bind(order.cents());
            insert.execute(pool).await?;
        });
        Ok(())
    }
}

impl Placed {
    fn from_row((id, item, quantity, job): (String, String, i64, i64)) -> Self {
        let order = Order { id, item, quantity };
        Self {
            order,
            job: JobId::new(job),
        }
    }
}
