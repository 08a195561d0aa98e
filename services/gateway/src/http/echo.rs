//! `/conformance/echo`: says back whatever it is told, so that Autobahn's suite can look at the socket layer below the sessions.
//!
//! In no release build, whatever its features: it takes the feature `conformance` and debug assertions.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use snug_protocol::ErrorCode;
use snug_protocol::frame::close;

use super::error::ApiError;
use crate::server::Place;
use crate::session::SessionParts;
use crate::wire::{self, Broken, Message, NotAnUpgrade, Socket, Upgrade};

/// The suite's largest messages have 16 MiB.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Upgrades as `/ws` does, but for the size of messages, and without a session.
pub async fn upgrade(
    State(parts): State<Arc<SessionParts>>,
    place: Option<Extension<Arc<Place>>>,
    upgrade: Result<Upgrade, NotAnUpgrade>,
) -> Response {
    let Ok(upgrade) = upgrade else { return ApiError::from(ErrorCode::BadRequest).into_response() };
    let (tasks, stop) = (parts.table.tasks().clone(), parts.stop.clone());
    upgrade.accept(None, MESSAGE_BYTES_MAX, &tasks, async move |mut socket| {
        tokio::select! {
            () = stop.cancelled() => {}
            _ = run(&mut socket) => {}
        }
        drop(place);
    })
}

async fn run(socket: &mut Socket) -> Result<(), Broken> {
    let code = loop {
        match socket.recv().await {
            Ok(Message::Text(text)) => socket.push(wire::text(&text)),
            Ok(Message::Binary(bytes)) => socket.push(wire::binary(&bytes)),
            // The socket answers by itself.
            Ok(Message::Ping(_) | Message::Pong) => {}
            Ok(Message::Close(code)) => break code.unwrap_or(close::NORMAL),
            Err(broken) => break broken.close_code().ok_or(broken)?,
        }
        socket.flush().await?;
    };
    socket.push_close(code, "");
    socket.flush().await?;
    socket.shutdown().await;
    Ok(())
}
