//! The store in SQLite: one writer connection owned by one task, and a pool of readers.
//!
//! `open.rs` opens, `writer.rs` queues and commits, `batch.rs`, `plan.rs` and `append.rs` are the group commit; the other files hold
//! the statements of one noun each. All SQL text is in this folder, one function a statement or transaction.

mod append;
mod batch;
mod chain;
mod epoch;
mod erase;
mod error;
mod grant;
mod log;
mod member;
mod moving;
mod open;
mod plan;
mod room;
mod row;
mod step;
mod texts;
mod token;
mod tombstone;
mod writer;

use std::time::Duration;

use snug_protocol::Envelope;
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnection;

pub use open::SqliteOptions;
use writer::Writer;

use crate::{AppendError, Appended, Durability, StoreError};

/// How long a caller waits for an answer of the database.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// The database's clock.
const NOW_MS: &str = "select cast(unixepoch('subsec') * 1000 as integer)";

pub(crate) struct Sqlite {
    readers: SqlitePool,
    writer: Writer,
    durability: Durability,
}

/// Waits for `answer` as long as a caller may.
pub(crate) async fn answered<T, E: From<StoreError>>(answer: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    match tokio::time::timeout(ANSWER_LIMIT, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(StoreError::unavailable("the database did not answer in time").into()),
    }
}

async fn select_now_ms(connection: &mut SqliteConnection) -> Result<u64, StoreError> {
    let now_ms: i64 = sqlx::query_scalar(NOW_MS).fetch_one(connection).await?;
    u64::try_from(now_ms).map_err(|_| StoreError::corrupt("the database's clock is before 1970"))
}

impl Sqlite {
    pub const fn durability(&self) -> Durability {
        self.durability
    }

    /// The writer closes the readers when it has finished, so that its checkpoint finds nobody in the way.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }

    pub async fn append(&self, envelope: Envelope) -> Result<Appended, AppendError> {
        self.writer.append(envelope).await
    }

    pub async fn check(&self) -> Result<(), StoreError> {
        if self.writer.has_ended() {
            return Err(StoreError::closed());
        }
        self.now_ms().await.map(drop)
    }

    pub async fn now_ms(&self) -> Result<u64, StoreError> {
        select_now_ms(&mut *self.readers.acquire().await?).await
    }

    pub async fn pepper_checks(&self) -> Result<Vec<(u32, [u8; 32])>, StoreError> {
        let rows =
            sqlx::query("select number, check_value from pepper order by number").fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok((row::small(row, "number")?, row::bytes(row, "check_value")?))).collect()
    }

    pub async fn add_pepper_check(&self, number: u32, check: [u8; 32]) -> Result<(), StoreError> {
        const INSERT: &str = "insert into pepper (number, check_value) values ($1, $2) on conflict (number) do nothing";
        self.writer
            .write(move |connection| {
                Box::pin(async move {
                    sqlx::query(INSERT).bind(i64::from(number)).bind(&check[..]).execute(connection).await?;
                    Ok(())
                })
            })
            .await
    }
}
