//! Writing what a batch adds: one statement after the other, since the way to the database is a call.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use snug_protocol::RoomId;

use super::Connection;
use super::lists::Lists;
use super::statements::row;
use super::statements::texts::{ENTRIES, NEWEST_IS_THAT_ONE};
use crate::StoreError;
use crate::sql::growth::{EntryRow, Grown, Growth, Written};
use crate::sql::list::Kind::{Bytes, Number};
use crate::sql::list::{Value, number};

/// Moves the heads of those rooms that are still as they were when the batch was decided upon. "Or fail" as in `insert_or_fail`.
static HEADS: LazyLock<Lists> = LazyLock::new(|| {
    Lists::new(&[Bytes, Bytes, Number, Number, Number, Number, Number, Bytes], |rows| {
        format!(
            "with grown (room, history, was_head, was_access_version, was_chain, head, access_version, newest) as ({rows})
             update or fail room set head = grown.head, access_version = grown.access_version
             from grown where room.room = grown.room and room.history = grown.history
                 and room.head = grown.was_head and room.access_version = grown.was_access_version
                 and room.chain_seq = grown.was_chain and {NEWEST_IS_THAT_ONE}
             returning room, {now_ms} as now_ms",
            now_ms = now_ms!()
        )
    })
});

/// Writes it, to those of its rooms that are as they were.
pub(super) async fn write(connection: &mut Connection, growth: &Growth<'_>) -> Result<Written, StoreError> {
    let moved = HEADS.fetch_all(connection, &growth.rooms.iter().map(Grown::values).collect::<Vec<_>>()).await?;
    let at_ms = moved.first().map_or(Ok(growth.now_ms), |room| row::number(room, "now_ms"))?;
    let written = moved.iter().map(|room| row::bytes(room, "room")).collect::<Result<BTreeSet<[u8; 16]>, _>>()?;
    let is_written = |[room, ..]: &&EntryRow<'_>| matches!(room, Value::Bytes(room) if written.contains(*room));
    let entries: Vec<_> = growth.entries.iter().filter(is_written).map(|entry| dated(entry, at_ms)).collect();
    ENTRIES.execute(connection, &entries).await?;
    Ok(Written { rooms: written.into_iter().map(RoomId).collect(), at_ms })
}

/// The entry at the time of the statement that moved its room's head: a batch that is remembered for asks for no other.
fn dated<'v>(entry: &EntryRow<'v>, at_ms: u64) -> EntryRow<'v> {
    let mut entry = *entry;
    entry[2] = number(at_ms);
    entry
}

#[cfg(test)]
mod tests {
    use snug_protocol::HistoryId;
    use sqlx::Connection as _;

    use super::super::explain::{assert_searches, assert_uses};
    use super::super::open::MIGRATIONS;
    use super::*;
    use crate::sql::growth::{as_they_were, for_the_first_of};

    /// Six rooms at head 100.
    const ROOMS: &str = "
        with ids (id) as (values (x'01'), (x'02'), (x'03'), (x'04'), (x'05'), (x'06'))
        insert into room select cast(zeroblob(15) || id as blob), hex(id), hex(id), zeroblob(16), 100, 0, 1, 1, 0, 0, 0, 0, 1, 0 from ids";

    #[tokio::test]
    async fn nothing_is_written_to_a_room_that_is_not_as_it_was_when_the_batch_was_decided_upon() {
        let mut connection = Connection::connect("sqlite::memory:").await.expect("a database in memory");
        MIGRATIONS.run(&mut connection).await.expect("the migrations run");
        sqlx::query(ROOMS).execute(&mut connection).await.expect("rooms");
        let rooms = [1, 2, 3, 4, 5, 6].map(|number| RoomId([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number]));
        let written = write(&mut connection, &for_the_first_of(&rooms, &as_they_were(HistoryId([0; 16]))))
            .await
            .expect("written");
        assert_eq!(written.rooms, [rooms[0]].into());
        const COUNTS: &str = "select count(*), min(at_ms), (select sum(head) from room) from entry";
        let (entries, at_ms, heads): (i64, i64, i64) =
            sqlx::query_as(COUNTS).fetch_one(&mut connection).await.expect("three numbers");
        assert_eq!((entries, heads), (1, 601));
        assert!(at_ms > 1_700_000_000_000, "by the database's clock: {at_ms}");
        assert_eq!(u64::try_from(at_ms), Ok(written.at_ms));
    }

    #[tokio::test]
    async fn heads_are_moved_by_their_keys() {
        for text in HEADS.texts() {
            assert_searches(text).await;
            assert_uses(text, "entry_pkey", &["room", "seq"]).await;
        }
    }
}
