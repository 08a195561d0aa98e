//! What an operator asks for and does, beside nodes that are running: so a page at a time, and nothing that holds others up for long.

use std::time::Duration;

use snug_protocol::{DeviceId, HistoryId, RoomId, Seq};

use super::{Database, dialect, row};
use crate::rules::ms;
use crate::sql::Scope;
use crate::sql::list::stored;
use crate::{RoomSummary, SignIn, StoreError};

/// Tokens that one transaction removes.
const BATCH_TOKENS: i64 = 500;

impl Database {
    pub async fn room_summaries(&self, after: Option<RoomId>, limit: usize) -> Result<Vec<RoomSummary>, StoreError> {
        const SELECT: &str = "select room.room, room.head, room.created_at_ms,
                (select count(*) from member where member.room = room.room and member.state = 1) as members,
                (select entry.at_ms from entry where entry.room = room.room and entry.seq = room.head) as active_at_ms
             from room where room.room > $1 order by room.room limit $2";
        let after = after.map_or_else(Vec::new, |room| room.0.to_vec());
        let query = sqlx::query(SELECT).bind(after).bind(row::limit(limit));
        let rows = query.fetch_all(&self.readers).await?;
        let summary = |found| {
            let created_at_ms = row::number(found, "created_at_ms")?;
            Ok(RoomSummary {
                room: RoomId(row::bytes(found, "room")?),
                head: row::seq(found, "head")?,
                members: row::number(found, "members")?,
                created_at_ms,
                active_at_ms: row::optional_number(found, "active_at_ms")?.unwrap_or(created_at_ms),
            })
        };
        rows.iter().map(summary).collect()
    }

    pub async fn bytes_between(&self, room: RoomId, after: Seq, until: Seq) -> Result<u64, StoreError> {
        const SELECT: &str = "select coalesce(sum(length(envelope)), 0) as bytes from entry
             where room = $1 and seq > $2 and seq <= $3";
        let query = sqlx::query(SELECT).bind(&room.0[..]).bind(stored(after.0)).bind(stored(until.0));
        row::number(&query.fetch_one(&self.readers).await?, "bytes")
    }

    pub async fn histories(&self, after: Option<RoomId>, limit: usize) -> Result<Vec<(RoomId, HistoryId)>, StoreError> {
        const SELECT: &str = "select room, history from room where room > $1 order by room limit $2";
        let after = after.map_or_else(Vec::new, |room| room.0.to_vec());
        let rows = sqlx::query(SELECT).bind(after).bind(row::limit(limit)).fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok((RoomId(row::bytes(row, "room")?), HistoryId(row::bytes(row, "history")?)))).collect()
    }

    pub async fn sign_ins(&self, after: Option<[u8; 32]>, limit: usize) -> Result<Vec<SignIn>, StoreError> {
        const SELECT: &str = "select hash, device, idle_ms, expires_at_ms, ends_at_ms from token
             where hash > $1 order by hash limit $2";
        let after = after.map_or_else(Vec::new, |hash| hash.to_vec());
        let rows = sqlx::query(SELECT).bind(after).bind(row::limit(limit)).fetch_all(&self.readers).await?;
        let sign_in = |found| {
            let expires_at_ms = row::number(found, "expires_at_ms")?;
            Ok(SignIn {
                hash: row::bytes(found, "hash")?,
                device: DeviceId(row::bytes(found, "device")?),
                used_at_ms: expires_at_ms.saturating_sub(row::number(found, "idle_ms")?),
                expires_at_ms,
                ends_at_ms: row::number(found, "ends_at_ms")?,
            })
        };
        rows.iter().map(sign_in).collect()
    }

    /// Removes some tokens; returns how many.
    pub async fn remove_tokens(&self) -> Result<u64, StoreError> {
        const DELETE: &str = "delete from token where hash in (select hash from token order by hash limit $1)";
        self.writer
            .write(Scope::Elsewhere, move |connection| {
                Box::pin(async move {
                    Ok(sqlx::query(DELETE).bind(BATCH_TOKENS).execute(connection).await?.rows_affected())
                })
            })
            .await
    }

    pub async fn raise_access_version(&self, room: RoomId) -> Result<(), StoreError> {
        const RAISE: &str = "update room set access_version = access_version + 1 where room = $1";
        self.writer
            .write(Scope::Room(room), move |connection| {
                Box::pin(async move {
                    sqlx::query(RAISE).bind(&room.0[..]).execute(connection).await?;
                    Ok(())
                })
            })
            .await
    }

    pub async fn takes_turn(&self, chore: &'static str, span: Duration) -> Result<bool, StoreError> {
        if !dialect::IS_SHARED {
            return Ok(true);
        }
        const TAKE: &str = concat!(
            "insert into turn (chore, until_ms) values ($1, ",
            now_ms!(),
            " + $2) on conflict (chore) do update set until_ms = excluded.until_ms where turn.until_ms <= ",
            now_ms!(),
            " returning chore"
        );
        let span_ms = stored(ms(span));
        self.writer
            .write(Scope::Elsewhere, move |connection| {
                Box::pin(async move {
                    let taken = sqlx::query(TAKE).bind(chore).bind(span_ms).fetch_optional(connection).await?;
                    Ok(taken.is_some())
                })
            })
            .await
    }
}
