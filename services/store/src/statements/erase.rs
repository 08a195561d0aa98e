//! Erasing rooms, and sweeping what has expired: in batches, each a transaction of its own, so that nobody waits long behind them.

use snug_protocol::limits::MOVE_LIFE;
use snug_protocol::{DeviceId, EnvelopeHash, RoomId};

use super::{Connection, Database, answered, epoch, locks, open, row};
use crate::rules::epoch::STAGED_KEPT;
use crate::rules::ms;
use crate::sql::Scope;
use crate::sql::list::stored;
use crate::{Quotas, StoreError, Swept};

/// Rows that one transaction erases.
const BATCH_ROWS: i64 = 500;

const TOKENS: &str = concat!(
    "delete from token where hash in
     (select hash from token where expires_at_ms <= $1 order by expires_at_ms limit $2",
    skip_locked!(),
    ")"
);
const INVITES: &str = concat!(
    "delete from room_grant where kind = 2 and (room, grant_id) in
     (select room, grant_id from room_grant where expires_at_ms <= $1 order by expires_at_ms limit $2",
    skip_locked!(),
    ")"
);
const MOVES: &str = concat!(
    "delete from move where id in
     (select id from move where offered_at_ms <= $1 order by offered_at_ms limit $2",
    skip_locked!(),
    ")"
);

impl Database {
    pub async fn delete_room(&self, room: RoomId) -> Result<bool, StoreError> {
        let write = self
            .writer
            .write(Scope::Room(room), move |connection| Box::pin(async move { remove_room(connection, room).await }));
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
            let write = self.writer.write(Scope::Room(room), move |connection| {
                Box::pin(async move { erase_some(connection, room).await })
            });
            is_done = answered(write).await?;
        }
        Ok(())
    }

    pub async fn sweep(&self, quotas: &Quotas) -> Result<Swept, StoreError> {
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
        answered(open::forget_erased(&self.readers)).await?;
        Ok(swept)
    }

    /// Forgets the keys that were staged up to a time for records that never came. Returns how many.
    async fn forget_stagings(&self, end_ms: u64) -> Result<u64, StoreError> {
        let due = sqlx::query("select room, author from epoch_staging where staged_at_ms <= $1")
            .bind(stored(end_ms))
            .fetch_all(&self.readers);
        let mut forgotten = 0;
        for found in answered(async { due.await.map_err(StoreError::from) }).await? {
            let (room, author) = (RoomId(row::bytes(&found, "room")?), DeviceId(row::bytes(&found, "author")?));
            let write = self.writer.write(Scope::Room(room), move |connection| {
                Box::pin(async move { forget_staging(connection, room, author, end_ms).await })
            });
            forgotten += answered(write).await?;
        }
        Ok(forgotten)
    }

    /// Runs a deletion of rows up to a time until it finds no more.
    async fn delete_until(&self, delete: &'static str, end_ms: u64) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let write = self.writer.write(Scope::Elsewhere, move |connection| {
                Box::pin(async move {
                    let query = sqlx::query(delete).bind(stored(end_ms)).bind(BATCH_ROWS);
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

/// Forgets what one author staged up to a time. Returns how many keys. A transaction for each: they are at most as many as a room has
/// members.
async fn forget_staging(
    connection: &mut Connection,
    room: RoomId,
    author: DeviceId,
    end_ms: u64,
) -> Result<u64, StoreError> {
    const DELETE: &str = "delete from epoch_staging where room = $1 and author = $2 and staged_at_ms <= $3
         returning record";
    let query = sqlx::query(DELETE).bind(&room.0[..]).bind(&author.0[..]).bind(stored(end_ms));
    let Some(deleted) = query.fetch_optional(&mut *connection).await? else { return Ok(0) };
    epoch::forget_keys(connection, room, EnvelopeHash(row::bytes(&deleted, "record")?)).await
}

/// Removes a room with its members and grants, and notes that the rest is to be erased. False if there is none.
async fn remove_room(connection: &mut Connection, room: RoomId) -> Result<bool, StoreError> {
    const DELETE: &str = "delete from room where room = $1";
    const NOTE: &str = "insert into erasure (room) values ($1) on conflict (room) do nothing";
    if sqlx::query(DELETE).bind(&room.0[..]).execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(NOTE).bind(&room.0[..]).execute(connection).await?;
    Ok(true)
}

/// Erases one batch of a removed room. Returns whether nothing is left.
async fn erase_some(connection: &mut Connection, room: RoomId) -> Result<bool, StoreError> {
    const ENTRIES: &str = "delete from entry where room = $1 and seq in
             (select seq from entry where room = $1 order by seq limit $2)";
    const KEYS: &str = "delete from epoch_key where room = $1 and (record, device) in
             (select record, device from epoch_key where room = $1 order by record, device limit $2)";
    const NOTED: &str = "select 1 from erasure where room = $1";
    locks::erasure(connection, room).await?;
    if sqlx::query(NOTED).bind(&room.0[..]).fetch_optional(&mut *connection).await?.is_none() {
        // Somebody else has erased it all, and there may be another room of this id.
        return Ok(true);
    }
    for delete in [ENTRIES, KEYS] {
        let deleted =
            sqlx::query(delete).bind(&room.0[..]).bind(BATCH_ROWS).execute(&mut *connection).await?.rows_affected();
        if deleted > 0 {
            return Ok(false);
        }
    }
    sqlx::query("delete from erasure where room = $1").bind(&room.0[..]).execute(connection).await?;
    Ok(true)
}
