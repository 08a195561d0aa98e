//! Steps: what an admin does to a room. The server cannot read them, so the request repeats what it is to enforce.

use std::net::IpAddr;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use snug_protocol::http::{Committed, Effect, StepRequest};
use snug_protocol::limits::{RETENTION_MAX, RETENTION_MIN, SLOW_INTERVAL_MAX};
use snug_protocol::{Base64Bytes, DeviceId, EntryKind, Envelope, ErrorCode, RoomId};
use snug_store::{NewStep, StepEffect, StepError};

use super::Door;
use super::address::ClientAddress;
use super::error::ApiError;
use super::extract::{At, Body};
use super::password::NewPassword;
use crate::auth::Authenticated;
use crate::chat::{Sent, out_of_order};
use crate::session::SessionParts;

/// Numbers in JSON stay below this.
const NUMBER_END: u64 = 1 << 53;

/// Appends a step and applies its effect. Admins only.
#[utoipa::path(post, path = "/api/rooms/{room}/steps", tag = "administration", params(("room" = RoomId, Path)),
    request_body = StepRequest, responses((status = 200, body = Committed)))]
pub async fn take(
    State(door): State<Door>,
    State(session): State<Arc<SessionParts>>,
    caller: Authenticated,
    ClientAddress(address): ClientAddress,
    At(room): At<RoomId>,
    Body(request): Body<StepRequest>,
) -> Result<Json<Committed>, ApiError> {
    session.chat.charge(caller.device())?;
    let envelope = chain_entry(request.envelope, EntryKind::Step, room, caller.device())?;
    let effect = effect(request.effect, (&session, &door), (room, caller.device()), address).await?;
    let chat = session.chat.clone();
    // In a task of its own: a caller who hangs up must not keep the news from those who are in the room.
    let work = session.table.tasks().spawn(async move { chat.administer(NewStep { envelope, effect }).await });
    let sent = work.await.map_err(|_| ErrorCode::Internal)??;
    Ok(Json(committed(sent)))
}

/// A chain entry's envelope, checked as far as the request tells.
///
/// # Errors
/// `bad_envelope` also for another room's, `wrong_device`, `entry_not_accepted`, `out_of_order`.
pub fn chain_entry(bytes: Base64Bytes, kind: EntryKind, room: RoomId, device: DeviceId) -> Result<Envelope, ApiError> {
    let envelope = Envelope::parse(bytes.0.into()).map_err(|_| ErrorCode::BadEnvelope)?;
    let header = envelope.header();
    if header.device != device {
        return Err(ErrorCode::WrongDevice.into());
    }
    if header.kind != kind {
        return Err(ErrorCode::EntryNotAccepted.into());
    }
    if header.room != room {
        return Err(ErrorCode::BadEnvelope.into());
    }
    if header.counter != 0 {
        return Err(out_of_order(0).into());
    }
    Ok(envelope)
}

/// The answer to a chain entry.
pub const fn committed(sent: Sent) -> Committed {
    Committed { seq: sent.seq, at_ms: sent.at_ms, duplicate: sent.duplicate, revoked: None }
}

impl From<StepError> for ApiError {
    fn from(error: StepError) -> Self {
        if let StepError::Store(error) = error {
            return error.into();
        }
        crate::chat::step_body(&error).into()
    }
}

/// A number that JSON and databases can hold.
///
/// # Errors
/// `bad_request`.
pub fn in_range(number: u64) -> Result<u64, ErrorCode> {
    if number < NUMBER_END { Ok(number) } else { Err(ErrorCode::BadRequest) }
}

async fn effect(
    effect: Effect,
    (session, door): (&SessionParts, &Door),
    (room, author): (RoomId, DeviceId),
    address: IpAddr,
) -> Result<StepEffect, ApiError> {
    Ok(match effect {
        Effect::None {} => StepEffect::None,
        Effect::Role { device, role } => StepEffect::Role { device, role },
        Effect::Transfer { device } => StepEffect::Transfer { device },
        Effect::Lock { locked } => StepEffect::Lock { locked },
        Effect::Slow { interval_ms } if u128::from(interval_ms) <= SLOW_INTERVAL_MAX.as_millis() => {
            StepEffect::Slow { interval_ms }
        }
        Effect::Mute { device, until_ms } => StepEffect::Mute { device, until_ms: in_range(until_ms)? },
        Effect::Erase { device } => StepEffect::Erase { device },
        Effect::Unban { device } => StepEffect::Unban { device },
        Effect::Retention { age_ms } if age_ms == 0 || is_retention(age_ms) => StepEffect::Retention { age_ms },
        Effect::Password { grant, kdf, auth, blob } => {
            let password = NewPassword::check(grant, kdf, &auth, blob)?;
            let secret = password.hash_for_admin((&session.store, door), (room, author), address).await?;
            StepEffect::Password { grant, kdf, secret }
        }
        Effect::Slow { .. } | Effect::Retention { .. } => return Err(ErrorCode::BadRequest.into()),
    })
}

fn is_retention(age_ms: u64) -> bool {
    (RETENTION_MIN.as_millis()..=RETENTION_MAX.as_millis()).contains(&u128::from(age_ms))
}
