//! New rooms: the caller's device becomes the owner, the recovery device is noted, the epoch record becomes seq 1.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use snug_protocol::frame::EntryFrame;
use snug_protocol::http::{CreateRoom, Entered, RecoveryDevice, Role};
use snug_protocol::limits::{EPOCH_KEY_BYTES, ROOM_NAME_CHARS_MAX};
use snug_protocol::{DeviceId, EntryKind, Envelope, ErrorBody, ErrorCode, GrantId, RoomId, Seq, names};
use snug_store::{CreateRoomError, DeviceKeys, NewRoom, Room, Standing, Store};

use super::Door;
use super::address::ClientAddress;
use super::entry::set_cookie;
use super::error::{ApiError, wait};
use super::extract::Body;
use super::password::{KDF, NewPassword};
use super::{members, rooms};
use crate::auth::{SignInScope, SignedIn, Tokens, device_keys, verify_sign_in};
use crate::config::Identity;

/// Names tried when a room's name is taken.
const VARIANTS_TRIED: usize = 20;

/// Creates a room; the caller's device becomes its owner.
#[utoipa::path(post, path = "/api/rooms", tag = "entry", request_body = CreateRoom, responses((status = 201, body = Entered)))]
pub async fn create(
    State(store): State<Store>,
    State(door): State<Door>,
    State(tokens): State<Tokens>,
    State(identity): State<Arc<Identity>>,
    ClientAddress(address): ClientAddress,
    Body(request): Body<CreateRoom>,
) -> Result<Response, ApiError> {
    door.creates
        .charge(&crate::limit::subject(address), Instant::now())
        .map_err(|span| wait(ErrorCode::TooManyAttempts, span))?;
    let name = names::normalise(&request.name, ROOM_NAME_CHARS_MAX).map_err(|_| ErrorCode::RoomNameInvalid)?;
    let scope = SignInScope::Enter(request.room, request.grant);
    let signed_in = verify_sign_in(&request.sign_in, scope, &door.nonces, &identity, door.clock.now_ms())?;
    let password = NewPassword::check(request.grant, request.kdf, &request.auth, request.blob)?;
    let recovery = recovery_device(&request.recovery, signed_in.device())?;
    let record = first_record(request.epoch_record.0, request.room, &signed_in)?;
    let (room, record) = match created_before(&store, request.room, &record, &signed_in).await? {
        Some(created) => created,
        None => {
            let draft = Draft { room: request.room, grant: request.grant, name, record, recovery };
            create_now(&store, &door, draft, password, &signed_in).await?
        }
    };
    let (token, token_expires_at_ms) = tokens.issue(&signed_in).await?;
    let entered = Entered {
        room: rooms::info(room, Role::Owner),
        device: signed_in.device(),
        blob: Vec::new().into(),
        epoch_record: members::entry(&record),
        token: request.sign_in.bearer.then(|| token.clone()),
        token_expires_at_ms,
    };
    let cookie = set_cookie(request.sign_in.bearer, &token, &identity);
    Ok((StatusCode::CREATED, cookie, Json(entered)).into_response())
}

/// A room that this very request has made already, when the answer was lost on its way.
async fn created_before(
    store: &Store,
    room: RoomId,
    record: &Envelope,
    signed_in: &SignedIn,
) -> Result<Option<(Room, EntryFrame)>, ApiError> {
    if store.entry_hash(room, Seq(1)).await? != Some(record.hash())
        || store.standing(room, signed_in.device()).await? != Some(Standing::Member(Role::Owner))
    {
        return Ok(None);
    }
    let row = store.room(room).await?;
    let first = store.read_after(room, Seq::ZERO, 1, usize::MAX).await?.pop();
    Ok(row.zip(first))
}

/// A room to be created, all but its password.
struct Draft {
    room: RoomId,
    grant: GrantId,
    name: String,
    record: Envelope,
    recovery: (DeviceKeys, [u8; EPOCH_KEY_BYTES]),
}

/// The recovery device's keys and its sealed room key; it must be another device than the one that names it.
pub(super) fn recovery_device(
    recovery: &RecoveryDevice,
    named_by: DeviceId,
) -> Result<(DeviceKeys, [u8; EPOCH_KEY_BYTES]), ErrorCode> {
    let (sign_key, agree_key) =
        recovery.sign_key.array().zip(recovery.agree_key.array()).ok_or(ErrorCode::BadRequest)?;
    let keys = device_keys(sign_key, agree_key).ok_or(ErrorCode::BadRequest)?;
    let key = recovery.key.array().ok_or(ErrorCode::BadRequest)?;
    if keys.device == named_by { Err(ErrorCode::BadRequest) } else { Ok((keys, key)) }
}

async fn create_now(
    store: &Store,
    door: &Door,
    draft: Draft,
    password: NewPassword,
    signed_in: &SignedIn,
) -> Result<(Room, EntryFrame), ApiError> {
    let Draft { room, grant, name, record, recovery: (recovery, recovery_key) } = draft;
    let likeness = names::likeness(&name);
    if store.name_taken(&likeness).await? {
        return Err(name_taken(store, &name).await);
    }
    let new = NewRoom {
        room,
        name: name.clone(),
        likeness,
        owner: *signed_in.keys(),
        recovery,
        recovery_key,
        grant,
        kdf: KDF,
        secret: password.hash(door, room).await?,
        epoch_record: record,
    };
    match store.create_room(new).await {
        Ok(created) => Ok(created),
        Err(CreateRoomError::NameTaken) => Err(name_taken(store, &name).await),
        Err(CreateRoomError::IdTaken) => Err(ErrorCode::IdTaken.into()),
        Err(CreateRoomError::TooManyRooms) => Err(ErrorCode::TooManyRooms.into()),
        Err(CreateRoomError::Store(error)) => Err(error.into()),
    }
}

/// The record of epoch 0 must be the creator's first envelope in this very room.
fn first_record(bytes: Vec<u8>, room: RoomId, signed_in: &SignedIn) -> Result<Envelope, ErrorCode> {
    let record = Envelope::parse(bytes.into()).map_err(|_| ErrorCode::BadEnvelope)?;
    let header = record.header();
    if header.device != signed_in.device() {
        return Err(ErrorCode::WrongDevice);
    }
    let first = header.kind == EntryKind::EpochRecord
        && header.room == room
        && (header.epoch, header.counter, header.target.0) == (0, 0, 0);
    if first { Ok(record) } else { Err(ErrorCode::BadEnvelope) }
}

/// The refusal, with a name like it that is free.
async fn name_taken(store: &Store, name: &str) -> ApiError {
    for number in 2..2 + VARIANTS_TRIED {
        let ending = format!(" {number}");
        let stem: String = name.chars().take(ROOM_NAME_CHARS_MAX - ending.chars().count()).collect();
        let variant = format!("{}{ending}", stem.trim_end());
        match store.name_taken(&names::likeness(&variant)).await {
            Ok(false) => return ErrorBody { free_variant: Some(variant), ..ErrorCode::RoomNameTaken.into() }.into(),
            Ok(true) => {}
            Err(error) => return error.into(),
        }
    }
    ErrorCode::RoomNameTaken.into()
}
