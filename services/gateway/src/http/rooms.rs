//! A device's rooms, and the end of one.

use std::time::Duration;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use snug_bus::BusEvent;
use snug_protocol::http::{Role, RoomInfo, RoomsAnswer};
use snug_protocol::{ErrorCode, RoomId};
use snug_store::{Room, Store};

use super::error::ApiError;
use super::extract::At;
use super::right;
use crate::auth::Authenticated;
use crate::chat::Chat;
use crate::session::SessionParts;

/// A room as a member with `role` sees it.
pub fn info(room: Room, role: Role) -> RoomInfo {
    RoomInfo {
        room: room.room,
        name: room.name,
        history: room.history,
        head: room.head,
        epoch: room.epoch,
        chain: room.chain,
        locked: room.locked,
        role,
    }
}

/// The rooms this device is a member of.
#[utoipa::path(get, path = "/api/rooms", tag = "rooms", responses((status = 200, body = RoomsAnswer)))]
pub async fn list(State(store): State<Store>, caller: Authenticated) -> Result<Json<RoomsAnswer>, ApiError> {
    let rooms = store.rooms_of(caller.device()).await?;
    Ok(Json(RoomsAnswer { rooms: rooms.into_iter().map(|(room, role)| info(room, role)).collect() }))
}

/// How often those in a room that is being erased are told to look.
const NEWS_PERIOD: Duration = Duration::from_millis(250);

/// Erases the room for everyone. Owners only.
#[utoipa::path(delete, path = "/api/rooms/{room}", tag = "rooms", params(("room" = RoomId, Path)), responses((status = 204)))]
pub async fn erase(
    State(store): State<Store>,
    State(chat): State<Chat>,
    State(session): State<Arc<SessionParts>>,
    caller: Authenticated,
    At(room): At<RoomId>,
) -> Result<StatusCode, ApiError> {
    if right::role(&store, room, caller.device()).await? != Role::Owner {
        return Err(ErrorCode::NotAllowed.into());
    }
    // In a task of its own: a caller who hangs up must not keep the news from those who are in the room.
    let deletion = session.table.tasks().spawn(async move {
        let erasing = store.delete_room(room);
        let mut erasing = std::pin::pin!(erasing);
        // Entries are erased in parts after the room is gone, which may take a while; the news need not wait for that.
        let outcome = loop {
            tokio::select! {
                outcome = &mut erasing => break outcome,
                () = tokio::time::sleep(NEWS_PERIOD) => chat.publish(BusEvent::Access { room, device: None }),
            }
        };
        chat.publish(BusEvent::Access { room, device: None });
        outcome
    });
    deletion.await.map_err(|_| ErrorCode::Internal)??;
    Ok(StatusCode::NO_CONTENT)
}
