//! Parts of a room's log that one wants without the rest: who governs it, and what is pinned.

use axum::extract::State;
use axum::response::Response;
use snug_protocol::limits::PINS_PAGE_MAX;
use snug_protocol::{ErrorCode, RoomId};
use snug_store::Store;

use super::error::ApiError;
use super::extract::{Asked, At};
use super::history::{self, HistoryQuery};
use super::right;
use crate::auth::Authenticated;

/// A page of the room's chain: epoch records and steps, ending before `before`.
#[utoipa::path(get, path = "/api/rooms/{room}/chain", tag = "rooms",
    params(("room" = RoomId, Path), HistoryQuery),
    responses((status = 200, description = "As of history, with chain entries only.", content_type = "application/vnd.snug.log", body = Vec<u8>)))]
pub async fn chain(
    State(store): State<Store>,
    caller: Authenticated,
    At(room): At<RoomId>,
    Asked(query): Asked<HistoryQuery>,
) -> Result<Response, ApiError> {
    let (before, limit) = query.check()?;
    right::role(&store, room, caller.device()).await?;
    let page = store.chain(room, before, limit).await?.ok_or(ErrorCode::NotAMember)?;
    Ok(history::answer(&page))
}

/// The room's newest pins.
#[utoipa::path(get, path = "/api/rooms/{room}/pins", tag = "rooms", params(("room" = RoomId, Path)),
    responses((status = 200, description = "As of history, with pins only.", content_type = "application/vnd.snug.log", body = Vec<u8>)))]
pub async fn pins(
    State(store): State<Store>,
    caller: Authenticated,
    At(room): At<RoomId>,
) -> Result<Response, ApiError> {
    right::role(&store, room, caller.device()).await?;
    let page = store.pins(room, PINS_PAGE_MAX).await?.ok_or(ErrorCode::NotAMember)?;
    Ok(history::answer(&page))
}
