//! The room's chain: where its next entry stands, and reading it.

use snug_protocol::frame::EntryFrame;
use snug_protocol::http::Role;
use snug_protocol::limits::HISTORY_PAGE_BYTES_MAX;
use snug_protocol::{DeviceId, EntryKind, RoomId, Seq};
use sqlx::Row as _;

use super::append::insert_entries;
use super::log::{read_entries, select_end};
use super::texts::next_counter;
use super::{Connection, Database, Row, row};
use crate::rules;
use crate::rules::step::{ChainEnd, Subject, admin_role, judge_place};
use crate::sql::batch::Draft;
use crate::sql::list::stored;
use crate::{Appended, Page, StepError, StoreError};

/// The index is named, here and below: it has the columns of the primary key, and SQLite prefers that one.
const CHAIN: &str = concat!(
    "select seq, at_ms, hash, envelope from entry",
    indexed_by!("entry_chain"),
    " where room = $1 and kind in (1, 8) and seq <= $2 order by seq desc limit $3"
);
const PINS: &str = concat!(
    "select seq, at_ms, hash, envelope from entry",
    indexed_by!("entry_pin"),
    " where room = $1 and kind = 9 and length(envelope) > 76 and seq <= $2 order by seq desc limit $3"
);
const END: &str = concat!(
    "select room.head, room.epoch, room.chain_seq, member.state, member.role, coalesce(member.steps, 0) as steps,
            ",
    next_counter!("$1", "$2", "$3"),
    " as next, ",
    now_ms!(),
    " as now_ms
     from room
     left join member on member.room = room.room and member.device = $2
     where room.room = $1"
);
const KNOWN: &str = "select seq, at_ms, length(envelope) = 76 as is_erased from entry
     where room = $1 and device = $2 and instance = $3 and counter = $4";

/// What becomes of an envelope for the chain.
pub(super) enum Place {
    /// It was appended before.
    Known(Appended),
    /// It comes next. `seq` is its place, `role` its author's, who took so many `steps` in this epoch.
    Next { seq: Seq, role: Role, steps: u64, now_ms: u64 },
}

/// Decides on an envelope that is to be a chain entry of this kind. Its epoch is to be the room's, or `ahead` more.
///
/// # Errors
/// Why it is not taken.
pub(super) async fn place(
    connection: &mut Connection,
    draft: &Draft,
    kind: EntryKind,
    ahead: u32,
) -> Result<Place, StepError> {
    let header = draft.envelope.header();
    if header.kind != kind {
        return Err(StepError::EntryNotAccepted);
    }
    let found = sqlx::query(END)
        .bind(&header.room.0[..])
        .bind(&header.device.0[..])
        .bind(&header.instance.0[..])
        .fetch_optional(&mut *connection)
        .await?
        .ok_or(StepError::NotAMember)?;
    let next = row::number(&found, "next")?;
    if header.counter < next {
        return known(connection, draft).await.map(Place::Known);
    }
    let role = admin_role(row::optional_standing(&found)?)?;
    let end = ChainEnd { epoch: row::small(&found, "epoch")?, chain: row::seq(&found, "chain_seq")? };
    judge_place(header, next, end, end.epoch.saturating_add(ahead))?;
    let (seq, steps) = (row::seq(&found, "head")?.next(), row::number(&found, "steps")?);
    Ok(Place::Next { seq, role, steps, now_ms: row::number(&found, "now_ms")? })
}

async fn known(connection: &mut Connection, draft: &Draft) -> Result<Appended, StepError> {
    let header = draft.envelope.header();
    let found = sqlx::query(KNOWN)
        .bind(&header.room.0[..])
        .bind(&header.device.0[..])
        .bind(&header.instance.0[..])
        .bind(stored(header.counter))
        .fetch_optional(connection)
        .await?
        .ok_or(StepError::Gone)?;
    if row::flag(&found, "is_erased")? {
        return Err(StepError::Gone);
    }
    Ok(Appended { seq: row::seq(&found, "seq")?, at_ms: row::number(&found, "at_ms")?, frame: None })
}

/// Makes `draft` the room's newest entry, and the newest of its chain.
pub(super) async fn push(
    connection: &mut Connection,
    draft: &Draft,
    seq: Seq,
    now_ms: u64,
) -> Result<Appended, StoreError> {
    const MOVE: &str = "update room set head = $2, chain_seq = $2 where room = $1";
    let header = draft.envelope.header();
    insert_entries(connection, &[(draft, seq)], now_ms).await?;
    sqlx::query(MOVE).bind(&header.room.0[..]).bind(stored(seq.0)).execute(connection).await?;
    let frame = EntryFrame::new(seq, now_ms, draft.envelope.bytes());
    Ok(Appended { seq, at_ms: now_ms, frame: Some(frame) })
}

/// From columns `state`, `role` and `muted_until_ms`.
pub(super) fn subject(row: &Row) -> Result<Subject, StoreError> {
    let is_muted = row.try_get::<i64, _>("muted_until_ms")? > 0;
    Ok(Subject { standing: row::standing(row)?, role: row::role(row)?, is_muted })
}

pub(super) async fn select_subject(
    connection: &mut Connection,
    room: RoomId,
    device: DeviceId,
) -> Result<Option<Subject>, StoreError> {
    const SELECT: &str = "select state, role, muted_until_ms from member where room = $1 and device = $2";
    let found = sqlx::query(SELECT).bind(&room.0[..]).bind(&device.0[..]).fetch_optional(connection).await?;
    found.map(|row| subject(&row)).transpose()
}

impl Database {
    pub async fn chain(&self, room: RoomId, before: Option<Seq>, limit: usize) -> Result<Option<Page>, StoreError> {
        self.page_of(CHAIN, room, before, limit).await
    }

    pub async fn pins(&self, room: RoomId, limit: usize) -> Result<Option<Page>, StoreError> {
        self.page_of(PINS, room, None, limit).await
    }

    /// A page of the entries that `select` finds up to a seq.
    async fn page_of(
        &self,
        select: &'static str,
        room: RoomId,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Option<Page>, StoreError> {
        self.in_snapshot(move |snapshot| Box::pin(read_page_of(snapshot, select, room, before, limit))).await
    }
}

async fn read_page_of(
    snapshot: &mut Connection,
    select: &'static str,
    room: RoomId,
    before: Option<Seq>,
    limit: usize,
) -> Result<Option<Page>, StoreError> {
    let Some((history, head)) = select_end(snapshot, room).await? else { return Ok(None) };
    let end = rules::page_end(before, head);
    let query = sqlx::query(select).bind(&room.0[..]).bind(stored(end.0)).bind(row::limit(limit));
    let mut entries = read_entries(snapshot, query, HISTORY_PAGE_BYTES_MAX).await?;
    entries.reverse();
    Ok(Some(Page::sparse(history, head, end, entries)))
}

#[cfg(test)]
mod tests {
    use super::super::explain::{assert_searches, assert_uses};
    use super::*;

    #[tokio::test]
    async fn chain_and_pins_are_found_by_their_own_indices() {
        assert_searches(END).await;
        assert_uses(END, "entry_identity", &["room", "device", "instance"]).await;
        assert_uses(CHAIN, "entry_chain", &["room", "seq"]).await;
        assert_uses(PINS, "entry_pin", &["room", "seq"]).await;
        assert_uses(KNOWN, "entry_identity", &["room", "device", "instance", "counter"]).await;
    }
}
