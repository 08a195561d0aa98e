//! `/ws`: the upgrade to a session.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use snug_protocol::frame::close;
use snug_protocol::limits::FRAME_BYTES_MAX;
use snug_protocol::{ErrorCode, SUBPROTOCOL};

use super::address::ClientAddress;
use super::error::ApiError;
use super::extract;
use crate::auth::{Authenticated, TokenError, Tokens};
use crate::chat::store_code;
use crate::config::Identity;
use crate::server::Place;
use crate::session::{self, Admission, SessionParts};

/// Enough for most frames; the library's default of 128 KiB would be paid by every idle socket.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// What is gathered before the socket is written without a flush.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;
/// Writes are flushed before they get here; the library's default is without a bound.
const WRITE_BUFFER_BYTES_MAX: usize = 512 * 1024;

/// The library with our buffers, for messages of at most `message_bytes_max`.
pub fn tuned(upgrade: WebSocketUpgrade, message_bytes_max: usize, write_buffer_bytes_max: usize) -> WebSocketUpgrade {
    upgrade
        .max_message_size(message_bytes_max)
        .max_frame_size(message_bytes_max)
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(write_buffer_bytes_max)
}

pub async fn upgrade(
    State(tokens): State<Tokens>,
    State(identity): State<Arc<Identity>>,
    State(parts): State<SessionParts>,
    ClientAddress(address): ClientAddress,
    place: Option<Extension<Arc<Place>>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else { return ApiError::from(ErrorCode::BadRequest).into_response() };
    if !upgrade.requested_protocols().any(|protocol| protocol.as_bytes() == SUBPROTOCOL.as_bytes()) {
        return ApiError::from(ErrorCode::UnsupportedVersion).into_response();
    }
    let upgrade = tuned(upgrade.protocols([SUBPROTOCOL]), FRAME_BYTES_MAX, WRITE_BUFFER_BYTES_MAX);
    // The task that the library starts for the socket counts as one of ours.
    let running = parts.table.tasks().token();
    let admitted = admit(&tokens, &parts, extract::token(&headers, &identity), address).await;
    upgrade.on_upgrade(move |socket| async move {
        match admitted {
            Ok((caller, admission)) => session::run(socket, parts, caller, admission).await,
            // A browser's script cannot see an HTTP status, so it is told on the socket.
            Err((code, close)) => session::refuse(socket, &code.into(), close).await,
        }
        drop((running, place));
    })
}

/// A place for the caller's session, or the code and close code that say why there is none.
async fn admit(
    tokens: &Tokens,
    parts: &SessionParts,
    token: Option<&str>,
    address: IpAddr,
) -> Result<(Authenticated, Admission), (ErrorCode, u16)> {
    if parts.stop.is_cancelled() || parts.table.is_moving() {
        return Err((ErrorCode::Draining, close::RESTART));
    }
    let caller = tokens.authenticate(token).await.map_err(|error| match error {
        TokenError::Store(error) => (store_code(&error), close::RESTART),
        TokenError::Missing | TokenError::Invalid => (error.code(), close::TOKEN),
    })?;
    let admission = parts.table.admit(caller.device(), address).ok_or((ErrorCode::TooManySockets, close::TOO_MANY))?;
    Ok((caller, admission))
}
