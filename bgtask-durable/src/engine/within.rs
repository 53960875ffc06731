//! A transaction of the program's, of whichever database. Must never know what is done in it.

use riverqueue::sqlx::{self, Transaction};

/// A transaction of the program's.
pub(crate) enum Within<'t, 'c> {
    #[cfg(feature = "sqlite")]
    Sqlite(&'t mut Transaction<'c, sqlx::Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(&'t mut Transaction<'c, sqlx::Postgres>),
}
