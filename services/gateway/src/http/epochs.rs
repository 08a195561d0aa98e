//! A new room key: sealed keys are staged in parts, then a record makes them valid and ends the membership of those who get none.

use std::collections::HashSet;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use snug_protocol::http::{Committed, EpochKeys, NewEpoch, SealedKey, StageKeys};
use snug_protocol::limits::{ADMINS_MAX, EPOCH_KEY_BYTES, EPOCH_KEYS_PAGE_MAX, REMOVALS_MAX};
use snug_protocol::{DeviceId, EntryKind, EnvelopeHash, ErrorCode, RoomId};
use snug_store::Store;
use utoipa::IntoParams;

use super::Door;
use super::address::ClientAddress;
use super::create::recovery_device;
use super::error::ApiError;
use super::extract::{Asked, At, Body};
use super::password::NewPassword;
use super::steps::{chain_entry, committed, in_range};
use super::{invites, right};
use crate::auth::Authenticated;
use crate::chat::Chat;
use crate::session::SessionParts;

/// Whether each device is named once.
fn are_distinct<'a>(devices: impl IntoIterator<Item = &'a DeviceId>) -> bool {
    let mut seen = HashSet::new();
    devices.into_iter().all(|device| seen.insert(device))
}

/// Takes sealed keys for the epoch after the present one. Admins only.
#[utoipa::path(put, path = "/api/rooms/{room}/epochs/{epoch}/keys", tag = "administration",
    params(("room" = RoomId, Path), ("epoch" = u32, Path)), request_body = StageKeys, responses((status = 204)))]
pub async fn stage(
    State(store): State<Store>,
    State(chat): State<Chat>,
    caller: Authenticated,
    At((room, epoch)): At<(RoomId, u32)>,
    Body(request): Body<StageKeys>,
) -> Result<StatusCode, ApiError> {
    chat.charge(caller.device())?;
    let record = EnvelopeHash(request.record.array().ok_or(ErrorCode::BadRequest)?);
    let whose = request.keys.iter().map(|sealed| &sealed.device);
    if !(1..=EPOCH_KEYS_PAGE_MAX).contains(&request.keys.len()) || !are_distinct(whose) {
        return Err(ErrorCode::BadRequest.into());
    }
    let keys: Option<Vec<(DeviceId, [u8; EPOCH_KEY_BYTES])>> =
        request.keys.iter().map(|sealed| Some((sealed.device, sealed.key.array()?))).collect();
    store.stage_epoch_keys(room, caller.device(), epoch, record, keys.ok_or(ErrorCode::BadRequest)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which keys are asked for.
#[derive(Deserialize, IntoParams)]
pub struct KeysQuery {
    /// Devices, at most 20, joined by commas: what was sealed to them as well.
    of: Option<String>,
}

impl KeysQuery {
    fn devices(&self) -> Result<Vec<DeviceId>, ErrorCode> {
        let of = self.of.as_deref().into_iter().flat_map(|of| of.split(','));
        let of: Result<Vec<DeviceId>, _> = of.take(ADMINS_MAX + 1).map(str::parse).collect();
        of.ok().filter(|of| of.len() <= ADMINS_MAX).ok_or(ErrorCode::BadRequest)
    }
}

/// Whom an epoch's key was sealed to, the caller's own, and those that are asked for: whoever has the key can tell whether they are it.
#[utoipa::path(get, path = "/api/rooms/{room}/epochs/{epoch}/keys", tag = "administration",
    params(("room" = RoomId, Path), ("epoch" = u32, Path), KeysQuery), responses((status = 200, body = EpochKeys)))]
pub async fn keys(
    State(store): State<Store>,
    caller: Authenticated,
    At((room, epoch)): At<(RoomId, u32)>,
    Asked(query): Asked<KeysQuery>,
) -> Result<Json<EpochKeys>, ApiError> {
    let of = query.devices()?;
    right::role(&store, room, caller.device()).await?;
    let found = store.epoch_keys(room, epoch, caller.device()).await?;
    let seals = store.epoch_seals(room, epoch, &of).await?;
    let seals = seals.into_iter().map(|(device, key)| SealedKey { device, key: key.into() }).collect();
    Ok(Json(EpochKeys { recipients: found.recipients, seals, key: found.key.map(Into::into) }))
}

/// Begins the next epoch. Admins only.
#[utoipa::path(post, path = "/api/rooms/{room}/epochs", tag = "administration", params(("room" = RoomId, Path)),
    request_body = NewEpoch, responses((status = 200, body = Committed)))]
pub async fn begin(
    State(door): State<Door>,
    State(session): State<Arc<SessionParts>>,
    caller: Authenticated,
    ClientAddress(address): ClientAddress,
    At(room): At<RoomId>,
    Body(request): Body<NewEpoch>,
) -> Result<Json<Committed>, ApiError> {
    session.chat.charge(caller.device())?;
    let NewEpoch { record, remove, ban, recipients, sent_at_ms, recovery, grant, kdf, auth, blob } = request;
    let record = chain_entry(record, EntryKind::EpochRecord, room, caller.device())?;
    // Nobody ends their own membership by a record; that is what `leave` is for.
    let makes_sense =
        remove.len() <= REMOVALS_MAX && (!ban || !remove.is_empty()) && !remove.contains(&caller.device());
    if !makes_sense || !are_distinct(&remove) {
        return Err(ErrorCode::BadRequest.into());
    }
    let (recipients, sent_at_ms) = (recipients.array().ok_or(ErrorCode::BadRequest)?, in_range(sent_at_ms)?);
    let recovery = recovery.map(|device| recovery_device(&device, caller.device())).transpose()?;
    let password = NewPassword::check(grant, kdf, &auth, blob)?;
    let secret = password.hash_for_admin((&session.store, &door), (room, caller.device()), address).await?;
    let new = snug_store::NewEpoch { record, remove, ban, recipients, sent_at_ms, recovery, grant, kdf, secret };
    let chat = session.chat.clone();
    // In a task of its own: a caller who hangs up must not keep the news from those who are removed.
    let work = session.table.tasks().spawn(async move { chat.begin_epoch(new).await });
    let (sent, revoked) = work.await.map_err(|_| ErrorCode::Internal)??;
    Ok(Json(Committed { revoked: Some(revoked.iter().map(invites::invite).collect()), ..committed(sent) }))
}
