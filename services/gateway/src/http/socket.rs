//! `/ws`: the upgrade to a session.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
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
use crate::wire::{NotAnUpgrade, Upgrade};

pub async fn upgrade(
    State(tokens): State<Tokens>,
    State(identity): State<Arc<Identity>>,
    State(parts): State<Arc<SessionParts>>,
    ClientAddress(address): ClientAddress,
    place: Option<Extension<Arc<Place>>>,
    headers: HeaderMap,
    upgrade: Result<Upgrade, NotAnUpgrade>,
) -> Response {
    let Ok(upgrade) = upgrade else { return ApiError::from(ErrorCode::BadRequest).into_response() };
    if !upgrade.offers(SUBPROTOCOL) {
        return ApiError::from(ErrorCode::UnsupportedVersion).into_response();
    }
    let admitted = admit(&tokens, &parts, extract::token(&headers, &identity), address).await;
    let tasks = parts.table.tasks().clone();
    upgrade.accept(Some(SUBPROTOCOL), FRAME_BYTES_MAX, &tasks, async move |socket| {
        match admitted {
            Ok((caller, admission)) => session::run(socket, parts, caller, admission).await,
            // A browser's script cannot see an HTTP status, so it is told on the socket.
            Err((code, close)) => session::refuse(socket, &code.into(), close).await,
        }
        drop(place);
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
