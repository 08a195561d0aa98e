//! Writing what a batch adds: one statement after the other, since the way to the database is a call.

use std::sync::LazyLock;

use super::Connection;
use super::lists::Lists;
use super::statements::texts::ENTRIES;
use crate::StoreError;
use crate::sql::growth::{Grown, Growth, Written};
use crate::sql::list::Kind::{Bytes, Number};
use crate::sql::list::{Value, number};

/// Whether a batch may go without a transaction. Here one costs nothing, and is the lock on everything.
pub(super) const AT_ONCE: bool = false;

static HEADS: LazyLock<Lists> = LazyLock::new(|| {
    Lists::new(&[Bytes, Number, Number], |rows| {
        format!(
            "with grown (room, head, access_version) as ({rows})
             update room set head = grown.head, access_version = grown.access_version
             from grown where room.room = grown.room"
        )
    })
});

/// Writes it, to all its rooms: nobody else can write.
pub(super) async fn write(connection: &mut Connection, growth: &Growth<'_>) -> Result<Written, StoreError> {
    ENTRIES.execute(connection, &growth.entries).await?;
    let rooms = growth.rooms.iter().map(|Grown { room, is: (head, access_version), .. }| {
        [Value::Bytes(&room.0), number(head.0), number(*access_version)]
    });
    HEADS.execute(connection, &rooms.collect::<Vec<_>>()).await?;
    Ok(Written { rooms: growth.rooms.iter().map(|grown| *grown.room).collect(), at_ms: growth.now_ms })
}

#[cfg(test)]
mod tests {
    use super::super::explain::assert_searches;
    use super::*;

    #[tokio::test]
    async fn heads_are_moved_by_their_keys() {
        for text in HEADS.texts() {
            assert_searches(text).await;
        }
    }
}
