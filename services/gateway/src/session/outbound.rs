//! What a session sends: replies, then what may be lost, then what lies after its cursors.

use std::pin::pin;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use snug_metrics::Counters;
use snug_protocol::frame::{Head, ServerFrame, close};
use snug_protocol::limits::SLOW_READER_LIMIT;
use snug_protocol::{ErrorCode, RoomId, Seq};
use tokio::time::timeout;
use tracing::Span;

use super::{Ending, Session, SessionParts, Subscription};
use crate::chat::{ChatError, Sent};
use crate::room::{Due, FLUSH_BYTES_MAX, FoundBy, News, Wake};
use crate::wire::{self, Entries, Socket};

/// What most frames take at most, with what goes before them.
const FRAME_BYTES_USUAL: usize = 128;

/// Frames, one after the other: a sender is mostly acknowledged several messages at a time.
pub(super) fn encode<'f>(frames: impl IntoIterator<Item = &'f ServerFrame>) -> Bytes {
    let (mut messages, mut json) = (BytesMut::new(), Vec::with_capacity(FRAME_BYTES_USUAL));
    for frame in frames {
        json.clear();
        serde_json::to_writer(&mut json, frame).expect("a frame is plain data");
        messages.reserve(FRAME_BYTES_USUAL);
        wire::put_text(&mut messages, &json);
    }
    messages.freeze()
}

/// The heartbeat with the heads that changed since the last. A client that was told of a head by the one before and has not been sent
/// what leads up to it is about to find a loss.
pub(super) fn heartbeat(subscriptions: &mut [Subscription], losses: &Counters<FoundBy>) -> ServerFrame {
    let behind = subscriptions.iter().filter(|subscription| subscription.cursor() < subscription.told).count();
    losses.of(FoundBy::Client).add(behind as u64);
    let changed = subscriptions.iter_mut().filter_map(|subscription| {
        let (room, head) = (subscription.room(), subscription.following.room().told());
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
        let replies = std::mem::take(&mut self.replies);
        if !replies.is_empty() {
            socket.push(encode(&replies));
        }
        let mut others = false;
        if std::mem::take(&mut self.has_ephemerals) {
            for (room, message) in self.wake.take_ephemerals() {
                if self.subscription(room).is_some() {
                    socket.push(message);
                    others = true;
                }
            }
        }
        let (mut rest, mut has_read, mut acknowledged) = (false, false, Vec::new());
        for subscription in &mut self.subscriptions {
            if socket.waiting_bytes() >= FLUSH_BYTES_MAX {
                rest = true;
                break;
            }
            if let Some(begins) = subscription.begins.take() {
                // What says that it is followed is on its way now, so the room may write from here on.
                subscription.following.open(socket, begins);
            }
            let cursor = subscription.cursor();
            let entries = match subscription.following.due(cursor) {
                Due::Nothing => continue,
                Due::Entries(entries) => entries,
                // One room of these a turn, so that the others and the socket get theirs.
                Due::Behind if has_read => {
                    rest = true;
                    continue;
                }
                Due::Behind => {
                    has_read = true;
                    self.reading.end_pause();
                    // What was left lying for a room's write must not wait for the store.
                    flush_at_once(socket).await;
                    let reading = Box::pin(subscription.following.backlog(cursor));
                    match self.appends.during(&mut acknowledged, reading).await {
                        Some(entries) => entries,
                        None => {
                            self.parts.tell_later(&self.wake, News::LOGS);
                            continue;
                        }
                    }
                }
            };
            rest |= entries.last < subscription.following.room().told();
            if subscription.following.push(cursor, &entries) {
                written.note(&entries, cursor, subscription);
            }
        }
        others |= !acknowledged.is_empty() || written.entries > 0;
        for (id, room, outcome) in acknowledged {
            socket.push(encode([&answer(id, room, outcome)]));
        }
        if rest {
            self.wake.tell(News::LOGS);
        }
        if others || rest || !socket.is_flushed() || socket.owes_pong() {
            self.riding = None;
        } else if !replies.is_empty() {
            let all_ride = replies.iter().all(|reply| self.rides(acknowledged_by(reply)));
            self.riding = replies.last().filter(|_| all_ride).and_then(acknowledged_by);
        } else if !self.rides(self.riding) {
            self.riding = None;
        }
        written
    }

    /// Whether an entry's room, which this session follows, has it and has yet to tell of it, to this session among others: then its
    /// acknowledgement will be written, or the session told, within the room's gathering. To be asked when it has been handed to the socket.
    fn rides(&self, acknowledged: Option<(RoomId, Seq)>) -> bool {
        let Some((room, seq)) = acknowledged else { return false };
        let found = self.subscriptions.iter().find(|subscription| subscription.room() == room);
        found.is_some_and(|subscription| {
            let (room, told) = (subscription.following.room(), subscription.following.room().told());
            let may_be_written =
                subscription.cursor() == told && subscription.following.follower().question().is_none();
            may_be_written && told < seq && seq <= room.reached()
        })
    }

    /// Writes what was handed over. While the socket takes nothing, appends go on: others must not wait for this session's slow reader.
    pub(super) async fn flush(&mut self, socket: &mut Socket) -> Result<(), Ending> {
        // Nearly always the system takes all of it at once: nothing to wait for, no timer to set.
        if let Poll::Ready(outcome) = std::future::poll_fn(|cx| Poll::Ready(socket.poll_flush(cx))).await {
            return outcome.map_err(Ending::from);
        }
        self.reading.end_pause();
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
                () = told_to_close(&self.wake, &mut self.unseen) => {
                    return Err(Ending::of(close::RESTART, ErrorCode::Draining));
                }
            };
            return match outcome {
                Ok(outcome) => outcome.map_err(Ending::from),
                Err(_) => Err(Ending::of(close::TIMED_OUT, ErrorCode::TimedOut)),
            };
        }
    }
}

/// The place of the entry that this acknowledges.
const fn acknowledged_by(reply: &ServerFrame) -> Option<(RoomId, Seq)> {
    match reply {
        ServerFrame::Sent { room, seq, .. } => Some((*room, *seq)),
        _ => None,
    }
}

/// Writes of what waits what the system takes at once; whoever flushes next hears of an error.
pub(super) async fn flush_at_once(socket: &mut Socket) {
    let _ = std::future::poll_fn(|cx| Poll::Ready(socket.poll_flush(cx))).await;
}

/// Waits for the order to close; other news are kept. Cancel-safe.
async fn told_to_close(wake: &Wake, kept: &mut News) {
    std::future::poll_fn(|cx| {
        while let Poll::Ready(news) = wake.poll_take(cx) {
            *kept = kept.and(news);
            if news.has(News::CLOSE) {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    })
    .await;
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
    fn note(&mut self, entries: &Entries, cursor: Seq, subscription: &Subscription) {
        subscription.following.room().traced().deliveries(cursor, entries.last, &mut self.spans);
        self.entries += u64::from(entries.count);
        self.bytes += entries.bytes.len() as u64;
        if self.oldest_ms == 0 && cursor >= subscription.began {
            self.oldest_ms = entries.oldest_ms;
        }
    }

    /// They were written.
    pub(super) fn tell(self, parts: &SessionParts) {
        if self.entries == 0 {
            return;
        }
        let delivered = &parts.rooms.counters().delivered;
        delivered.entries.add(self.entries);
        delivered.bytes.add(self.bytes);
        if self.oldest_ms > 0 {
            delivered.seconds.observe_ms(parts.clock.now_ms().saturating_sub(self.oldest_ms), 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_are_encoded_together_are_the_messages_they_are_alone() {
        let short = ServerFrame::Heartbeat { heads: Vec::new() };
        let heads = [1, 2, 3, 4].map(|room| Head { room: RoomId([room; 16]), head: Seq(7) });
        let long = ServerFrame::Heartbeat { heads: heads.into() };
        let alone = [&short, &long, &short].map(|frame| wire::text(&serde_json::to_string(frame).expect("plain data")));
        assert!(alone[1].len() > FRAME_BYTES_USUAL);
        assert_eq!(encode([&short, &long, &short]), alone.concat());
        assert_eq!(encode([&long]), alone[1]);
    }
}
