//! Who is or was a member: keys and newest profile of each device.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use snug_protocol::frame::EntryFrame;
use snug_protocol::http::{Entry, Member, MembersAnswer};
use snug_protocol::limits::MEMBERS_PAGE_MAX;
use snug_protocol::{DeviceId, ErrorCode, RoomId};
use snug_store::Store;

use super::error::ApiError;
use super::extract::{Asked, At};
use super::right;
use crate::auth::Authenticated;

/// An entry as JSON.
pub fn entry(frame: &EntryFrame) -> Entry {
    Entry { seq: frame.seq(), at_ms: frame.at_ms(), envelope: frame.envelope_bytes().to_vec().into() }
}

fn member(member: &snug_store::Member) -> Member {
    Member {
        device: member.keys.device,
        sign_key: member.keys.sign_key.into(),
        agree_key: member.keys.agree_key.into(),
        role: member.role,
        state: member.state,
        joined_at_ms: member.joined_at_ms,
        profile: member.profile.as_ref().map(entry),
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MembersQuery {
    /// The last device of the page before.
    after: Option<DeviceId>,
}

/// A page of the room's members, in order of device id.
#[utoipa::path(get, path = "/api/rooms/{room}/members", tag = "rooms", params(("room" = RoomId, Path), MembersQuery),
    responses((status = 200, body = MembersAnswer)))]
pub async fn list(
    State(store): State<Store>,
    caller: Authenticated,
    At(room): At<RoomId>,
    Asked(query): Asked<MembersQuery>,
) -> Result<Json<MembersAnswer>, ApiError> {
    right::role(&store, room, caller.device()).await?;
    let mut members = store.members(room, query.after, MEMBERS_PAGE_MAX + 1).await?;
    let more = members.len() > MEMBERS_PAGE_MAX;
    members.truncate(MEMBERS_PAGE_MAX);
    Ok(Json(MembersAnswer { members: members.iter().map(member).collect(), more }))
}

/// One member.
#[utoipa::path(get, path = "/api/rooms/{room}/members/{device}", tag = "rooms",
    params(("room" = RoomId, Path), ("device" = DeviceId, Path)), responses((status = 200, body = Member)))]
pub async fn one(
    State(store): State<Store>,
    caller: Authenticated,
    At((room, device)): At<(RoomId, DeviceId)>,
) -> Result<Json<Member>, ApiError> {
    right::role(&store, room, caller.device()).await?;
    let found = store.member(room, device).await?.ok_or(ErrorCode::NotFound)?;
    Ok(Json(member(&found)))
}
