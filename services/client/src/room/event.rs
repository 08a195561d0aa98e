//! What a room tells its reader.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use snug_protocol::{DeviceId, Seq};
use tokio::sync::mpsc;

use crate::log::Violation;

/// Something that happened in a room.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A message, opened and verified.
    Message {
        /// Its place.
        seq: Seq,
        /// The server's time of commit, Unix milliseconds.
        at_ms: u64,
        /// Who wrote it.
        device: DeviceId,
        /// The name its author goes by; `None` if no profile of theirs could be had.
        name: Option<String>,
        /// What it says: 1 to 4,000 code points.
        text: String,
        /// It is this device's.
        mine: bool,
    },
    /// A device has become a member.
    Joined {
        /// The place of its profile.
        seq: Seq,
        /// The server's time of commit, Unix milliseconds.
        at_ms: u64,
        /// Who.
        device: DeviceId,
        /// The name it goes by.
        name: String,
    },
    /// A member introduced itself again.
    Renamed {
        /// The place of its profile.
        seq: Seq,
        /// The server's time of commit, Unix milliseconds.
        at_ms: u64,
        /// Who.
        device: DeviceId,
        /// The name it goes by now.
        name: String,
        /// The name before, if it was known.
        before: Option<String>,
    },
    /// A device has ended its membership.
    Left {
        /// The place of the entry.
        seq: Seq,
        /// The server's time of commit, Unix milliseconds.
        at_ms: u64,
        /// Who.
        device: DeviceId,
        /// The name it went by.
        name: Option<String>,
    },
    /// An entry that could not be opened or verified. Why is not told apart.
    Unreadable {
        /// Its place.
        seq: Seq,
        /// The server's time of commit, Unix milliseconds.
        at_ms: u64,
    },
    /// A device came or went. Not in the log: may be lost.
    Presence {
        /// Who.
        device: DeviceId,
        /// It came.
        here: bool,
        /// How many are here now.
        here_count: u32,
    },
    /// Someone is writing. Not in the log: may be lost.
    Typing {
        /// Who.
        device: DeviceId,
    },
    /// The server, or someone, dropped, replayed, reordered or forked messages. The evidence can be exported.
    Violation(Violation),
    /// The server's log has begun anew or lost entries. What was received before is void; the entries that follow this are the log now.
    Resync {
        /// Messages of this device that the server had acknowledged and does not have any more, oldest first.
        lost: Vec<LostMessage>,
    },
    /// Entries were left out: the absence was too long. [`crate::Room::history_before`] loads them.
    Hole {
        /// The first one left out.
        from: Seq,
        /// The last one left out.
        to: Seq,
    },
    /// The connection is lost; sending goes on when it is back.
    ConnectionLost,
    /// The connection is back.
    ConnectionRestored,
    /// The room is closed to this device; the last event.
    Closed {
        /// Why: a server's code such as `room_deleted` or `not_a_member`, or `left`.
        code: &'static str,
    },
}

impl Event {
    /// The entry it is about, if it is about one.
    #[must_use]
    pub const fn seq(&self) -> Option<Seq> {
        match self {
            Self::Message { seq, .. }
            | Self::Joined { seq, .. }
            | Self::Renamed { seq, .. }
            | Self::Left { seq, .. }
            | Self::Unreadable { seq, .. } => Some(*seq),
            _ => None,
        }
    }
}

/// A message that the server had acknowledged and lost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LostMessage {
    /// Where it was acknowledged.
    pub seq: Seq,
    /// What it said.
    pub text: String,
}

/// A room's events in order, beginning with the entries of the newest loaded run.
///
/// A slow reader loses nothing: while [`EVENTS_MAX`] events wait, the room stops taking entries, and later follows again from where it
/// stopped. Only presence and typing are shed.
#[derive(Debug)]
pub struct Events(pub(super) mpsc::Receiver<Event>);

/// Events that wait for a reader, at most.
pub const EVENTS_MAX: usize = 256;

impl Events {
    /// The next event; `None` after the last, or when [`crate::Room::events`] was called again. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.poll_recv(context)
    }
}
