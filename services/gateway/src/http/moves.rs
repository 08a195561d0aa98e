//! Mailboxes by which two devices of one person meet (ENCRYPTION.md section 8). The server cannot read what is in them.

use std::time::Instant;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer, de};
use snug_protocol::ErrorCode;
use snug_protocol::limits::{MOVE_ANSWER_BYTES_MAX, MOVE_NONCE_BYTES, MOVE_OFFER_BYTES, MOVE_REVEAL_BYTES};
use snug_store::{MovePart, OfferOutcome, Store};

use super::Door;
use super::address::ClientAddress;
use super::error::{ApiError, wait};
use super::extract::{At, Raw};
use crate::auth::Authenticated;
use crate::limit::subject;

/// A mailbox's id: 16 bytes that only the two devices know.
pub struct MoveId([u8; 16]);

impl<'de> Deserialize<'de> for MoveId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = snug_protocol::decode_base64(&text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| de::Error::custom("not 16 bytes of base64url"))
    }
}

/// Opens a mailbox with the new device's offer. Needs no token: the new device has none yet. So it is limited by address.
#[utoipa::path(put, path = "/api/moves/{id}/offer", tag = "moves", params(("id" = String, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses((status = 204)))]
pub async fn put_offer(
    State(store): State<Store>,
    State(door): State<Door>,
    ClientAddress(address): ClientAddress,
    At(MoveId(id)): At<MoveId>,
    Raw(offer): Raw,
) -> Result<StatusCode, ApiError> {
    let charged = door.moves.charge(&subject(address), Instant::now());
    charged.map_err(|span| wait(ErrorCode::TooManyAttempts, span))?;
    if offer.len() != MOVE_OFFER_BYTES {
        return Err(ErrorCode::BadRequest.into());
    }
    match store.put_offer(id, &offer).await? {
        OfferOutcome::Stored => Ok(StatusCode::NO_CONTENT),
        OfferOutcome::Taken => Err(ErrorCode::MoveTaken.into()),
    }
}

/// The new device's offer.
#[utoipa::path(get, path = "/api/moves/{id}/offer", tag = "moves", params(("id" = String, Path)),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>)))]
pub async fn offer(State(store): State<Store>, At(MoveId(id)): At<MoveId>) -> Result<Response, ApiError> {
    answer_bytes(store.offer(id).await?)
}

/// Answers an offer with the old device's nonce. Needs a token: only who is a member somewhere has something to hand over.
#[utoipa::path(put, path = "/api/moves/{id}/nonce", tag = "moves", params(("id" = String, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses((status = 204)))]
pub async fn put_nonce(
    State(store): State<Store>,
    _caller: Authenticated,
    At(MoveId(id)): At<MoveId>,
    Raw(nonce): Raw,
) -> Result<StatusCode, ApiError> {
    if nonce.len() != MOVE_NONCE_BYTES {
        return Err(ErrorCode::BadRequest.into());
    }
    put_part(&store, id, MovePart::Nonce, &nonce).await
}

/// The old device's nonce.
#[utoipa::path(get, path = "/api/moves/{id}/nonce", tag = "moves", params(("id" = String, Path)),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>)))]
pub async fn nonce(State(store): State<Store>, At(MoveId(id)): At<MoveId>) -> Result<Response, ApiError> {
    answer_bytes(store.move_part(id, MovePart::Nonce).await?)
}

/// Tells what the offer committed to, once the nonce is there. Needs no token, as the offer.
#[utoipa::path(put, path = "/api/moves/{id}/reveal", tag = "moves", params(("id" = String, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses((status = 204)))]
pub async fn put_reveal(
    State(store): State<Store>,
    At(MoveId(id)): At<MoveId>,
    Raw(reveal): Raw,
) -> Result<StatusCode, ApiError> {
    if reveal.len() != MOVE_REVEAL_BYTES {
        return Err(ErrorCode::BadRequest.into());
    }
    put_part(&store, id, MovePart::Reveal, &reveal).await
}

/// What the offer committed to.
#[utoipa::path(get, path = "/api/moves/{id}/reveal", tag = "moves", params(("id" = String, Path)),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>)))]
pub async fn reveal(State(store): State<Store>, At(MoveId(id)): At<MoveId>) -> Result<Response, ApiError> {
    answer_bytes(store.move_part(id, MovePart::Reveal).await?)
}

/// Hands over what the new device gets, once it has told what it is. Needs a token, as the nonce.
#[utoipa::path(put, path = "/api/moves/{id}/answer", tag = "moves", params(("id" = String, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses((status = 204)))]
pub async fn put_answer(
    State(store): State<Store>,
    _caller: Authenticated,
    At(MoveId(id)): At<MoveId>,
    Raw(answer): Raw,
) -> Result<StatusCode, ApiError> {
    if answer.is_empty() {
        return Err(ErrorCode::BadRequest.into());
    }
    if answer.len() > MOVE_ANSWER_BYTES_MAX {
        return Err(ErrorCode::TooLarge.into());
    }
    put_part(&store, id, MovePart::Answer, &answer).await
}

/// The old device's answer.
#[utoipa::path(get, path = "/api/moves/{id}/answer", tag = "moves", params(("id" = String, Path)),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>)))]
pub async fn answer(State(store): State<Store>, At(MoveId(id)): At<MoveId>) -> Result<Response, ApiError> {
    answer_bytes(store.move_part(id, MovePart::Answer).await?)
}

async fn put_part(store: &Store, id: [u8; 16], part: MovePart, bytes: &[u8]) -> Result<StatusCode, ApiError> {
    if store.put_move_part(id, part, bytes).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    // Another one is there, or the one that it would answer is not.
    let is_taken = store.move_part(id, part).await?.is_some();
    Err(if is_taken { ErrorCode::MoveTaken } else { ErrorCode::MoveNotFound }.into())
}

fn answer_bytes(bytes: Option<Vec<u8>>) -> Result<Response, ApiError> {
    let bytes = bytes.ok_or(ErrorCode::MoveNotFound)?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}
