//! How a session ends, and what its client is told of that.

use std::time::Duration;

use snug_protocol::frame::{ServerFrame, close};
use snug_protocol::limits::SLOW_READER_LIMIT;
use snug_protocol::{ErrorBody, ErrorCode};
use tokio::time::timeout;

use super::{Session, outbound};
use crate::wire::{Broken, Message, Socket};

/// How long a closing handshake may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Why a session ends: the close code, and the error frame that goes before it.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) close: u16,
    error: Option<ErrorCode>,
    /// The client has said that it closes, and waits for nothing but our answer.
    client_closes: bool,
}

impl Ending {
    pub(super) const GONE: Self = Self { close: close::NORMAL, error: None, client_closes: false };
    /// The client has closed.
    pub(super) const LEFT: Self = Self { client_closes: true, ..Self::GONE };

    pub(super) const fn of(close: u16, error: ErrorCode) -> Self {
        Self { close, error: Some(error), client_closes: false }
    }
}

impl From<Broken> for Ending {
    fn from(broken: Broken) -> Self {
        let error = matches!(broken, Broken::TooLarge).then_some(ErrorCode::TooLarge);
        broken.close_code().map_or(Self::GONE, |close| Self { close, error, ..Self::GONE })
    }
}

/// Says why there is no session, then closes.
pub async fn refuse(mut socket: Socket, error: &ErrorBody, close_code: u16) {
    let frame = ServerFrame::Error { id: None, room: None, error: error.clone() };
    socket.push(outbound::encode([&frame]));
    farewell(socket, close_code, error.code.as_str(), false).await;
}

/// What waits to be written, the closing frame, and then patience: data of the peer that nobody reads would reset the connection, and with
/// it take back our last words.
async fn farewell(mut socket: Socket, code: u16, reason: &'static str, client_closes: bool) {
    socket.push_close(code, reason);
    let _ = timeout(CLOSE_LIMIT, async {
        socket.flush().await?;
        while !client_closes && !matches!(socket.recv().await?, Message::Close(_)) {}
        socket.shutdown().await;
        Ok::<_, Broken>(())
    })
    .await;
}

impl Session {
    /// Leaves the rooms, lets appends in flight reach the bus, and closes the socket.
    pub(super) async fn finish(mut self, mut socket: Socket, ending: Ending) {
        let draining = ending.close == close::RESTART;
        self.subscriptions.clear();
        self.hand_over().await;
        self.reading.end_pause();
        let limit = if draining { SLOW_READER_LIMIT } else { Duration::ZERO };
        // When draining, commit what is in flight and tell its senders before the socket closes; else tell of what is there.
        let _ = timeout(limit, async {
            while self.appends.len() > 0 {
                let (id, room, outcome) = self.appends.next().await;
                self.acknowledge(id, room, outcome);
            }
        })
        .await;
        // Whether or not the sender is still there, others wait for these.
        if self.appends.len() > 0 {
            self.parts.table.tasks().spawn(self.appends.take().finish());
        }
        if let Some(code) = ending.error {
            tracing::debug!(code = code.as_str(), "closing a session");
            self.replies.push(ServerFrame::Error { id: None, room: None, error: code.into() });
        }
        socket.push(outbound::encode(&self.replies));
        let reason = ending.error.map_or("", ErrorCode::as_str);
        farewell(socket, ending.close, reason, ending.client_closes).await;
    }
}
