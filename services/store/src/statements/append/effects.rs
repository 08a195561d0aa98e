//! What entries do besides making the log longer.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use snug_protocol::RoomId;

use super::super::lists::Lists;
use super::super::{Connection, tombstone};
use crate::StoreError;
use crate::sql::list::Kind::{Bytes, Number};
use crate::sql::list::{Value, number};
use crate::sql::plan::Plan;

static PROFILES: LazyLock<Lists> = LazyLock::new(|| {
    Lists::new(&[Bytes, Bytes, Number], |rows| {
        format!(
            "with told (room, device, seq) as ({rows})
             update member set profile_seq = told.seq from told where member.room = told.room and member.device = told.device"
        )
    })
});
static LEAVERS: LazyLock<Lists> = LazyLock::new(|| {
    Lists::new(&[Bytes, Bytes], |rows| {
        format!(
            "with gone (room, device) as ({rows})
             update member set state = 2 from gone where member.room = gone.room and member.device = gone.device"
        )
    })
});
static SLOWED: LazyLock<Lists> = LazyLock::new(|| {
    Lists::new(&[Bytes, Bytes, Number], |rows| {
        format!(
            "with slowed (room, device, at_ms) as ({rows})
             update member set wrote_at_ms = slowed.at_ms from slowed
             where member.room = slowed.room and member.device = slowed.device"
        )
    })
});

/// Writes what is more than growth: profiles, who has left or must wait, and what is deleted; but for these rooms.
pub(super) async fn write(
    connection: &mut Connection,
    plan: &Plan,
    left_out: &BTreeSet<RoomId>,
) -> Result<(), StoreError> {
    let is_written = |room: &RoomId| !left_out.contains(room);
    let profiles = plan.profiles.iter().filter(|((room, _), _)| is_written(room));
    let profiles =
        profiles.map(|((room, device), seq)| [Value::Bytes(&room.0), Value::Bytes(&device.0), number(seq.0)]);
    PROFILES.execute(connection, &profiles.collect::<Vec<_>>()).await?;
    let leavers = plan.leavers.iter().filter(|(room, _)| is_written(room));
    let leavers = leavers.map(|(room, device)| [Value::Bytes(&room.0), Value::Bytes(&device.0)]);
    LEAVERS.execute(connection, &leavers.collect::<Vec<_>>()).await?;
    let slowed = plan.slowed.iter().filter(|(room, _)| is_written(room));
    let slowed = slowed.map(|(room, device)| [Value::Bytes(&room.0), Value::Bytes(&device.0), number(plan.now_ms)]);
    SLOWED.execute(connection, &slowed.collect::<Vec<_>>()).await?;
    let deleted: Vec<_> = plan.deleted.iter().filter(|(room, _)| is_written(room)).collect();
    tombstone::erase_messages(connection, &deleted).await
}

#[cfg(test)]
mod tests {
    use super::super::super::explain::assert_searches;
    use super::*;

    #[tokio::test]
    async fn members_are_changed_by_their_keys() {
        for text in [&PROFILES, &LEAVERS, &SLOWED].iter().flat_map(|lists| lists.texts()) {
            assert_searches(text).await;
        }
    }
}
