//! A transaction on SQLite or Postgres. In a program with one database, that of sqlx takes the place of the enum.
//! Knows nothing of the web.

use crate::order::Order;
use bgtask::durable::{
    self, BoxFuture, ClaimedJob, CompleteError, EncodedJob, EnqueueError, Enqueued, JobId,
};
use bgtask_durable::sqlx::{self, Postgres, Sqlite};
use serde_json::value::RawValue;
use std::sync::Arc;

pub(crate) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

/// Runs the same code on either database: the SQL is the same, and the types differ.
macro_rules! on_either {
    ($value:expr, $database:ident => $code:expr) => {
        match $value {
            Self::Sqlite($database) => $code,
            Self::Postgres($database) => $code,
        }
    };
}

pub(crate) use on_either;

impl Transaction {
    pub(crate) async fn create(&mut self, table: &'static str) -> sqlx::Result<()> {
        on_either!(self, transaction => { sqlx::query(table).execute(&mut **transaction).await?; });
        Ok(())
    }

    pub(crate) async fn insert_order(&mut self, order: &Order, job: JobId) -> sqlx::Result<()> {
        let sql = "INSERT INTO shop_order VALUES ($1, $2, $3, $4)";
        on_either!(self, transaction => {
            let insert = sqlx::query(sql).bind(&order.id).bind(&order.item);
            let insert = insert.bind(order.quantity).bind(job.get());
            insert.execute(&mut **transaction).await?;
        });
        Ok(())
    }

    pub(crate) async fn insert_receipt(
        &mut self,
        order: &Order,
        body: &str,
        attempt: u32,
    ) -> sqlx::Result<()> {
        let sql = "INSERT INTO shop_receipt VALUES ($1, $2, $3)";
        on_either!(self, transaction => {
            let insert = sqlx::query(sql).bind(&order.id).bind(body).bind(i64::from(attempt));
            insert.execute(&mut **transaction).await?;
        });
        Ok(())
    }

    pub(crate) async fn commit(self) -> sqlx::Result<()> {
        on_either!(self, transaction => transaction.commit().await)
    }
}

/// Passes the transaction on, because `within` and `complete_in` take those of sqlx.
impl<'t> durable::Transaction<'t, ()> for &'t mut Transaction {
    fn enqueue(
        self,
        store: Arc<dyn durable::Store>,
        jobs: Vec<EncodedJob>,
    ) -> BoxFuture<'t, Result<Vec<Enqueued>, EnqueueError>> {
        match self {
            Transaction::Sqlite(transaction) => transaction.enqueue(store, jobs),
            Transaction::Postgres(transaction) => transaction.enqueue(store, jobs),
        }
    }

    fn complete(
        self,
        job: Arc<dyn ClaimedJob>,
        output: Box<RawValue>,
    ) -> BoxFuture<'t, Result<(), CompleteError>> {
        match self {
            Transaction::Sqlite(transaction) => transaction.complete(job, output),
            Transaction::Postgres(transaction) => transaction.complete(job, output),
        }
    }
}
