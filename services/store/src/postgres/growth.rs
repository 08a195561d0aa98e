//! Writing what a batch adds, in one statement: each way to the server and back costs more than what is done there.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use snug_protocol::RoomId;

use super::lists::{bind, unnested};
use super::statements::texts::{COUNTER, ENTRY, insert_entries, upsert_counters};
use super::{Connection, locks};
use crate::StoreError;
use crate::sql::growth::{Grown, Growth};
use crate::sql::list::Kind::{self, Bytes, Number};
use crate::sql::list::{Value, number};

/// Whether a batch may go without a transaction: the statement is one by itself.
pub(super) const AT_ONCE: bool = true;

const GROWN: [Kind; 6] = [Bytes, Bytes, Number, Number, Number, Number];

/// Writes to those rooms that are still as they were when the batch was decided upon, and that nobody else is writing to. Whether a room is,
/// is seen on its newest row, under the lock: if somebody has written since the statement began, Postgres compares again.
static WRITE: LazyLock<String> = LazyLock::new(|| {
    const HELD: &str = "where c1 in (select room from held)";
    let (entries, counters) = (GROWN.len() + 1, GROWN.len() + ENTRY.len() + 1);
    format!(
        "with grown (room, history, was_head, was_access_version, head, access_version) as ({grown}),
         held as materialized (
             select room.room from room join grown on grown.room = room.room
             where room.history = grown.history
                 and room.head = grown.was_head and room.access_version = grown.was_access_version
             for update of room skip locked),
         written as ({written}),
         counted as ({counted})
         update room set head = grown.head, access_version = grown.access_version
         from grown join held on held.room = grown.room where room.room = grown.room
         returning room.room",
        grown = unnested(&GROWN, 1),
        written = insert_entries(&format!("{} {HELD}", unnested(&ENTRY, entries))),
        counted = upsert_counters(&format!("{} {HELD}", unnested(&COUNTER, counters))),
    )
});

/// Writes it. The rooms that it was written to.
pub(super) async fn write(connection: &mut Connection, growth: &Growth<'_>) -> Result<BTreeSet<RoomId>, StoreError> {
    let rooms = growth.rooms.iter().map(|Grown { room, history, was, is }| {
        let [was, is] = [was, is].map(|(head, access_version)| (number(head.0), number(*access_version)));
        [Value::Bytes(&room.0), Value::Bytes(&history.0), was.0, was.1, is.0, is.1]
    });
    let query = bind(sqlx::query(WRITE.as_str()), &GROWN, &rooms.collect::<Vec<_>>());
    let query = bind(bind(query, &ENTRY, &growth.entries), &COUNTER, &growth.counters);
    let written = query.fetch_all(connection).await?;
    written.iter().map(locks::room_of).collect()
}

#[cfg(test)]
mod tests {
    use snug_protocol::{HistoryId, Seq};

    use super::super::explain::{assert_searches, filled};
    use super::*;

    async fn counts(connection: &mut Connection) -> (i64, i64, i64) {
        const COUNTS: &str = "select (select count(*) from entry), (select count(*) from sender_instance), \
                                     (select sum(head) from room)::bigint";
        sqlx::query_as(COUNTS).fetch_one(connection).await.expect("three numbers")
    }

    #[tokio::test]
    async fn nothing_is_written_to_a_room_that_is_not_as_it_was_when_the_batch_was_decided_upon() {
        let mut connection = filled().await;
        let ids: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as("select room, history from room order by room limit 4")
            .fetch_all(&mut connection)
            .await
            .expect("rooms");
        let history = HistoryId(ids[0].1[..].try_into().expect("16 bytes"));
        let rooms: Vec<RoomId> = ids.iter().map(|(id, _)| RoomId(id[..].try_into().expect("16 bytes"))).collect();
        let before = counts(&mut connection).await;
        let new = Value::Bytes(&[9; 16]);
        let entry = |room| {
            let hash = Value::Bytes(&[9; 32]);
            [room, number(101), number(0), number(3), new, new, number(0), number(0), hash, new]
        };
        let [as_it_was, has_grown, somebody_lost_access, another] = &rooms[..] else { panic!("four rooms") };
        let (history, other, is) = (&history, &HistoryId([7; 16]), (Seq(101), 1));
        let growth = Growth {
            entries: rooms.iter().map(|room| entry(Value::Bytes(&room.0))).collect(),
            counters: rooms.iter().map(|room| [Value::Bytes(&room.0), new, new, number(1)]).collect(),
            rooms: vec![
                Grown { room: as_it_was, history, was: (Seq(100), 1), is },
                Grown { room: has_grown, history, was: (Seq(99), 1), is },
                Grown { room: somebody_lost_access, history, was: (Seq(100), 0), is },
                Grown { room: another, history: other, was: (Seq(100), 1), is },
            ],
        };
        assert_eq!(write(&mut connection, &growth).await.expect("written"), BTreeSet::from([*as_it_was]));
        assert_eq!(counts(&mut connection).await, (before.0 + 1, before.1 + 1, before.2 + 1));
    }

    #[tokio::test]
    async fn a_batch_is_written_by_keys() {
        assert_searches(&WRITE).await;
    }
}
