//! Mailboxes by which two devices of one person meet (ENCRYPTION.md section 8). The server cannot read what is in them.

use std::time::Instant;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer, de};
use snug_protocol::ErrorCode;
use snug_protocol::limits::{MOVE_ANSWER_BYTES_MAX, MOVE_OFFER_BYTES};
use snug_store::{OfferOutcome, Store};

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

/// Answers an offer. Needs a token: only who is a member somewhere has something to hand over.
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
    if store.put_answer(id, &answer).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let code = if store.offer(id).await?.is_some() { ErrorCode::MoveTaken } else { ErrorCode::MoveNotFound };
    Err(code.into())
}

/// The old device's answer.
#[utoipa::path(get, path = "/api/moves/{id}/answer", tag = "moves", params(("id" = String, Path)),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>)))]
pub async fn answer(State(store): State<Store>, At(MoveId(id)): At<MoveId>) -> Result<Response, ApiError> {
    answer_bytes(store.answer(id).await?)
}

fn answer_bytes(bytes: Option<Vec<u8>>) -> Result<Response, ApiError> {
    let bytes = bytes.ok_or(ErrorCode::MoveNotFound)?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}
