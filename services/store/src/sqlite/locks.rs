//! What a transaction locks before it looks: nothing here, since it holds SQLite's one lock from its first statement on.

use snug_protocol::{DeviceId, RoomId};

use super::Connection;
use crate::StoreError;
use crate::sql::FreeRooms;

/// Locks a room until the transaction ends.
pub(super) async fn room(_: &mut Connection, _: RoomId) -> Result<(), StoreError> {
    Ok(())
}

/// Locks those of `rooms` that are free, waiting for `awaited` alone. All are; one that is missing is found to be so by what follows.
/// Not asked in fact: here every batch goes at once.
pub(super) async fn free_rooms(
    _: &mut Connection,
    _awaited: Option<RoomId>,
    rooms: Vec<RoomId>,
) -> Result<FreeRooms, StoreError> {
    Ok(FreeRooms { locked: rooms.into_iter().collect(), ..FreeRooms::default() })
}

/// Locks the rooms that a device is a member of.
pub(super) async fn rooms_of(_: &mut Connection, _: DeviceId) -> Result<(), StoreError> {
    Ok(())
}

/// Locks a device that has entered some room, so that its rooms can be counted.
pub(super) async fn device(_: &mut Connection, _: DeviceId) -> Result<(), StoreError> {
    Ok(())
}

/// Locks the note of a room that is being erased.
pub(super) async fn erasure(_: &mut Connection, _: RoomId) -> Result<(), StoreError> {
    Ok(())
}
