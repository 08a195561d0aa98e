//! The store in SQLite: one writer connection owned by one task, and a pool of readers.
//!
//! Here is what is SQLite's own: opening a file, backing it up and putting it back, lists of rows, how a batch is written, and the words in which its SQL differs. The statements and the writer
//! are those of `statements/`, compiled for SQLite.

#[macro_use]
mod dialect;
mod backup;
#[cfg(test)]
mod explain;
mod growth;
mod lists;
mod locks;
mod open;
#[path = "../statements/mod.rs"]
mod statements;

pub use backup::{BackedUp, BackupError, Restored, back_up, restore};
pub use open::SqliteOptions;
pub(crate) use open::open_to_read;
pub(crate) use statements::{Database as Sqlite, answered};

type Connection = sqlx::sqlite::SqliteConnection;
type Row = sqlx::sqlite::SqliteRow;
type Pool = sqlx::SqlitePool;
type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;
