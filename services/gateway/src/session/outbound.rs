//! What a session sends: replies, then what lies after its cursors, then what may be lost.

use std::collections::HashMap;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use futures_util::SinkExt;
use snug_protocol::frame::{EntryFrame, Head, ServerFrame, close};
use snug_protocol::limits::{HISTORY_PAGE_MAX, SLOW_READER_LIMIT};
use snug_protocol::{ErrorCode, RoomId, Seq};
use tokio::time::timeout;

use super::{Ending, Session, Subscription};
use crate::room::Read;

/// Bytes handed to the socket before it must have taken them all. Small enough that a slow phone takes them within `SLOW_READER_LIMIT`.
const FLUSH_BYTES_MAX: usize = 64 * 1024;

pub(super) fn text(frame: &ServerFrame) -> Message {
    Message::text(serde_json::to_string(frame).expect("a frame is plain data"))
}

/// The heartbeat with the heads that changed since the last.
pub(super) fn heartbeat(subscriptions: &mut HashMap<RoomId, Subscription>) -> ServerFrame {
    let changed = subscriptions.iter_mut().filter_map(|(room, subscription)| {
        let head = subscription.following.room().head();
        (std::mem::replace(&mut subscription.told, head) != head).then_some(Head { room: *room, head })
    });
    ServerFrame::Heartbeat { heads: changed.collect() }
}

/// One flush at a time: hands frames to the socket, and waits until it has taken them.
struct Writer<'a> {
    socket: &'a mut WebSocket,
    bytes: usize,
}

impl Writer<'_> {
    async fn feed(&mut self, message: Message, bytes: usize) -> Result<(), Ending> {
        self.bytes += bytes;
        in_time(self.socket.feed(message)).await?;
        if self.bytes >= FLUSH_BYTES_MAX { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Ending> {
        self.bytes = 0;
        in_time(self.socket.flush()).await
    }
}

async fn in_time(write: impl Future<Output = Result<(), axum::Error>>) -> Result<(), Ending> {
    match timeout(SLOW_READER_LIMIT, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Ending::GONE),
        Err(_) => Err(Ending::of(close::TIMED_OUT, ErrorCode::TimedOut)),
    }
}

impl Session {
    /// Sends everything there is to send now. Not cancel-safe: a cursor moves before its frames are taken, so it runs outside `select!`.
    pub(super) async fn write(&mut self, socket: &mut WebSocket) -> Result<(), Ending> {
        let mut writer = Writer { socket, bytes: 0 };
        let mut wrote = false;
        for reply in self.replies.drain(..) {
            let message = text(&reply);
            let bytes = message_bytes(&message);
            writer.feed(message, bytes).await?;
            wrote = true;
        }
        let mut rest = false;
        for (room, subscription) in &mut self.subscriptions {
            let Some(frames) = next_frames(&self.parts.store, *room, subscription).await else { continue };
            for frame in frames {
                subscription.cursor = frame.seq();
                writer.feed(Message::Binary(frame.bytes().clone()), frame.bytes().len()).await?;
                wrote = true;
            }
            rest |= subscription.cursor < subscription.following.room().head();
        }
        for frame in self.wake.take_ephemerals() {
            if let Ok(text) = Utf8Bytes::try_from(frame) {
                let bytes = text.len();
                writer.feed(Message::Text(text), bytes).await?;
                wrote = true;
            }
        }
        if wrote {
            writer.flush().await?;
        }
        if rest {
            // A reader far behind comes back for the next part, after the socket has been read and others had their turn.
            self.wake.ring();
        }
        Ok(())
    }
}

fn message_bytes(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) => bytes.len(),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => 0,
    }
}

/// The next frames of one room: from memory, or from the store for a reader that is further behind. `None`: nothing now.
async fn next_frames(store: &snug_store::Store, room: RoomId, subscription: &Subscription) -> Option<Vec<EntryFrame>> {
    let (cursor, head): (Seq, Seq) = (subscription.cursor, subscription.following.room().head());
    if cursor >= head {
        return None;
    }
    match subscription.following.room().after(cursor, FLUSH_BYTES_MAX) {
        Read::Frames(frames) => Some(frames),
        Read::Behind => match store.read_after(room, cursor, HISTORY_PAGE_MAX, FLUSH_BYTES_MAX).await {
            Ok(frames) => Some(frames),
            Err(error) => {
                tracing::warn!(%error, %room, "could not read the backlog; the next ring tries again");
                None
            }
        },
    }
}
