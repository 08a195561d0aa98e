//! Invites: made by any member, revoked by their maker or an owner.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use snug_protocol::http::{CreateInvite, Invite, InvitesAnswer, Role};
use snug_protocol::limits::{GRANT_BLOB_BYTES, INVITE_LIFE_MAX};
use snug_protocol::{ErrorCode, GrantId, RoomId};
use snug_store::{CreateInviteError, Grant, GrantKind, NewInvite, Store};

use super::Door;
use super::error::ApiError;
use super::extract::{At, Body};
use super::right;
use crate::auth::Authenticated;

/// An invite as it crosses the wire.
pub fn invite(grant: &Grant) -> Invite {
    Invite {
        grant: grant.grant,
        made_by: grant.made_by,
        created_at_ms: grant.created_at_ms,
        expires_at_ms: grant.expires_at_ms,
        uses: grant.uses,
        uses_max: grant.uses_max,
    }
}

/// The room's invites, without their secrets.
#[utoipa::path(get, path = "/api/rooms/{room}/invites", tag = "invites", params(("room" = RoomId, Path)),
    responses((status = 200, body = InvitesAnswer)))]
pub async fn list(
    State(store): State<Store>,
    caller: Authenticated,
    At(room): At<RoomId>,
) -> Result<Json<InvitesAnswer>, ApiError> {
    right::role(&store, room, caller.device()).await?;
    let invites = store.invites(room).await?;
    Ok(Json(InvitesAnswer { invites: invites.iter().map(invite).collect() }))
}

/// A new invite.
#[utoipa::path(post, path = "/api/rooms/{room}/invites", tag = "invites", params(("room" = RoomId, Path)),
    request_body = CreateInvite, responses((status = 201, body = Invite)))]
pub async fn create(
    State(store): State<Store>,
    State(door): State<Door>,
    caller: Authenticated,
    At(room): At<RoomId>,
    Body(request): Body<CreateInvite>,
) -> Result<(StatusCode, Json<Invite>), ApiError> {
    let auth = request.auth.array().ok_or(ErrorCode::BadRequest)?;
    let expires_in = request.expires_in_ms.map(Duration::from_millis);
    let in_range =
        expires_in.is_none_or(|span| !span.is_zero() && span <= INVITE_LIFE_MAX) && request.uses_max != Some(0);
    if request.blob.0.len() != GRANT_BLOB_BYTES || !in_range {
        return Err(ErrorCode::BadRequest.into());
    }
    right::role(&store, room, caller.device()).await?;
    let secret = door.secrets.make(GrantKind::Invite, room, request.grant, auth, request.blob.0).await?;
    let new = NewInvite {
        room,
        grant: request.grant,
        secret,
        made_by: caller.device(),
        expires_in,
        uses_max: request.uses_max,
    };
    match store.create_invite(new).await {
        Ok(grant) => Ok((StatusCode::CREATED, Json(invite(&grant)))),
        Err(CreateInviteError::TooManyInvites) => Err(ErrorCode::TooManyInvites.into()),
        Err(CreateInviteError::IdTaken) => Err(ErrorCode::IdTaken.into()),
        Err(CreateInviteError::NotAMember) => Err(ErrorCode::NotAMember.into()),
        Err(CreateInviteError::Locked) => Err(ErrorCode::RoomLocked.into()),
        Err(CreateInviteError::Store(error)) => Err(error.into()),
    }
}

/// Ends an invite. Who joined by it stays.
#[utoipa::path(delete, path = "/api/rooms/{room}/invites/{grant}", tag = "invites",
    params(("room" = RoomId, Path), ("grant" = GrantId, Path)), responses((status = 204)))]
pub async fn revoke(
    State(store): State<Store>,
    caller: Authenticated,
    At((room, grant)): At<(RoomId, GrantId)>,
) -> Result<StatusCode, ApiError> {
    let role = right::role(&store, room, caller.device()).await?;
    let row = store.grant(room, grant).await?.filter(|row| row.kind == GrantKind::Invite).ok_or(ErrorCode::NotFound)?;
    if role != Role::Owner && row.made_by != caller.device() {
        return Err(ErrorCode::NotAllowed.into());
    }
    store.delete_invite(room, grant).await?;
    Ok(StatusCode::NO_CONTENT)
}
