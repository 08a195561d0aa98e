//! Writing what a batch adds, in one statement: each way to the server and back costs more than what is done there.

use std::sync::LazyLock;

use super::lists::{bind, unnested};
use super::statements::row;
use super::statements::texts::{NEWEST_IS_THAT_ONE, insert_entries};
use super::{Connection, locks};
use crate::StoreError;
use crate::sql::growth::{EntryRow, Grown, Growth, Written};
use crate::sql::list::Kind::{self, Bytes, Number};
use crate::sql::list::Value;

const GROWN: [Kind; 8] = [Bytes, Bytes, Number, Number, Number, Number, Number, Bytes];
/// An entry but for its time, which is the statement's: a batch that is remembered for asks for no other.
const UNDATED: [Kind; 9] = [Bytes, Number, Number, Bytes, Bytes, Number, Number, Bytes, Bytes];

/// Writes to those rooms that are still as they were when the batch was decided upon, and that nobody else is writing to. Whether a room is,
/// is seen on its newest row, under the lock: if somebody has written since the statement began, Postgres compares again.
static WRITE: LazyLock<String> = LazyLock::new(|| {
    const HELD: &str = "where c1 in (select room from held)";
    format!(
        "with grown (room, history, was_head, was_access_version, was_chain, head, access_version, newest) as ({grown}),
         held as materialized (
             select room.room from room join grown on grown.room = room.room
             where room.history = grown.history
                 and room.head = grown.was_head and room.access_version = grown.was_access_version
                 and room.chain_seq = grown.was_chain and {NEWEST_IS_THAT_ONE}
             for update of room skip locked),
         written as ({written})
         update room set head = grown.head, access_version = grown.access_version
         from grown join held on held.room = grown.room where room.room = grown.room
         returning room.room, {now_ms} as now_ms",
        grown = unnested(&GROWN, 1),
        now_ms = now_ms!(),
        written = insert_entries(&format!(
            "select c1, c2, {now_ms}, c3, c4, c5, c6, c7, c8, c9 from ({rows}) as undated {HELD}",
            now_ms = now_ms!(),
            rows = unnested(&UNDATED, GROWN.len() + 1)
        )),
    )
});

/// Writes it, to those of its rooms that are as they were.
pub(super) async fn write(connection: &mut Connection, growth: &Growth<'_>) -> Result<Written, StoreError> {
    let query = bind(sqlx::query(WRITE.as_str()), &GROWN, &growth.rooms.iter().map(Grown::values).collect::<Vec<_>>());
    let entries: Vec<_> = growth.entries.iter().map(undated).collect();
    let written = bind(query, &UNDATED, &entries).fetch_all(connection).await?;
    let at_ms = written.first().map_or(Ok(growth.now_ms), |room| row::number(room, "now_ms"))?;
    Ok(Written { rooms: written.iter().map(locks::room_of).collect::<Result<_, _>>()?, at_ms })
}

const fn undated<'v>(
    [room, seq, _, kind, device, instance, counter, target, hash, envelope]: &EntryRow<'v>,
) -> [Value<'v>; 9] {
    [*room, *seq, *kind, *device, *instance, *counter, *target, *hash, *envelope]
}

#[cfg(test)]
mod tests {
    use snug_protocol::{HistoryId, RoomId};

    use super::super::explain::{assert_searches, assert_uses, filled};
    use super::*;
    use crate::sql::growth::{as_they_were, for_the_first_of};

    async fn counts(connection: &mut Connection) -> (i64, i64) {
        const COUNTS: &str = "select (select count(*) from entry), (select sum(head) from room)::bigint";
        sqlx::query_as(COUNTS).fetch_one(connection).await.expect("two numbers")
    }

    #[tokio::test]
    async fn nothing_is_written_to_a_room_that_is_not_as_it_was_when_the_batch_was_decided_upon() {
        let mut connection = filled().await;
        let ids: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as("select room, history from room order by room limit 6")
            .fetch_all(&mut connection)
            .await
            .expect("rooms");
        let history = HistoryId(ids[0].1[..].try_into().expect("16 bytes"));
        let rooms: Vec<RoomId> = ids.iter().map(|(id, _)| RoomId(id[..].try_into().expect("16 bytes"))).collect();
        let before = counts(&mut connection).await;
        let rooms: [RoomId; 6] = rooms.try_into().expect("six rooms");
        let written = write(&mut connection, &for_the_first_of(&rooms, &as_they_were(history))).await.expect("written");
        assert_eq!(written.rooms, [rooms[0]].into());
        assert!(written.at_ms > 1_700_000_000_000, "by the database's clock: {}", written.at_ms);
        assert_eq!(counts(&mut connection).await, (before.0 + 1, before.1 + 1));
    }

    #[tokio::test]
    async fn a_batch_is_written_by_keys() {
        assert_searches(&WRITE).await;
        assert_uses(&WRITE, "entry_pkey", &["room", "seq"]).await;
    }
}
