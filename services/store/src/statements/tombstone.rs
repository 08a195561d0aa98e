//! Making tombstones: of an erased entry the envelope's header remains, and the hash beside it.

use std::sync::LazyLock;

use snug_protocol::{DeviceId, RoomId, Seq};

use super::lists::Lists;
use super::{Connection, Database, Row, answered, row};
use crate::StoreError;
use crate::sql::Scope;
use crate::sql::list::Kind::{Bytes, Number};
use crate::sql::list::{Value, number, stored};

/// Entries that one transaction looks at, so that nobody waits long behind it.
pub(super) const BATCH_ENTRIES: i64 = 500;

static ERASE: LazyLock<Lists> = LazyLock::new(|| {
    Lists::new(&[Bytes, Number], |rows| {
        format!(
            "with due (room, seq) as ({rows})
             update entry set envelope = substr(entry.envelope, 1, 76) from due
             where entry.room = due.room and entry.seq = due.seq"
        )
    })
});
/// Messages' edits and reactions. The first list of kinds is that of the index. Indices are named, here and below: without statistics
/// SQLite reads a whole room by its primary key instead.
static ERASE_ABOUT: LazyLock<Lists> = LazyLock::new(|| {
    Lists::new(&[Bytes, Number], |rows| {
        format!(
            "with erased (room, seq) as ({rows})
             update entry{entry_target} set envelope = substr(entry.envelope, 1, 76) from erased
             where entry.room = erased.room and entry.target_seq = erased.seq
                 and entry.kind in (5, 6, 7, 9) and entry.kind in (5, 7) and length(entry.envelope) > 76",
            entry_target = indexed_by!("entry_target")
        )
    })
});
const NOTE_DEVICE: &str = "insert into device_erasure (room, device, before_seq) values ($1, $2, $3)
     on conflict (room, device) do update set before_seq = excluded.before_seq";
/// What a device wrote, in the order of its index. A row of what it is in the order of is compared, so that each batch goes on where
/// the last one ended.
const OF_DEVICE: &str = concat!(
    "select seq, instance, counter, kind in (3, 5, 7) and seq < $5 and length(envelope) > 76 as is_due from entry",
    indexed_by!("entry_identity"),
    " where room = $1 and device = $2 and (instance, counter) > ($3, $4) order by instance, counter limit $6"
);
/// The log after what retention has looked at.
const BY_AGE: &str = "select seq, at_ms, kind in (3, 5, 7, 9) and length(envelope) > 76 as is_due
     from entry where room = $1 and seq > $2 order by seq limit $3";

/// Rooms with something to erase by age. Only the next few entries are looked at: were it just the next one, a single one from a clock that
/// ran ahead would hold up those behind it.
const DUE_BY_AGE: &str = concat!(
    "select room from room where retention_ms > 0 and exists
     (select 1 from entry where entry.room = room.room and entry.seq > room.retained_seq
      and entry.seq <= room.retained_seq + 20 and entry.at_ms < ",
    now_ms!(),
    " - room.retention_ms)"
);

/// Erases messages with their edits and reactions.
pub(super) async fn erase_messages(connection: &mut Connection, messages: &[&(RoomId, Seq)]) -> Result<(), StoreError> {
    let rows: Vec<_> = messages.iter().map(|(room, seq)| [Value::Bytes(&room.0), number(seq.0)]).collect();
    ERASE.execute(connection, &rows).await?;
    Ok(ERASE_ABOUT.execute(connection, &rows).await?)
}

/// Notes that what `device` wrote before `before` is to be erased.
pub(super) async fn note_device(
    connection: &mut Connection,
    room: RoomId,
    device: DeviceId,
    before: Seq,
) -> Result<(), StoreError> {
    let query = sqlx::query(NOTE_DEVICE).bind(&room.0[..]).bind(&device.0[..]).bind(stored(before.0));
    query.execute(connection).await?;
    Ok(())
}

/// Where an erasure of a device's entries has come to.
#[derive(Clone, Copy)]
struct Place {
    instance: [u8; 16],
    counter: i64,
}

impl Database {
    /// Erases what was noted of `device`, in batches. A note that is gone is none.
    pub(super) async fn erase_device(&self, room: RoomId, device: DeviceId) -> Result<(), StoreError> {
        let mut place = Some(Place { instance: [0; 16], counter: -1 });
        while let Some(from) = place {
            let write = self.writer.write(Scope::Room(room), move |connection| {
                Box::pin(async move { erase_some_of_device(connection, room, device, from).await })
            });
            place = answered(write).await?;
        }
        Ok(())
    }

    /// Ends the erasures of devices' entries that were cut short.
    pub(super) async fn end_device_erasures(&self) -> Result<(), StoreError> {
        let noted = sqlx::query("select room, device from device_erasure").fetch_all(&self.readers);
        for found in answered(async { noted.await.map_err(StoreError::from) }).await? {
            self.erase_device(RoomId(row::bytes(&found, "room")?), DeviceId(row::bytes(&found, "device")?)).await?;
        }
        Ok(())
    }

    /// Erases what is older than its room keeps it, in batches. Returns how many entries that were.
    pub(super) async fn sweep_by_age(&self) -> Result<u64, StoreError> {
        let rooms = sqlx::query(DUE_BY_AGE).fetch_all(&self.readers);
        let mut erased = 0;
        for found in answered(async { rooms.await.map_err(StoreError::from) }).await? {
            let room = RoomId(row::bytes(&found, "room")?);
            loop {
                let write = self.writer.write(Scope::Room(room), move |connection| {
                    Box::pin(async move { erase_some_by_age(connection, room).await })
                });
                let (count, is_done) = answered(write).await?;
                erased += count;
                if is_done {
                    break;
                }
            }
        }
        Ok(erased)
    }
}

/// Erases one batch of what was noted of `device`. Returns where to go on; `None` when nothing is left, and the note is gone.
async fn erase_some_of_device(
    connection: &mut Connection,
    room: RoomId,
    device: DeviceId,
    from: Place,
) -> Result<Option<Place>, StoreError> {
    const NOTED: &str = "select before_seq from device_erasure where room = $1 and device = $2";
    const FORGET: &str = "delete from device_erasure where room = $1 and device = $2";
    let noted = sqlx::query(NOTED).bind(&room.0[..]).bind(&device.0[..]).fetch_optional(&mut *connection).await?;
    let Some(noted) = noted else { return Ok(None) };
    let before = row::seq(&noted, "before_seq")?;
    let rows = sqlx::query(OF_DEVICE)
        .bind(&room.0[..])
        .bind(&device.0[..])
        .bind(&from.instance[..])
        .bind(from.counter)
        .bind(stored(before.0))
        .bind(BATCH_ENTRIES)
        .fetch_all(&mut *connection)
        .await?;
    erase_due(connection, room, &rows).await?;
    match rows.last() {
        Some(last) => {
            let counter = stored(row::number(last, "counter")?);
            Ok(Some(Place { instance: row::bytes(last, "instance")?, counter }))
        }
        None => {
            sqlx::query(FORGET).bind(&room.0[..]).bind(&device.0[..]).execute(connection).await?;
            Ok(None)
        }
    }
}

/// Erases those of `rows` that are due. Returns how many.
async fn erase_due(connection: &mut Connection, room: RoomId, rows: &[Row]) -> Result<u64, StoreError> {
    let mut due = Vec::new();
    for found in rows {
        if row::flag(found, "is_due")? {
            due.push([Value::Bytes(&room.0), number(row::number(found, "seq")?)]);
        }
    }
    ERASE.execute(connection, &due).await?;
    Ok(due.len() as u64)
}

/// Erases one batch of what is older than the room keeps it. Returns how many entries, and whether nothing is left.
///
/// It goes on along the log where it stopped and needs no index by time. An entry is as old as any after it, so one that was committed
/// by a clock that ran ahead goes with those around it.
async fn erase_some_by_age(connection: &mut Connection, room: RoomId) -> Result<(u64, bool), StoreError> {
    const STATE: &str = concat!(
        "select retention_ms, retained_seq, ",
        now_ms!(),
        " as now_ms from room where room = $1 and retention_ms > 0"
    );
    const NOTE: &str = "update room set retained_seq = $2 where room = $1";
    let Some(state) = sqlx::query(STATE).bind(&room.0[..]).fetch_optional(&mut *connection).await? else {
        return Ok((0, true));
    };
    let oldest_ms = row::number(&state, "now_ms")?.saturating_sub(row::number(&state, "retention_ms")?);
    let query = sqlx::query(BY_AGE).bind(&room.0[..]).bind(stored(row::number(&state, "retained_seq")?));
    let rows = query.bind(BATCH_ENTRIES).fetch_all(&mut *connection).await?;
    let mut old = 0;
    for (at, found) in rows.iter().enumerate() {
        if row::number(found, "at_ms")? < oldest_ms {
            old = at + 1;
        }
    }
    let erased = erase_due(connection, room, &rows[..old]).await?;
    if let Some(last) = rows[..old].last() {
        let seq = stored(row::number(last, "seq")?);
        sqlx::query(NOTE).bind(&room.0[..]).bind(seq).execute(connection).await?;
    }
    Ok((erased, old < rows.len() || rows.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::super::explain::{assert_searches, assert_sorts_nothing, assert_uses};
    use super::*;

    #[tokio::test]
    async fn what_is_to_be_erased_is_found_by_key_or_index() {
        for statement in [OF_DEVICE, BY_AGE] {
            assert_searches(statement).await;
        }
        for text in [&ERASE, &ERASE_ABOUT].iter().flat_map(|lists| lists.texts()) {
            assert_searches(text).await;
        }
        for text in ERASE.texts() {
            assert_uses(text, "entry_pkey", &["room", "seq"]).await;
        }
        for text in ERASE_ABOUT.texts() {
            assert_uses(text, "entry_target", &["room", "target_seq"]).await;
        }
        assert_uses(DUE_BY_AGE, "room_retention", &[]).await;
        for (statement, index, columns) in [
            (OF_DEVICE, "entry_identity", &["room", "device", "instance", "counter"][..]),
            (BY_AGE, "entry_pkey", &["room", "seq"]),
        ] {
            assert_uses(statement, index, columns).await;
            assert_sorts_nothing(statement).await;
        }
    }
}
