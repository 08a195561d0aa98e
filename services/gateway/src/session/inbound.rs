//! What a session does with a frame from its client.

use std::sync::Arc;

use bytes::Bytes;
use snug_bus::BusEvent;
use snug_protocol::frame::{BinaryFrameError, ClientFrame, Cursor, Resync, SendFrame, ServerFrame, close};
use snug_protocol::limits::{BACKLOG_MAX, HEARTBEAT_PERIOD, LATEST_PAGE, ROOMS_PER_SESSION_MAX, TYPING_PERIOD};
use snug_protocol::{EnvelopeError, EnvelopeHash, ErrorBody, ErrorCode, RoomId, Seq};
use snug_store::{FollowState, Standing, StoreError};
use tokio::time::Instant;

use super::{Ending, Resumed, Session, SessionParts, Subscription};
use crate::auth::right;
use crate::chat::{ChatError, store_code};
use crate::presence::Attendance;
use crate::room::{FoundBy, Room};
use crate::wire::Message;

fn envelope_code(error: &BinaryFrameError) -> ErrorCode {
    match error {
        BinaryFrameError::Malformed => ErrorCode::BadRequest,
        BinaryFrameError::Envelope(EnvelopeError::TooLarge { .. }) => ErrorCode::TooLarge,
        BinaryFrameError::Envelope(EnvelopeError::Version(_)) => ErrorCode::UnsupportedVersion,
        BinaryFrameError::Envelope(EnvelopeError::Kind(_)) => ErrorCode::EntryNotAccepted,
        BinaryFrameError::Envelope(EnvelopeError::Size { .. } | EnvelopeError::Malformed | EnvelopeError::Range) => {
            ErrorCode::BadEnvelope
        }
    }
}

/// A frame that cannot be read, and the code that says why: bad JSON, a type nobody knows, or a known type with wrong fields.
fn decode(text: &str) -> Result<ClientFrame, ErrorCode> {
    serde_json::from_str(text).map_err(|_| {
        let known = ["hello", "follow", "unfollow", "typing", "heartbeat"];
        let value: Option<serde_json::Value> = serde_json::from_str(text).ok();
        match value.as_ref().and_then(|value| value.get("type")).and_then(serde_json::Value::as_str) {
            Some(kind) if !known.contains(&kind) => ErrorCode::UnknownFrame,
            _ => ErrorCode::BadRequest,
        }
    })
}

impl Session {
    /// The answer to a greeting, if it is one.
    pub(super) fn greet(&self, text: &str) -> Result<ServerFrame, Ending> {
        let Ok(ClientFrame::Hello { client }) = decode(text) else {
            return Err(Ending::of(close::PROTOCOL, ErrorCode::HelloExpected));
        };
        tracing::debug!(client = client.chars().take(40).collect::<String>(), device = %self.caller.device(), "a session begins");
        Ok(ServerFrame::Welcome {
            device: self.caller.device(),
            node: self.parts.node.to_string(),
            server_at_ms: self.parts.clock.now_ms(),
            heartbeat_ms: u64::try_from(HEARTBEAT_PERIOD.as_millis()).expect("seconds"),
        })
    }

    pub(super) async fn read(&mut self, frame: Message) -> Result<(), Ending> {
        match frame {
            Message::Binary(bytes) => self.send(&bytes),
            Message::Text(text) => {
                if let Some((id, room, cursor)) = self.control(&text) {
                    self.aside(|session| Box::pin(session.follow(id, room, cursor))).await;
                }
            }
            // Answered all the same, once for all that come before the next write.
            Message::Ping(_) => drop(self.charge_control()),
            Message::Pong => {}
            Message::Close(_) => return Err(Ending::LEFT),
        }
        Ok(())
    }

    fn send(&mut self, bytes: &Bytes) {
        let frame = match SendFrame::parse(bytes) {
            Ok(frame) => frame,
            Err((id, error)) => {
                // A client that only sends nonsense is slowed down like one that asks too much.
                if let Err(wait) = self.charge_control() {
                    let error = ChatError::TooFast { retry_after: wait }.body();
                    return self.replies.push(ServerFrame::Error { id, room: None, error });
                }
                return self.fail(id, None, envelope_code(&error));
            }
        };
        let (id, room) = (frame.id, frame.envelope.header().room);
        let SessionParts { rooms, store, .. } = &*self.parts;
        self.reading.after_message(bytes.len(), rooms.commits_gather(), || store.before_batch(room));
        if let Err(error) = self.parts.chat.admit(&frame.envelope, self.caller.device()) {
            return self.replies.push(ServerFrame::Error { id: Some(id), room: Some(room), error: error.body() });
        }
        self.appends.push(id, self.parts.chat.send_message(frame.envelope));
    }

    /// Sees to a control frame, but for one that asks to follow a room: that takes time, and is returned.
    fn control(&mut self, text: &str) -> Option<(u32, RoomId, Option<Cursor>)> {
        if let Err(wait) = self.charge_control() {
            let error = ChatError::TooFast { retry_after: wait }.body();
            self.replies.push(ServerFrame::Error { id: None, room: None, error });
            return None;
        }
        match decode(text) {
            Ok(ClientFrame::Follow { id, room, cursor }) => return Some((id, room, cursor)),
            Ok(ClientFrame::Unfollow { room }) => self.unsubscribe(room),
            Ok(ClientFrame::Typing { room }) => self.typing(room),
            Ok(ClientFrame::Heartbeat {}) => {}
            Ok(ClientFrame::Hello { .. }) => self.fail(None, None, ErrorCode::BadRequest),
            Err(code) => self.fail(None, None, code),
        }
        None
    }

    fn fail(&mut self, id: Option<u32>, room: Option<RoomId>, code: ErrorCode) {
        self.replies.push(ServerFrame::Error { id, room, error: ErrorBody::from(code) });
    }

    fn typing(&mut self, room: RoomId) {
        let now = Instant::now();
        let is_present = self.subscription(room).is_some_and(|subscription| subscription.present.is_some());
        if !is_present || self.typing.get(&room).is_some_and(|last| now - *last < TYPING_PERIOD) {
            return;
        }
        self.typing.insert(room, now);
        let device = self.caller.device();
        let frame = serde_json::to_vec(&ServerFrame::Typing { room, device }).expect("a frame is plain data");
        self.parts.chat.publish(BusEvent::Ephemeral { room, frame: frame.into(), from: device });
    }

    async fn follow(&mut self, id: u32, room: RoomId, cursor: Option<Cursor>) {
        if self.subscription(room).is_none() && self.subscriptions.len() >= ROOMS_PER_SESSION_MAX {
            return self.fail(Some(id), Some(room), ErrorCode::TooManyRooms);
        }
        if let Some(sent) = self.subscription(room)
            && cursor.as_ref().is_some_and(|cursor| cursor.seq < sent.cursor())
        {
            // It was sent more than it has: it has seen a hole, or a head that nothing led up to.
            self.parts.rooms.counters().losses.of(FoundBy::Client).increment();
        }
        if let Err(retry_after) = self.parts.follows.charge(self.caller.device()) {
            let error = ChatError::TooFast { retry_after }.body();
            return self.replies.push(ServerFrame::Error { id: Some(id), room: Some(room), error });
        }
        self.unsubscribe(room);
        match self.try_follow(id, room, cursor).await {
            Ok((subscription, followed)) => {
                let rooms: Vec<RoomId> = self.subscriptions.iter().map(Subscription::room).collect();
                self.typing.retain(|known, _| *known == room || rooms.contains(known));
                // One by one: most sessions follow one room.
                self.subscriptions.reserve_exact(1);
                self.subscriptions.push(subscription);
                self.replies.push(followed);
            }
            Err(FollowError::Refused(code)) => self.fail(Some(id), Some(room), code),
            Err(FollowError::Store(error)) => {
                tracing::warn!(%error, "could not follow a room");
                self.fail(Some(id), Some(room), store_code(&error));
            }
        }
    }

    async fn try_follow(
        &mut self,
        id: u32,
        room: RoomId,
        cursor: Option<Cursor>,
    ) -> Result<(Subscription, ServerFrame), FollowError> {
        let (device, wake) = (self.caller.device(), Arc::clone(&self.wake));
        let parts = &self.parts;
        // Asked before the room is entered, so that a stranger makes no node follow it; where somebody is already, one question is enough.
        if !parts.rooms.is_followed(room) {
            right(parts.store.standing(room, device).await?).map_err(FollowError::Refused)?;
        }
        let at = cursor.as_ref().map_or(Seq::ZERO, |cursor| cursor.seq);
        let Some((following, state)) = parts.rooms.follow(room, device, at, wake).await? else {
            return Err(FollowError::Refused(ErrorCode::NotAMember));
        };
        let FollowState { room: row, standing, cursor_hash } = state;
        let role = right(standing).map_err(FollowError::Refused)?;
        let head = row.head;
        let place = place(following.room(), head, cursor.as_ref(), cursor_hash);
        let counters = parts.table.counters();
        counters.follows.increment();
        if cursor.is_some() {
            counters.resumes.of(place.outcome()).increment();
        }
        // A recovery device is no member, so nobody is to see it come.
        let present = (standing != Some(Standing::Recovery)).then(|| parts.presence.enter(room, device));
        let Attendance { here, here_count, of_all_nodes } = parts.presence.here(room).await;
        if of_all_nodes {
            following.room().stands_at(here_count);
        }
        let followed = ServerFrame::Followed {
            id,
            room,
            history: following.room().history(),
            head,
            from: place.cursor.next(),
            skipped: place.skipped,
            resync: place.resync,
            role,
            chain: row.chain,
            here,
            here_count,
        };
        Ok((Subscription { following, present, begins: Some(place.cursor), told: head, began: head }, followed))
    }
}

/// Why a room cannot be followed.
enum FollowError {
    Refused(ErrorCode),
    Store(StoreError),
}

impl From<StoreError> for FollowError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

struct Place {
    cursor: Seq,
    skipped: bool,
    resync: Option<Resync>,
}

impl Place {
    fn outcome(&self) -> Resumed {
        match self.resync {
            Some(resync) => resync.into(),
            None if self.skipped => Resumed::Skipped,
            None => Resumed::Continued,
        }
    }
}

/// Where to send from. `hash`: of the entry at the cursor.
fn place(room: &Room, head: Seq, cursor: Option<&Cursor>, hash: Option<EnvelopeHash>) -> Place {
    let latest = Place { cursor: head.back(LATEST_PAGE), skipped: false, resync: None };
    let Some(cursor) = cursor else { return latest };
    let resync = if cursor.history != room.history() {
        Some(Resync::OtherHistory)
    } else if cursor.seq == Seq::ZERO {
        None
    } else {
        match hash {
            None => Some(Resync::BeyondHead),
            Some(hash) if hash.short().as_slice() != cursor.hash.0 => Some(Resync::OtherHash),
            Some(_) => None,
        }
    };
    match resync {
        Some(_) => Place { resync, ..latest },
        None if head.0.saturating_sub(cursor.seq.0) > BACKLOG_MAX => Place { skipped: true, ..latest },
        None => Place { cursor: cursor.seq, ..latest },
    }
}
