//! The SQL of the store, one text for both databases: all statements of it but for opening a database. One function a statement or
//! transaction, a file for each noun; `writer.rs` queues and commits, and `append.rs` is group commit.
//!
//! This folder is compiled twice, as a child of `sqlite/` and of `postgres/`. They give it, by the names imported here, their driver's
//! types, their locks, lists of rows, how a batch is written, and (as macros) the few words in which their SQL differs. So neither a type parameter nor a
//! driver that is chosen at run time goes through the statements.

mod append;
mod chain;
mod epoch;
mod erase;
mod grant;
mod log;
mod member;
mod moving;
mod operating;
mod room;
pub(super) mod row;
mod snapshot;
mod step;
pub(super) mod texts;
mod token;
mod tombstone;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use snug_protocol::frame::EntryFrame;
use snug_protocol::{Envelope, RoomId, Seq};
use tokio_util::task::TaskTracker;

#[cfg(test)]
use super::explain;
use super::{Connection, Pool, Query, Row, dialect, growth, lists, locks, open};
use crate::sql::Scope;
use crate::{AppendError, Appended, BeforeBatch, Durability, StoreError, StoreMetrics};
pub(super) use writer::Writer;

/// An open database.
pub(crate) struct Database {
    readers: Pool,
    writer: Writer,
    durability: Durability,
    /// What everyone asks who connects.
    tokens: token::Tokens,
    follow_states: room::FollowStates,
    tasks: TaskTracker,
}

/// Waits for `answer` as long as a caller may. Not an `async fn`, which would have room for `answer` twice: some are 15 KiB.
pub(crate) fn answered<T, E: From<StoreError>>(
    answer: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, E>> {
    tokio::time::timeout(dialect::ANSWER_LIMIT, answer).map(|answer| match answer {
        Ok(answer) => answer,
        Err(_) => Err(StoreError::unavailable("the database did not answer in time").into()),
    })
}

async fn select_now_ms(connection: &mut Connection) -> Result<u64, StoreError> {
    const SELECT: &str = concat!("select ", now_ms!());
    let now_ms: i64 = sqlx::query_scalar(SELECT).fetch_one(connection).await?;
    u64::try_from(now_ms).map_err(|_| StoreError::corrupt("the database's clock is before 1970"))
}

impl Database {
    pub(super) fn new(readers: Pool, writer: Writer, durability: Durability, tasks: &TaskTracker) -> Self {
        let (tokens, follow_states) = (token::loader(&readers, tasks), room::loader(&readers, tasks));
        Self { readers, writer, durability, tokens, follow_states, tasks: tasks.clone() }
    }

    pub const fn durability(&self) -> Durability {
        self.durability
    }

    pub fn metrics(&self) -> &Arc<StoreMetrics> {
        self.writer.metrics()
    }

    pub fn gather(&self, time: Duration) {
        self.writer.gather(time);
    }

    pub fn before_batch(&self, room: RoomId) -> Option<BeforeBatch> {
        self.writer.before_batch(room)
    }

    pub fn hear(&self, room: RoomId, newest: Seq, entries: &[EntryFrame]) {
        self.writer.hear(room, newest, entries);
    }

    pub fn writes_waiting(&self) -> usize {
        self.writer.waiting()
    }

    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }

    pub fn append(&self, envelope: Envelope) -> impl Future<Output = Result<Appended, AppendError>> + Send + use<> {
        self.writer.append(envelope)
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
            .write(Scope::Elsewhere, move |connection| {
                Box::pin(async move {
                    sqlx::query(INSERT).bind(i64::from(number)).bind(&check[..]).execute(connection).await?;
                    Ok(())
                })
            })
            .await
    }
}
