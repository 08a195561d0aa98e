//! Erasing rooms, and sweeping what has expired: in batches, each a transaction of its own, so that nobody waits long behind them.

use snug_protocol::limits::MOVE_LIFE;
use snug_protocol::{EnvelopeHash, RoomId};
use sqlx::sqlite::{SqliteArguments, SqliteConnection};

use super::{Sqlite, answered, epoch, row};
use crate::rules::epoch::STAGED_KEPT;
use crate::rules::ms;
use crate::{Quotas, StoreError, Swept};

/// Rows that one transaction erases.
const BATCH_ROWS: i64 = 500;

impl Sqlite {
    pub async fn delete_room(&self, room: RoomId) -> Result<bool, StoreError> {
        let write = self.writer.write(move |connection| Box::pin(async move { remove_room(connection, room).await }));
        if !answered(write).await? {
            return Ok(false);
        }
        self.erase(room).await?;
        Ok(true)
    }

    /// Erases what a removed room has left.
    async fn erase(&self, room: RoomId) -> Result<(), StoreError> {
        let mut is_done = false;
        while !is_done {
            let write =
                self.writer.write(move |connection| Box::pin(async move { erase_some(connection, room).await }));
            is_done = answered(write).await?;
        }
        Ok(())
    }

    pub async fn sweep(&self, quotas: &Quotas) -> Result<Swept, StoreError> {
        const TOKENS: &str = "delete from token where hash in
                 (select hash from token where expires_at_ms <= $1 order by expires_at_ms limit $2)";
        const INVITES: &str = "delete from room_grant where kind = 2 and (room, grant_id) in
                 (select room, grant_id from room_grant where expires_at_ms <= $1 order by expires_at_ms limit $2)";
        const MOVES: &str = "delete from move where id in
                 (select id from move where offered_at_ms <= $1 order by offered_at_ms limit $2)";
        let now_ms = answered(self.now_ms()).await?;
        let tokens = self.delete_until(TOKENS, now_ms).await?;
        let kept_since_ms = now_ms.saturating_sub(ms(quotas.expired_invites_kept));
        let invites = self.delete_until(INVITES, kept_since_ms).await?;
        let moves = self.delete_until(MOVES, now_ms.saturating_sub(ms(MOVE_LIFE))).await?;
        let mut swept = Swept { tokens, invites, moves, ..Swept::default() };
        swept.staged_keys = self.forget_stagings(now_ms.saturating_sub(ms(STAGED_KEPT))).await?;
        self.end_device_erasures().await?;
        swept.expired_entries = self.sweep_by_age().await?;
        let rooms = sqlx::query("select room from erasure").fetch_all(&self.readers);
        for found in answered(async { rooms.await.map_err(StoreError::from) }).await? {
            self.erase(RoomId(row::bytes(&found, "room")?)).await?;
            swept.rooms += 1;
        }
        Ok(swept)
    }

    /// Forgets the keys that were staged up to a time for records that never came. Returns how many.
    async fn forget_stagings(&self, end_ms: u64) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        loop {
            let write =
                self.writer.write(move |connection| Box::pin(async move { forget_staging(connection, end_ms).await }));
            let Some(keys) = answered(write).await? else { return Ok(forgotten) };
            forgotten += keys;
        }
    }

    /// Runs a deletion of rows up to a time until it finds no more.
    async fn delete_until(&self, delete: &'static str, end_ms: u64) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let write = self.writer.write(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query(delete).bind(row::stored(end_ms)).bind(BATCH_ROWS);
                    Ok::<_, StoreError>(query.execute(connection).await?.rows_affected())
                })
            });
            let batch = answered(write).await?;
            deleted += batch;
            if batch < BATCH_ROWS.unsigned_abs() {
                return Ok(deleted);
            }
        }
    }
}

/// Forgets one record's keys that were staged up to a time; `None` if there is no such record. A transaction for each record: they have
/// at most as many keys as a room has members.
async fn forget_staging(connection: &mut SqliteConnection, end_ms: u64) -> Result<Option<u64>, StoreError> {
    const SELECT: &str = "select room, author, record from epoch_staging where staged_at_ms <= $1
         order by staged_at_ms limit 1";
    const DELETE: &str = "delete from epoch_staging where room = $1 and author = $2";
    let found = sqlx::query(SELECT).bind(row::stored(end_ms)).fetch_optional(&mut *connection).await?;
    let Some(found) = found else { return Ok(None) };
    let room = RoomId(row::bytes(&found, "room")?);
    let author: [u8; 16] = row::bytes(&found, "author")?;
    let forgotten = epoch::forget_keys(connection, room, EnvelopeHash(row::bytes(&found, "record")?)).await?;
    sqlx::query(DELETE).bind(&room.0[..]).bind(&author[..]).execute(connection).await?;
    Ok(Some(forgotten))
}

/// Removes a room with its members and grants, and notes that the rest is to be erased. False if there is none.
async fn remove_room(connection: &mut SqliteConnection, room: RoomId) -> Result<bool, StoreError> {
    const DELETE: &str = "delete from room where room = $1";
    const NOTE: &str = "insert into erasure (room) values ($1) on conflict (room) do nothing";
    if sqlx::query(DELETE).bind(&room.0[..]).execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(NOTE).bind(&room.0[..]).execute(connection).await?;
    Ok(true)
}

/// Erases one batch of a removed room. Returns whether nothing is left.
async fn erase_some(connection: &mut SqliteConnection, room: RoomId) -> Result<bool, StoreError> {
    const ENTRIES: &str = "delete from entry where room = $1 and seq in
             (select seq from entry where room = $1 order by seq limit $2)";
    const SENDERS: &str = "delete from sender_instance where room = $1 and (device, instance) in
             (select device, instance from sender_instance where room = $1 order by device, instance limit $2)";
    const KEYS: &str = "delete from epoch_key where room = $1 and (record, device) in
             (select record, device from epoch_key where room = $1 order by record, device limit $2)";
    for delete in [ENTRIES, SENDERS, KEYS] {
        let query: sqlx::query::Query<'_, sqlx::Sqlite, SqliteArguments> = sqlx::query(delete);
        let deleted = query.bind(&room.0[..]).bind(BATCH_ROWS).execute(&mut *connection).await?.rows_affected();
        if deleted > 0 {
            return Ok(false);
        }
    }
    sqlx::query("delete from erasure where room = $1").bind(&room.0[..]).execute(connection).await?;
    Ok(true)
}
