//! What a session sends: replies, then what lies after its cursors, then what may be lost.

use std::collections::HashMap;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use futures_util::{SinkExt, StreamExt};
use snug_metrics::Counters;
use snug_protocol::frame::{EntryFrame, Head, ServerFrame, close};
use snug_protocol::limits::{HISTORY_PAGE_MAX, SLOW_READER_LIMIT};
use snug_protocol::{ErrorCode, RoomId, Seq};
use tokio::time::timeout;
use tracing::Span;

use super::{Ending, InFlight, Session, SessionParts, Subscription};
use crate::chat::{ChatError, Sent};
use crate::room::{FoundBy, Read};

/// Bytes handed to the socket before it must have taken them all. Small enough that a slow phone takes them within `SLOW_READER_LIMIT`.
const FLUSH_BYTES_MAX: usize = 64 * 1024;

pub(super) fn text(frame: &ServerFrame) -> Message {
    Message::text(serde_json::to_string(frame).expect("a frame is plain data"))
}

/// The heartbeat with the heads that changed since the last. A client that was told of a head by the one before and has not been sent
/// what leads up to it is about to find a loss.
pub(super) fn heartbeat(subscriptions: &mut HashMap<RoomId, Subscription>, losses: &Counters<FoundBy>) -> ServerFrame {
    let behind = subscriptions.values().filter(|subscription| subscription.cursor < subscription.told).count();
    losses.of(FoundBy::Client).add(behind as u64);
    let changed = subscriptions.iter_mut().filter_map(|(room, subscription)| {
        let head = subscription.following.room().head();
        (std::mem::replace(&mut subscription.told, head) != head).then_some(Head { room: *room, head })
    });
    ServerFrame::Heartbeat { heads: changed.collect() }
}

type Acknowledged = (u32, RoomId, Result<Sent, ChatError>);

/// Hands frames to the socket. While it waits, appends go on: others must not wait for this session's slow reader.
struct Writer<'a> {
    socket: &'a mut WebSocket,
    in_flight: &'a mut InFlight,
    done: &'a mut Vec<Acknowledged>,
    bytes: usize,
}

impl Writer<'_> {
    async fn feed(&mut self, message: Message) -> Result<(), Ending> {
        self.bytes += message_bytes(&message);
        in_time(self.socket.feed(message), self.in_flight, self.done).await
    }

    async fn flush(&mut self) -> Result<(), Ending> {
        in_time(self.socket.flush(), self.in_flight, self.done).await
    }

    const fn is_full(&self) -> bool {
        self.bytes >= FLUSH_BYTES_MAX
    }
}

async fn in_time(
    write: impl Future<Output = Result<(), axum::Error>>,
    in_flight: &mut InFlight,
    done: &mut Vec<Acknowledged>,
) -> Result<(), Ending> {
    let mut write = std::pin::pin!(timeout(SLOW_READER_LIMIT, write));
    loop {
        let outcome = tokio::select! {
            biased;
            outcome = &mut write => outcome,
            Some(acknowledged) = in_flight.next(), if !in_flight.is_empty() => {
                done.push(acknowledged);
                continue;
            }
        };
        return match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ending::GONE),
            Err(_) => Err(Ending::of(close::TIMED_OUT, ErrorCode::TimedOut)),
        };
    }
}

impl Session {
    /// Sends what there is to send, about one flush of it; what is left rings again, so that reading, stopping and removals get their turn.
    /// Not cancel-safe: a cursor moves before its frames are taken, so it runs outside `select!`.
    pub(super) async fn write(&mut self, socket: &mut WebSocket) -> Result<(), Ending> {
        let mut done = Vec::new();
        let outcome = self.write_some(socket, &mut done).await;
        for (id, room, outcome) in done {
            self.acknowledge(id, room, outcome);
            self.wake.ring();
        }
        outcome
    }

    async fn write_some(&mut self, socket: &mut WebSocket, done: &mut Vec<Acknowledged>) -> Result<(), Ending> {
        let mut writer = Writer { socket, in_flight: &mut self.in_flight, done, bytes: 0 };
        for reply in self.replies.drain(..) {
            writer.feed(text(&reply)).await?;
        }
        for (room, frame) in self.wake.take_ephemerals() {
            if self.subscriptions.contains_key(&room)
                && let Ok(text) = Utf8Bytes::try_from(frame)
            {
                writer.feed(Message::Text(text)).await?;
            }
        }
        let mut rest = false;
        let mut written = Written { count: 0, bytes: 0, committed_ms: &mut self.committed_ms, spans: Vec::new() };
        for (room, subscription) in &mut self.subscriptions {
            if writer.is_full() {
                rest = true;
                break;
            }
            match next_frames(&self.parts.store, *room, subscription).await {
                Next::Frames(frames) => {
                    written.note(&frames, subscription);
                    for frame in frames {
                        subscription.cursor = frame.seq();
                        writer.feed(Message::Binary(frame.bytes().clone())).await?;
                    }
                    rest |= subscription.cursor < subscription.following.room().head();
                }
                Next::Nothing => {}
                Next::Later => self.parts.ring_later(&self.wake),
            }
        }
        if writer.bytes > 0 {
            writer.flush().await?;
        }
        written.tell(&self.parts);
        if rest {
            self.wake.ring();
        }
        Ok(())
    }
}

/// Entries that are being written in one flush, as they are counted and traced.
struct Written<'a> {
    count: u64,
    bytes: u64,
    /// When those were committed that came live. The session's, so that a delivery allocates nothing for it.
    committed_ms: &'a mut Vec<u64>,
    /// End with the flush.
    spans: Vec<Span>,
}

/// Places for such times that a session keeps between two flushes.
const COMMITTED_KEPT_MAX: usize = 16;

impl Written<'_> {
    fn note(&mut self, frames: &[EntryFrame], subscription: &Subscription) {
        let Some(last) = frames.last() else { return };
        subscription.following.room().traced().deliveries(subscription.cursor, last.seq(), &mut self.spans);
        self.count += frames.len() as u64;
        self.bytes += frames.iter().map(|frame| frame.bytes().len() as u64).sum::<u64>();
        let live = frames.iter().filter(|frame| frame.seq() > subscription.began);
        self.committed_ms.extend(live.map(EntryFrame::at_ms));
    }

    fn tell(self, parts: &SessionParts) {
        if self.count == 0 {
            return;
        }
        let (counters, now_ms) = (parts.table.counters(), parts.clock.now_ms());
        counters.deliveries.add(self.count);
        counters.delivered_bytes.add(self.bytes);
        for committed_ms in self.committed_ms.drain(..) {
            counters.delivery.observe_ms(now_ms.saturating_sub(committed_ms));
        }
        self.committed_ms.shrink_to(COMMITTED_KEPT_MAX);
    }
}

fn message_bytes(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) => bytes.len(),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => 0,
    }
}

enum Next {
    Frames(Vec<EntryFrame>),
    Nothing,
    /// There should be something, and the store did not give it: a room being deleted, or a database that is away.
    Later,
}

/// The next frames of one room: from memory, or from the store for a reader that is further behind.
async fn next_frames(store: &snug_store::Store, room: RoomId, subscription: &Subscription) -> Next {
    let (cursor, head): (Seq, Seq) = (subscription.cursor, subscription.following.room().head());
    if cursor >= head {
        return Next::Nothing;
    }
    match subscription.following.after(cursor, FLUSH_BYTES_MAX) {
        Read::Frames(frames) => Next::Frames(frames),
        Read::Behind => match store.read_after(room, cursor, HISTORY_PAGE_MAX, FLUSH_BYTES_MAX).await {
            Ok(frames) if frames.is_empty() => Next::Later,
            Ok(frames) => Next::Frames(frames),
            Err(error) => {
                tracing::warn!(%error, %room, "could not read the backlog; trying again in a moment");
                Next::Later
            }
        },
    }
}
