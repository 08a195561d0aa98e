//! Coming in: nonce, look-up, join, renew. A new room is `create`'s business.
//!
//! Attempts are charged before anything is hashed and refunded when they were right, and an unknown room costs and answers what a
//! wrong password does.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use snug_bus::BusEvent;
use snug_protocol::http::{Entered, JoinRequest, LookupAnswer, LookupRequest, NonceAnswer, Signed, TokenRequest};
use snug_protocol::limits::{NONCE_LIFE, ROOM_NAME_CHARS_MAX};
use snug_protocol::{ErrorCode, GrantId, RoomId, names};
use snug_store::{EnterError, Grant, Store};

use super::Door;
use super::address::ClientAddress;
use super::error::{ApiError, wait};
use super::extract::Body;
use super::password::KDF;
use super::{members, rooms};
use crate::auth::{Authenticated, Opened, SignInScope, Tokens, verify_sign_in};
use crate::chat::Chat;
use crate::config::Identity;
use crate::session::SessionParts;

/// A nonce for one sign-in.
#[utoipa::path(post, path = "/api/nonce", tag = "entry", responses((status = 200, body = NonceAnswer)))]
pub async fn nonce(State(door): State<Door>) -> Json<NonceAnswer> {
    let expires_in_ms = u64::try_from(NONCE_LIFE.as_millis()).expect("minutes");
    Json(NonceAnswer { nonce: door.nonces.issue(door.clock.now_ms()), expires_in_ms })
}

/// What a room's password needs to become keys. Answers for unknown names too.
#[utoipa::path(post, path = "/api/lookup", tag = "entry", request_body = LookupRequest, responses((status = 200, body = LookupAnswer)))]
pub async fn lookup(
    State(store): State<Store>,
    State(door): State<Door>,
    Body(request): Body<LookupRequest>,
) -> Result<Json<LookupAnswer>, ApiError> {
    let name = names::normalise(&request.name, ROOM_NAME_CHARS_MAX).map_err(|_| ErrorCode::RoomNameInvalid)?;
    let likeness = names::likeness(&name);
    let nonce = door.nonces.issue(door.clock.now_ms());
    let (room, grant, kdf) = match store.lookup(&likeness).await? {
        Some(found) => (found.room, found.grant, found.kdf),
        None => {
            let (room, grant) = unknown(&door, &likeness);
            (room, grant, KDF)
        }
    };
    Ok(Json(LookupAnswer { room, grant, kdf, nonce }))
}

/// The ids of a name that nobody has: always the same, and not to be told from real ones.
fn unknown(door: &Door, likeness: &str) -> (RoomId, GrantId) {
    let mut mac = Hmac::<Sha256>::new_from_slice(door.unknown_names.as_slice()).expect("HMAC takes keys of any length");
    mac.update(likeness.as_bytes());
    let bytes: [u8; 32] = mac.finalize().into_bytes().into();
    (RoomId(bytes[..16].try_into().expect("half")), GrantId(bytes[16..].try_into().expect("half")))
}

/// Makes the caller's device a member, by password or invite.
#[utoipa::path(post, path = "/api/join", tag = "entry", request_body = JoinRequest, responses((status = 200, body = Entered)))]
pub async fn join(
    State(store): State<Store>,
    State(door): State<Door>,
    State(tokens): State<Tokens>,
    State(identity): State<Arc<Identity>>,
    ClientAddress(address): ClientAddress,
    Body(request): Body<JoinRequest>,
) -> Result<Response, ApiError> {
    charge_sign_in(&door, address)?;
    let scope = SignInScope::Enter(request.room, request.grant);
    let signed_in = verify_sign_in(&request.sign_in, scope, &door.nonces, &identity, door.clock.now_ms())?;
    let auth = request.auth.array().ok_or(ErrorCode::BadRequest)?;
    let blob = prove(&store, &door, address, (request.room, request.grant), auth).await?;
    let entering = match store.enter(request.room, request.grant, *signed_in.keys()).await {
        Ok(entering) => entering,
        Err(EnterError::Gone) => return Err(ErrorCode::WrongCredentials.into()),
        Err(EnterError::Expired) => return Err(ErrorCode::InviteExpired.into()),
        Err(EnterError::UsedUp) => return Err(ErrorCode::InviteUsedUp.into()),
        Err(EnterError::TooManyMembers) => return Err(ErrorCode::TooManyMembers.into()),
        Err(EnterError::TooManyRooms) => return Err(ErrorCode::TooManyRooms.into()),
        Err(EnterError::Locked) => return Err(ErrorCode::RoomLocked.into()),
        Err(EnterError::Banned) => return Err(ErrorCode::Banned.into()),
        Err(EnterError::Store(error)) => return Err(error.into()),
    };
    let (token, token_expires_at_ms) = tokens.issue(&signed_in).await?;
    let entered = Entered {
        room: rooms::info(entering.room, entering.role),
        device: signed_in.device(),
        blob: blob.into(),
        epoch_record: members::entry(&entering.epoch_record),
        token: request.sign_in.bearer.then(|| token.clone()),
        token_expires_at_ms,
    };
    Ok((set_cookie(request.sign_in.bearer, &token, &identity), Json(entered)).into_response())
}

/// Sign-ins cost work and rows even when they are right.
fn charge_sign_in(door: &Door, address: IpAddr) -> Result<(), ApiError> {
    let charged = door.sign_ins.charge(&crate::limit::subject(address), Instant::now());
    charged.map_err(|span| wait(ErrorCode::TooManyAttempts, span))
}

/// Tries a proof, within the limits, and returns the grant's blob.
async fn prove(
    store: &Store,
    door: &Door,
    address: IpAddr,
    (room, grant): (RoomId, GrantId),
    auth: [u8; 32],
) -> Result<Vec<u8>, ApiError> {
    let charge = door.joins.charge(room, address).await.map_err(|span| wait(ErrorCode::TooManyAttempts, span))?;
    let outcome = try_proof(store, door, room, grant, auth).await;
    // A right proof is free, and so is one that we failed to look at.
    let to_blame = matches!(&outcome, Err(ApiError(body)) if body.code == ErrorCode::WrongCredentials);
    if !to_blame {
        door.joins.refund(charge).await;
    }
    outcome
}

async fn try_proof(
    store: &Store,
    door: &Door,
    room: RoomId,
    grant: GrantId,
    auth: [u8; 32],
) -> Result<Vec<u8>, ApiError> {
    let Some(row) = store.grant(room, grant).await? else {
        door.secrets.pretend(room, grant, auth).await?;
        return Err(ErrorCode::WrongCredentials.into());
    };
    let (pepper, expired, used_up) = (row.secret.pepper, row.expired, is_used_up(&row));
    match door.secrets.open(row, auth).await? {
        Opened::Wrong => Err(ErrorCode::WrongCredentials.into()),
        // Told only to who holds the link; `Store::enter` decides, this only says it early.
        Opened::Right { .. } if expired => Err(ErrorCode::InviteExpired.into()),
        Opened::Right { blob, renewed } => {
            if let Some(secret) = renewed.filter(|_| !used_up) {
                store.replace_grant_secret(room, grant, pepper, &secret).await?;
            }
            Ok(blob)
        }
    }
}

fn is_used_up(grant: &Grant) -> bool {
    grant.uses_max.is_some_and(|uses_max| grant.uses >= uses_max)
}

/// A new token for a device that is known here.
#[utoipa::path(post, path = "/api/token", tag = "entry", request_body = TokenRequest, responses((status = 200, body = Signed)))]
pub async fn renew(
    State(store): State<Store>,
    State(door): State<Door>,
    State(tokens): State<Tokens>,
    State(identity): State<Arc<Identity>>,
    ClientAddress(address): ClientAddress,
    Body(request): Body<TokenRequest>,
) -> Result<Response, ApiError> {
    charge_sign_in(&door, address)?;
    let signed_in = verify_sign_in(&request.sign_in, SignInScope::Renew, &door.nonces, &identity, door.clock.now_ms())?;
    if store.device(signed_in.device()).await?.is_none() {
        return Err(ErrorCode::DeviceUnknown.into());
    }
    let (token, token_expires_at_ms) = tokens.issue(&signed_in).await?;
    let signed = Signed {
        device: signed_in.device(),
        token: request.sign_in.bearer.then(|| token.clone()),
        token_expires_at_ms,
    };
    Ok((set_cookie(request.sign_in.bearer, &token, &identity), Json(signed)).into_response())
}

/// Ends the token that was presented; sockets opened with it close.
#[utoipa::path(delete, path = "/api/token", tag = "entry", responses((status = 204)))]
pub async fn revoke(
    State(tokens): State<Tokens>,
    State(chat): State<Chat>,
    State(identity): State<Arc<Identity>>,
    State(session): State<Arc<SessionParts>>,
    caller: Authenticated,
) -> Result<Response, ApiError> {
    // In a task of its own: a caller who hangs up has revoked the token all the same, and its sockets must close.
    let device = caller.device();
    let revocation = session.table.tasks().spawn(async move {
        let outcome = tokens.revoke(&caller).await;
        chat.publish(BusEvent::Token { device });
        outcome
    });
    revocation.await.map_err(|_| ErrorCode::Internal)??;
    let clear = cookie_header(&identity, "", 0);
    Ok((StatusCode::NO_CONTENT, AppendHeaders([(header::SET_COOKIE, clear)])).into_response())
}

fn cookie_header(identity: &Identity, value: &str, seconds: u64) -> HeaderValue {
    let secure = if identity.https { "; Secure" } else { "" };
    let text = format!("{}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}", identity.cookie);
    HeaderValue::try_from(text).expect("ASCII")
}

/// The cookie for a page; nothing for a program, which has the token in the answer.
pub fn set_cookie(bearer: bool, token: &str, identity: &Identity) -> AppendHeaders<Option<(HeaderName, HeaderValue)>> {
    /// As long as a token can last.
    const SECONDS: u64 = 30 * 24 * 3600;
    AppendHeaders((!bearer).then(|| (header::SET_COOKIE, cookie_header(identity, token, SECONDS))))
}
