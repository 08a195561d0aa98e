//! `/conformance/echo`: says back whatever it is told, so that Autobahn's suite can look at the socket layer below the sessions.
//!
//! In no release build, whatever its features: it takes the feature `conformance` and debug assertions.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use tokio_util::sync::CancellationToken;

use super::socket;
use crate::server::Place;
use crate::session::SessionParts;

/// The suite's largest messages have 16 MiB.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Room for one of them with its header.
const WRITE_BUFFER_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 64 * 1024;

/// Upgrades as `/ws` does, but for the sizes, and without a session.
pub async fn upgrade(
    State(parts): State<SessionParts>,
    place: Option<Extension<Arc<Place>>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let running = parts.table.tasks().token();
    socket::tuned(upgrade, MESSAGE_BYTES_MAX, WRITE_BUFFER_BYTES_MAX).on_upgrade(move |socket| async move {
        run(socket, parts.stop).await;
        drop((running, place));
    })
}

async fn run(mut socket: WebSocket, stop: CancellationToken) {
    loop {
        let message = tokio::select! {
            () = stop.cancelled() => return,
            message = socket.recv() => message,
        };
        match message {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
            // Answered by the library.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_))) => {}
            Some(Err(_)) | None => return,
        }
    }
}
