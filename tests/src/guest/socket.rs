//! A guest's socket.

use std::time::Duration;

use bytes::Bytes;
use snug_client::wire::{Incoming, RawSocket};
use snug_protocol::frame::{ClientFrame, Cursor, EntryFrame, ServerFrame};
use snug_protocol::{Envelope, ErrorBody, ErrorCode, RoomId, Seq};

use crate::in_time;

/// The pause before something is sent again.
pub(super) const AGAIN: Duration = Duration::from_millis(100);

/// A socket that panics when what must come does not.
pub struct Socket {
    pub(super) raw: RawSocket,
}

impl Socket {
    /// Says hello and is welcomed.
    pub(super) async fn greeted(mut self) -> Self {
        self.say(&ClientFrame::Hello { client: "test".into() }).await;
        assert!(matches!(self.hear().await, ServerFrame::Welcome { .. }));
        self
    }

    /// Says hello and is welcomed, or not.
    pub(super) async fn welcomed(mut self) -> Option<Self> {
        self.raw.send(&ClientFrame::Hello { client: "test".into() }).await.ok()?;
        matches!(self.next().await, Incoming::Frame(ServerFrame::Welcome { .. })).then_some(self)
    }

    /// Sends `envelope` until it is acknowledged, again each time that the node cannot; returns its place, and whether it was there.
    pub async fn insist(&mut self, id: u32, envelope: &Envelope) -> (Seq, bool) {
        self.send(id, envelope).await;
        loop {
            match self.hear().await {
                ServerFrame::Sent { id: heard, seq, duplicate, .. } if heard == id => return (seq, duplicate),
                ServerFrame::Heartbeat { .. } => self.say(&ClientFrame::Heartbeat {}).await,
                ServerFrame::Error { id: Some(heard), error, .. }
                    if heard == id && error.code == ErrorCode::Unavailable =>
                {
                    tokio::time::sleep(AGAIN).await;
                    self.send(id, envelope).await;
                }
                other => panic!("expected the acknowledgement of {id}, heard {other:?}"),
            }
        }
    }

    /// Sends a control frame.
    pub async fn say(&mut self, frame: &ClientFrame) {
        self.raw.send(frame).await.expect("the socket is open");
    }

    /// Sends any text.
    pub async fn say_text(&mut self, text: &str) {
        self.raw.send_text(text).await.expect("the socket is open");
    }

    /// Sends any bytes.
    pub async fn say_bytes(&mut self, bytes: impl Into<Bytes>) {
        self.raw.send_bytes(bytes.into()).await.expect("the socket is open");
    }

    /// Sends an envelope.
    pub async fn send(&mut self, id: u32, envelope: &Envelope) {
        self.raw.send_envelope(id, envelope.bytes()).await.expect("the socket is open");
    }

    /// Whatever comes next.
    pub async fn next(&mut self) -> Incoming {
        in_time("a frame comes", self.raw.next()).await
    }

    /// The next control frame; entries and presence before it are passed over.
    pub async fn hear(&mut self) -> ServerFrame {
        loop {
            match self.next().await {
                Incoming::Frame(ServerFrame::Presence { .. }) | Incoming::Entry(_) | Incoming::Other => {}
                Incoming::Frame(frame) => return frame,
                Incoming::Closed { code } => panic!("the socket closed with {code:?} instead of saying something"),
            }
        }
    }

    /// The next entry; control frames before it are passed over.
    pub async fn entry(&mut self) -> EntryFrame {
        loop {
            match self.next().await {
                Incoming::Entry(entry) => return entry,
                Incoming::Frame(_) | Incoming::Other => {}
                Incoming::Closed { code } => panic!("the socket closed with {code:?} instead of sending an entry"),
            }
        }
    }

    /// Appends an envelope to a room that this socket follows, and waits for its acknowledgement and for itself, whichever comes first.
    pub async fn append_and_see(&mut self, envelope: &Envelope) -> Seq {
        self.send(1, envelope).await;
        let (mut acknowledged, mut is_seen) = (None, false);
        loop {
            match self.next().await {
                Incoming::Entry(entry) => is_seen |= entry.hash() == envelope.hash(),
                Incoming::Frame(ServerFrame::Sent { seq, .. }) => acknowledged = Some(seq),
                Incoming::Frame(ServerFrame::Error { error, .. }) => panic!("it is refused: {error:?}"),
                Incoming::Frame(_) | Incoming::Other => {}
                Incoming::Closed { code } => panic!("the socket closed with {code:?}"),
            }
            if let Some(seq) = acknowledged.filter(|_| is_seen) {
                return seq;
            }
        }
    }

    /// Waits until this envelope's entry comes; whatever comes before is passed over.
    pub async fn until(&mut self, envelope: &Envelope) {
        while self.entry().await.hash() != envelope.hash() {}
    }

    /// The error that comes next.
    pub async fn error(&mut self) -> ErrorBody {
        match self.hear().await {
            ServerFrame::Error { error, .. } => error,
            other => panic!("expected an error, heard {other:?}"),
        }
    }

    /// The acknowledgement of `id`.
    pub async fn sent(&mut self, id: u32) -> (Seq, bool) {
        loop {
            match self.hear().await {
                ServerFrame::Sent { id: heard, seq, duplicate, .. } if heard == id => return (seq, duplicate),
                // On a slow machine a test may take that long.
                ServerFrame::Heartbeat { .. } => self.say(&ClientFrame::Heartbeat {}).await,
                other => panic!("expected the acknowledgement of {id}, heard {other:?}"),
            }
        }
    }

    /// Follows a room; returns the answer.
    pub async fn follow(&mut self, room: RoomId, cursor: Option<Cursor>) -> ServerFrame {
        self.say(&ClientFrame::Follow { id: 1, room, cursor }).await;
        self.hear().await
    }

    /// The code the socket closes with; whatever comes before is passed over.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            if let Incoming::Closed { code } = self.next().await {
                return code;
            }
        }
    }

    /// The refusal of `envelope`.
    pub async fn refused(&mut self, envelope: &Envelope) -> ErrorBody {
        self.send(0, envelope).await;
        self.error().await
    }

    /// Appends `envelope`; returns its place.
    pub async fn append(&mut self, envelope: &Envelope) -> Seq {
        self.send(0, envelope).await;
        let (seq, duplicate) = self.sent(0).await;
        assert!(!duplicate, "it had been appended before");
        seq
    }

    /// Why the room is followed no longer; whatever comes before is passed over.
    pub async fn room_closed(&mut self) -> ErrorCode {
        loop {
            if let ServerFrame::RoomClosed { code, .. } = self.hear().await {
                return code;
            }
        }
    }
}
