//! What a room tells its reader.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use snug_protocol::{DeviceId, Seq};
use tokio::sync::mpsc;

use super::governance::AuditEntry;
use super::marks::Reactions;
use crate::log::Violation;

/// Something that happened in a room.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A message, opened and verified. From the history it is as it stands now, after all edits, reactions and pins that are known.
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
        /// The message it answers. Show what the log says of that one now, so that a deleted text does not live on in quotes.
        reply_to: Option<Seq>,
        /// Devices that it names, at most 50.
        mentions: Vec<DeviceId>,
        /// Its author has changed it.
        edited: bool,
        /// The emoji on it.
        reactions: Vec<Reactions>,
        /// It is pinned.
        pinned: bool,
    },
    /// The message at `seq` is no more; its text is not to be shown any longer.
    Deleted {
        /// The message's place.
        seq: Seq,
        /// When the message was committed, by the server's clock, Unix milliseconds.
        at_ms: u64,
        /// Who had written it. Only the server's word, if the text was gone before this device saw it.
        device: DeviceId,
        /// Why it is gone.
        by: DeletedBy,
    },
    /// The author has changed a message.
    Edited {
        /// The message's place.
        seq: Seq,
        /// Whose.
        device: DeviceId,
        /// What it says now.
        text: String,
        /// Devices that it names now, at most 50.
        mentions: Vec<DeviceId>,
    },
    /// A member has put an emoji on a message, or taken it back.
    Reacted {
        /// The message's place.
        seq: Seq,
        /// Who.
        device: DeviceId,
        /// Which emoji.
        emoji: String,
        /// `false`: taken back.
        on: bool,
    },
    /// A member has pinned a message, or unpinned it.
    Pinned {
        /// The message's place.
        seq: Seq,
        /// Who.
        device: DeviceId,
        /// `false`: unpinned.
        on: bool,
    },
    /// An admin has changed something. What holds now is in [`crate::Room::state`].
    Administered(AuditEntry),
    /// The room has an epoch whose key was not sealed to this device, or whose record the server does not show. Nothing more can be read
    /// or sent until it joins again by the new password, or is shown the record.
    KeyMissing {
        /// Which.
        epoch: u32,
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
    /// How many devices are here. Told where more than 100 are, instead of who comes and goes, and when news of that may have been lost.
    HereCount {
        /// How many.
        here_count: u32,
    },
    /// Someone is writing. Not in the log: may be lost.
    Typing {
        /// Who.
        device: DeviceId,
    },
    /// Where more than 100 are here: how many others have been writing in the last seconds. May be lost.
    TypingCount {
        /// How many.
        count: u32,
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
        /// Why: a server's code such as `room_deleted`, `removed`, `banned` or `not_a_member`, or `left`.
        code: &'static str,
    },
}

impl Event {
    /// The place of the entry that it stands for in the room's history, if it stands for one.
    #[must_use]
    pub const fn seq(&self) -> Option<Seq> {
        match self {
            Self::Administered(entry) => Some(entry.seq),
            Self::Message { seq, .. }
            | Self::Deleted { seq, .. }
            | Self::Joined { seq, .. }
            | Self::Renamed { seq, .. }
            | Self::Left { seq, .. }
            | Self::Unreadable { seq, .. } => Some(*seq),
            _ => None,
        }
    }
}

/// Why a message is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeletedBy {
    /// Its author, or an admin, deleted it or all that its author wrote.
    Device(DeviceId),
    /// It had reached the age at which this room's messages are erased.
    Retention,
    /// Nothing in the room explains it: the server did it.
    Server,
}

/// A stretch of a room's history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct History {
    /// Its entries as they stand now, oldest first. Fewer than were asked for, or none, since not every entry is shown.
    pub events: Vec<Event>,
    /// Where it begins: what lies before can be asked for.
    pub from: Seq,
}

impl History {
    /// Whether nothing lies before it.
    #[must_use]
    pub fn is_beginning(&self) -> bool {
        self.from <= Seq(1)
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
