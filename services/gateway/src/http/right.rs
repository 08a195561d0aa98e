//! Which role a caller has in the room that a request is about.

use snug_protocol::http::Role;
use snug_protocol::{DeviceId, RoomId};
use snug_store::Store;

use super::error::ApiError;
use crate::auth;

/// The role of `device` in `room`; a recovery device counts as an owner.
///
/// # Errors
/// `not_a_member` (also for a room that does not exist), `removed`, `banned`, `recovery_replaced`, or the database's failure.
pub async fn role(store: &Store, room: RoomId, device: DeviceId) -> Result<Role, ApiError> {
    Ok(auth::right(store.standing(room, device).await?)?)
}
