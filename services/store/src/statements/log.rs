//! Reading logs.

use std::collections::HashMap;
use std::sync::LazyLock;

use snug_protocol::frame::EntryFrame;
use snug_protocol::{EnvelopeHash, HistoryId, RoomId, Seq};
use sqlx::Row as _;

use super::lists::Lists;
use super::{Connection, Database, Query, Row, row};
use crate::rules::{self, LATER_BYTES_MAX, LATER_ENTRIES_MAX};
use crate::sql::list::{Kind, Value, stored};
use crate::{Page, RoomHead, StoreError};

static HEADS: LazyLock<Lists> = LazyLock::new(|| {
    Lists::new(&[Kind::Bytes], |rows| {
        format!(
            "with asked (room) as ({rows})
             select room.room, room.history, room.head, room.access_version from asked join room on room.room = asked.room"
        )
    })
});
const AFTER: &str = entries_after!();
/// For each entry of a range that was answered after it, the bytes of those answers. The kinds are those of the partial index, which
/// has no chain entries: their target is another chain entry.
const LATER_BYTES: &str = "select target_seq, sum(length(envelope)) as bytes from entry
     where room = $1 and kind in (5, 6, 7, 9) and target_seq between $2 and $3 and +seq > $3 group by target_seq";
/// The answers to a range after it, newest first. With `+seq` the planner cannot prefer to read the whole log after the range.
const LATER: &str = "select seq, at_ms, hash, envelope from entry
     where room = $1 and kind in (5, 6, 7, 9) and target_seq between $2 and $3 and +seq > $3 order by +seq desc limit $4";

impl Database {
    pub async fn read_after(
        &self,
        room: RoomId,
        after: Seq,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<EntryFrame>, StoreError> {
        let query = sqlx::query(AFTER)
            .bind(&room.0[..])
            .bind(stored(after.0))
            .bind(row::limit(limit))
            .bind(row::limit(bytes_max.max(1)));
        let mut connection = self.readers.acquire().await?;
        let entries = read_entries(&mut connection, query, bytes_max).await?;
        if (1..).zip(&entries).any(|(nth, entry)| entry.seq().0 != after.0 + nth) {
            return Err(StoreError::corrupt("a log has a hole"));
        }
        Ok(entries)
    }

    pub async fn read_page(
        &self,
        room: RoomId,
        before: Option<Seq>,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Option<Page>, StoreError> {
        // Head, range and later entries belong together.
        self.in_snapshot(move |snapshot| Box::pin(read_page(snapshot, room, before, limit, bytes_max))).await
    }

    pub async fn entry_hash(&self, room: RoomId, seq: Seq) -> Result<Option<EnvelopeHash>, StoreError> {
        let found = sqlx::query("select hash from entry where room = $1 and seq = $2")
            .bind(&room.0[..])
            .bind(stored(seq.0))
            .fetch_optional(&self.readers)
            .await?;
        found.map(|row| row::bytes(&row, "hash").map(EnvelopeHash)).transpose()
    }

    pub async fn heads(&self, rooms: &[RoomId]) -> Result<Vec<RoomHead>, StoreError> {
        let asked: Vec<_> = rooms.iter().map(|room| [Value::Bytes(&room.0)]).collect();
        let found = HEADS.fetch_all(&mut *self.readers.acquire().await?, &asked).await?;
        found.iter().map(room_head).collect()
    }
}

/// Which life of the log this is, and its newest seq; `None`: there is no such room.
pub(super) async fn select_end(
    connection: &mut Connection,
    room: RoomId,
) -> Result<Option<(HistoryId, Seq)>, StoreError> {
    const SELECT: &str = "select history, head from room where room = $1";
    let found = sqlx::query(SELECT).bind(&room.0[..]).fetch_optional(connection).await?;
    found.map(|found| Ok((HistoryId(row::bytes(&found, "history")?), row::seq(&found, "head")?))).transpose()
}

async fn read_page(
    snapshot: &mut Connection,
    room: RoomId,
    before: Option<Seq>,
    limit: usize,
    bytes_max: usize,
) -> Result<Option<Page>, StoreError> {
    let Some((history, head)) = select_end(snapshot, room).await? else { return Ok(None) };
    let to = rules::page_end(before, head);
    let newest_first = select_back(snapshot, room, to, limit, bytes_max).await?;
    let Some(oldest) = newest_first.last() else {
        return Ok(Some(Page { history, head, from: to.next(), to, entries: Vec::new(), later: Vec::new() }));
    };
    let later_bytes = select_later_bytes(snapshot, room, oldest.seq(), to).await?;
    let sizes =
        newest_first.iter().map(|entry| (entry.bytes().len(), later_bytes.get(&entry.seq()).copied().unwrap_or(0)));
    let fit = rules::fitting(sizes, bytes_max);
    let entries: Vec<EntryFrame> = newest_first.into_iter().take(fit).rev().collect();
    let from = entries[0].seq();
    let later = if later_bytes.is_empty() { Vec::new() } else { select_later(snapshot, room, from, to).await? };
    Ok(Some(Page { history, head, from, to, entries, later }))
}

fn room_head(row: &Row) -> Result<RoomHead, StoreError> {
    Ok(RoomHead {
        room: RoomId(row::bytes(row, "room")?),
        history: HistoryId(row::bytes(row, "history")?),
        head: row::seq(row, "head")?,
        access_version: row::number(row, "access_version")?,
    })
}

/// Reads entries as long as they fit into `bytes_max`, and at least one.
pub(super) async fn read_entries(
    connection: &mut Connection,
    query: Query<'_>,
    bytes_max: usize,
) -> Result<Vec<EntryFrame>, StoreError> {
    use futures_util::TryStreamExt as _;
    let mut rows = query.fetch(connection);
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await? {
        let entry = row::entry(&row)?;
        bytes += entry.bytes().len();
        if bytes > bytes_max && !entries.is_empty() {
            break;
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// The entries up to `to`, newest first.
async fn select_back(
    connection: &mut Connection,
    room: RoomId,
    to: Seq,
    limit: usize,
    bytes_max: usize,
) -> Result<Vec<EntryFrame>, StoreError> {
    const SELECT: &str =
        "select seq, at_ms, hash, envelope from entry where room = $1 and seq <= $2 order by seq desc limit $3";
    let query = sqlx::query(SELECT).bind(&room.0[..]).bind(stored(to.0)).bind(row::limit(limit));
    read_entries(connection, query, bytes_max).await
}

/// For each entry in `from..=to` that was answered after `to`, the bytes of those answers.
async fn select_later_bytes(
    connection: &mut Connection,
    room: RoomId,
    from: Seq,
    to: Seq,
) -> Result<HashMap<Seq, usize>, StoreError> {
    let query = sqlx::query(LATER_BYTES).bind(&room.0[..]).bind(stored(from.0)).bind(stored(to.0));
    let rows = query.fetch_all(connection).await?;
    let sizes = rows.iter().map(|row| {
        let bytes = usize::try_from(row.try_get::<i64, _>("bytes")?).unwrap_or(usize::MAX);
        Ok((row::seq(row, "target_seq")?, bytes))
    });
    sizes.collect()
}

/// The entries after `to` whose target lies in `from..=to`, ascending; the newest, if there are too many.
async fn select_later(
    connection: &mut Connection,
    room: RoomId,
    from: Seq,
    to: Seq,
) -> Result<Vec<EntryFrame>, StoreError> {
    let query = sqlx::query(LATER)
        .bind(&room.0[..])
        .bind(stored(from.0))
        .bind(stored(to.0))
        .bind(row::limit(LATER_ENTRIES_MAX));
    let mut later = read_entries(connection, query, LATER_BYTES_MAX).await?;
    later.reverse();
    Ok(later)
}

#[cfg(test)]
mod tests {
    use super::super::explain::{assert_searches, assert_uses};
    use super::*;

    #[tokio::test]
    async fn later_entries_are_found_by_their_target() {
        for statement in [LATER_BYTES, LATER] {
            assert_searches(statement).await;
            assert_uses(statement, "entry_target", &["room", "target_seq"]).await;
        }
    }

    #[tokio::test]
    async fn what_follows_a_place_is_found_by_its_key() {
        assert_searches(AFTER).await;
    }

    #[tokio::test]
    async fn heads_are_found_by_their_rooms() {
        for text in HEADS.texts() {
            assert_searches(text).await;
        }
    }
}
