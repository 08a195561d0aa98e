//! What a session sends: replies, then what may be lost, then what lies after its cursors.

use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use snug_metrics::Counters;
use snug_protocol::frame::{Head, ServerFrame, close};
use snug_protocol::limits::{HISTORY_PAGE_MAX, SLOW_READER_LIMIT};
use snug_protocol::{ErrorCode, RoomId, Seq};
use snug_store::Store;
use tokio::time::timeout;
use tracing::Span;

use super::{Ending, Session, SessionParts, Subscription};
use crate::chat::{ChatError, Sent};
use crate::room::{Due, FLUSH_BYTES_MAX, FoundBy, News};
use crate::wire::{self, Entries, Socket};

pub(super) fn encode(frame: &ServerFrame) -> Bytes {
    wire::text(&serde_json::to_string(frame).expect("a frame is plain data"))
}

/// The heartbeat with the heads that changed since the last. A client that was told of a head by the one before and has not been sent
/// what leads up to it is about to find a loss.
pub(super) fn heartbeat(subscriptions: &mut [Subscription], losses: &Counters<FoundBy>) -> ServerFrame {
    let behind = subscriptions.iter().filter(|subscription| subscription.cursor < subscription.told).count();
    losses.of(FoundBy::Client).add(behind as u64);
    let changed = subscriptions.iter_mut().filter_map(|subscription| {
        let (room, head) = (subscription.room(), subscription.following.room().head());
        (std::mem::replace(&mut subscription.told, head) != head).then_some(Head { room, head })
    });
    ServerFrame::Heartbeat { heads: changed.collect() }
}

/// What became of an append.
pub(super) fn answer(id: u32, room: RoomId, outcome: Result<Sent, ChatError>) -> ServerFrame {
    match outcome {
        Ok(Sent { seq, at_ms, duplicate }) => ServerFrame::Sent { id, room, seq, at_ms, duplicate },
        Err(error) => ServerFrame::Error { id: Some(id), room: Some(room), error: error.body() },
    }
}

impl Session {
    /// Hands the socket what there is to send, about one flush of it; for what is left it tells itself, so that reading, stopping and
    /// removals get their turn. Not cancel-safe: a cursor moves when its entries are handed over.
    pub(super) async fn gather(&mut self, socket: &mut Socket) -> Written {
        let mut written = Written::default();
        for reply in std::mem::take(&mut self.replies) {
            socket.push(encode(&reply));
        }
        if std::mem::take(&mut self.news).has(News::EPHEMERALS) {
            for (room, message) in self.wake.take_ephemerals() {
                if self.subscription(room).is_some() {
                    socket.push(message);
                }
            }
        }
        let mut rest = false;
        for subscription in &mut self.subscriptions {
            if socket.waiting_bytes() >= FLUSH_BYTES_MAX {
                rest = true;
                break;
            }
            let entries = match subscription.following.due(subscription.cursor) {
                Due::Nothing => continue,
                Due::Entries(entries) => Ok(entries),
                Due::Behind => Box::pin(backlog(&self.parts.store, subscription.room(), subscription.cursor)).await,
            };
            match entries {
                Ok(entries) => {
                    written.note(&entries, subscription);
                    subscription.cursor = entries.last;
                    rest |= entries.last < subscription.following.room().head();
                    socket.push(entries.bytes);
                }
                Err(NotNow) => self.parts.tell_later(&self.wake, News::LOGS),
            }
        }
        if rest {
            self.wake.tell(News::LOGS);
        }
        written
    }

    /// Writes what was handed over. While the socket takes nothing, appends go on: others must not wait for this session's slow reader.
    pub(super) async fn flush(&mut self, socket: &mut Socket) -> Result<(), Ending> {
        // Nearly always the system takes all of it at once: nothing to wait for, no timer to set.
        if let Poll::Ready(outcome) = std::future::poll_fn(|cx| Poll::Ready(socket.poll_flush(cx))).await {
            return outcome.map_err(Ending::from);
        }
        let mut flushed = pin!(timeout(SLOW_READER_LIMIT, socket.flush()));
        loop {
            let outcome = tokio::select! {
                biased;
                outcome = &mut flushed => outcome,
                (id, room, outcome) = self.appends.next() => {
                    self.replies.push(answer(id, room, outcome));
                    self.wake.tell(News::LOGS);
                    continue;
                }
            };
            return match outcome {
                Ok(outcome) => outcome.map_err(Ending::from),
                Err(_) => Err(Ending::of(close::TIMED_OUT, ErrorCode::TimedOut)),
            };
        }
    }
}

/// Entries that are being written in one flush, as they are counted and traced.
#[derive(Default)]
pub(super) struct Written {
    entries: u64,
    bytes: u64,
    /// When the first of those was committed that came live; 0: none did.
    oldest_ms: u64,
    /// End with the flush.
    spans: Vec<Span>,
}

impl Written {
    fn note(&mut self, entries: &Entries, subscription: &Subscription) {
        subscription.following.room().traced().deliveries(subscription.cursor, entries.last, &mut self.spans);
        self.entries += u64::from(entries.count);
        self.bytes += entries.bytes.len() as u64;
        if self.oldest_ms == 0 && subscription.cursor >= subscription.began {
            self.oldest_ms = entries.oldest_ms;
        }
    }

    /// They were written.
    pub(super) fn tell(self, parts: &SessionParts) {
        if self.entries == 0 {
            return;
        }
        let counters = parts.table.counters();
        counters.deliveries.add(self.entries);
        counters.delivered_bytes.add(self.bytes);
        if self.oldest_ms > 0 {
            counters.delivery.observe_ms(parts.clock.now_ms().saturating_sub(self.oldest_ms));
        }
    }
}

/// There should be something, and the store did not give it: a room being deleted, or a database that is away.
struct NotNow;

/// The next entries of a room for a reader that is further behind than memory goes.
async fn backlog(store: &Store, room: RoomId, cursor: Seq) -> Result<Entries, NotNow> {
    match store.read_after(room, cursor, HISTORY_PAGE_MAX, FLUSH_BYTES_MAX).await {
        Ok(frames) => Entries::encode(frames.iter()).ok_or(NotNow),
        Err(error) => {
            tracing::warn!(%error, %room, "could not read the backlog; trying again in a moment");
            Err(NotNow)
        }
    }
}
