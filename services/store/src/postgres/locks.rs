//! What a transaction locks before it looks. A statement after the lock sees what the lock's last holder committed; one that locks and
//! looks at once would not.
//!
//! A batch waits only for one room, while it holds nothing; whoever else locks several rooms takes them in the order of their ids.

use std::collections::BTreeSet;

use snug_protocol::{DeviceId, RoomId};
use sqlx::Row as _;

use super::{Connection, Row};
use crate::StoreError;
use crate::sql::FreeRooms;

/// Locks a room until the transaction ends.
pub(super) async fn room(connection: &mut Connection, room: RoomId) -> Result<(), StoreError> {
    try_room(connection, room).await.map(drop)
}

/// Locks a room until the transaction ends. Whether there is one.
async fn try_room(connection: &mut Connection, room: RoomId) -> Result<bool, StoreError> {
    const LOCK: &str = "select room from room where room = $1 for update";
    Ok(sqlx::query(LOCK).bind(&room.0[..]).fetch_optional(connection).await?.is_some())
}

/// Locks those of `rooms` that are free, waiting for `awaited` alone.
pub(super) async fn free_rooms(
    connection: &mut Connection,
    awaited: Option<RoomId>,
    rooms: Vec<RoomId>,
) -> Result<FreeRooms, StoreError> {
    const LOCK: &str = "select room from room where room = any($1) order by room for update skip locked";
    const FIND: &str = "select room from room where room = any($1)";
    let mut free = FreeRooms::default();
    if let Some(awaited) = awaited {
        let there = try_room(connection, awaited).await?;
        let set = if there { &mut free.locked } else { &mut free.missing };
        set.insert(awaited);
    }
    let rooms: Vec<RoomId> = rooms.into_iter().filter(|room| Some(*room) != awaited).collect();
    if rooms.is_empty() {
        return Ok(free);
    }
    free.locked.append(&mut select(connection, LOCK, &rooms).await?);
    let rest: Vec<RoomId> = rooms.into_iter().filter(|room| !free.locked.contains(room)).collect();
    if !rest.is_empty() {
        let there = select(connection, FIND, &rest).await?;
        free.missing.extend(rest.into_iter().filter(|room| !there.contains(room)));
    }
    Ok(free)
}

async fn select(
    connection: &mut Connection,
    select: &'static str,
    rooms: &[RoomId],
) -> Result<BTreeSet<RoomId>, StoreError> {
    let ids: Vec<&[u8]> = rooms.iter().map(|room| &room.0[..]).collect();
    let found = sqlx::query(select).bind(ids).fetch_all(connection).await?;
    found.iter().map(room_of).collect()
}

/// A row's room.
pub(super) fn room_of(row: &Row) -> Result<RoomId, StoreError> {
    let id: &[u8] = row.try_get("room")?;
    id.try_into().map(RoomId).map_err(|_| StoreError::corrupt("a room's id is not 16 bytes"))
}

/// Locks the rooms that a device is a member of.
pub(super) async fn rooms_of(connection: &mut Connection, device: DeviceId) -> Result<(), StoreError> {
    const LOCK: &str = "select room from room
         where room in (select room from member where device = $1 and state = 1) order by room for update";
    sqlx::query(LOCK).bind(&device.0[..]).execute(connection).await?;
    Ok(())
}

/// Locks a device that has entered some room, so that its rooms can be counted. Rooms may refer to it meanwhile.
pub(super) async fn device(connection: &mut Connection, device: DeviceId) -> Result<(), StoreError> {
    const LOCK: &str = "select device from device where device = $1 for no key update";
    sqlx::query(LOCK).bind(&device.0[..]).execute(connection).await?;
    Ok(())
}

/// Locks the note of a room that is being erased.
pub(super) async fn erasure(connection: &mut Connection, room: RoomId) -> Result<(), StoreError> {
    const LOCK: &str = "select room from erasure where room = $1 for update";
    sqlx::query(LOCK).bind(&room.0[..]).execute(connection).await?;
    Ok(())
}
