//! The store in Postgres: a few writer tasks with a connection each, and a pool of readers, on each of any number of nodes.
//!
//! Here is what is Postgres's own: reading an address, opening and checking a database, sessions, locks of rows, lists of rows, how a batch is written, and the
//! words in which its SQL differs. The statements and the writer are those of `statements/`, compiled for Postgres.

#[macro_use]
mod dialect;
mod address;
mod durability;
#[cfg(test)]
mod explain;
mod growth;
mod lists;
mod locks;
mod open;
mod schema;
mod session;
#[path = "../statements/mod.rs"]
mod statements;

pub use open::PostgresOptions;
pub(crate) use open::open_to_fill;
pub(crate) use schema::is_unfinished;
pub(crate) use statements::{Database as Postgres, answered};

type Connection = sqlx::postgres::PgConnection;
type Row = sqlx::postgres::PgRow;
type Pool = sqlx::PgPool;
type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;
