//! WebSocket frames: control as JSON text, envelopes as binary (PROTOCOL.md section 3).

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::base64::Base64Bytes;
use crate::envelope::{EntryKind, Envelope, EnvelopeError, EnvelopeHash, HEADER_BYTES, Header};
use crate::error::ErrorBody;
use crate::http::Role;
use crate::ids::{DeviceId, HistoryId, RoomId, Seq};

/// Where a client stands in a room's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Cursor {
    /// Which life of the log.
    pub history: HistoryId,
    /// The last entry applied.
    pub seq: Seq,
    /// The first 8 bytes of that entry's envelope hash.
    pub hash: Base64Bytes,
}

/// What a client says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientFrame {
    /// The first frame.
    Hello {
        /// Name and version of the client, for the server's counters.
        client: String,
    },
    /// Send a room's entries after the cursor, and its presence.
    Follow {
        /// Comes back in the answer.
        id: u32,
        /// Which room.
        room: RoomId,
        /// Absent: from the latest page.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[cfg_attr(feature = "typescript", ts(optional))]
        cursor: Option<Cursor>,
    },
    /// Send no more of a room.
    Unfollow {
        /// Which room.
        room: RoomId,
    },
    /// Someone is writing.
    Typing {
        /// Where.
        room: RoomId,
    },
    /// The answer to the server's heartbeat.
    Heartbeat {},
}

/// Why a cursor does not belong to the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Resync {
    /// The log has begun a new life, as after a restored backup.
    OtherHistory,
    /// Another entry stands at the cursor's place.
    OtherHash,
    /// The log ends before the cursor.
    BeyondHead,
}

/// Whether a device has a socket in the room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum PresenceState {
    /// It has.
    Here,
    /// It has none any more.
    Gone,
}

/// A room's newest seq.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Head {
    /// Which room.
    pub room: RoomId,
    /// Its largest seq.
    pub head: Seq,
}

/// What the server says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    /// The answer to `hello`.
    Welcome {
        /// The token's device.
        device: DeviceId,
        /// The node, named anew at each start.
        node: String,
        /// The server's clock.
        server_at_ms: u64,
        /// How often a heartbeat comes.
        heartbeat_ms: u64,
    },
    /// The answer to `follow`; the entries from `from` on come next.
    Followed {
        /// The request's.
        id: u32,
        /// Which room.
        room: RoomId,
        /// Which life of its log.
        history: HistoryId,
        /// Its newest seq.
        head: Seq,
        /// The first entry that will be sent.
        from: Seq,
        /// Entries between the cursor and `from` were left out.
        skipped: bool,
        /// The cursor did not belong to this log.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[cfg_attr(feature = "typescript", ts(optional))]
        resync: Option<Resync>,
        /// The device's role in the room.
        role: Role,
        /// The room's newest chain entry.
        chain: Seq,
        /// Devices that are here now, at most `HERE_LISTED_MAX`.
        here: Vec<DeviceId>,
        /// How many are here.
        here_count: u32,
    },
    /// An envelope is committed durably.
    Sent {
        /// The request's.
        id: u32,
        /// Its room.
        room: RoomId,
        /// Its place.
        seq: Seq,
        /// When it was committed.
        at_ms: u64,
        /// It had been committed before.
        duplicate: bool,
    },
    /// Something failed.
    Error {
        /// The request that failed; absent if it was none, or could not be read.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[cfg_attr(feature = "typescript", ts(optional))]
        id: Option<u32>,
        /// The room it was about.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[cfg_attr(feature = "typescript", ts(optional))]
        room: Option<RoomId>,
        /// What went wrong.
        #[serde(flatten)]
        error: ErrorBody,
    },
    /// A device came or went.
    Presence {
        /// Where.
        room: RoomId,
        /// Who.
        device: DeviceId,
        /// Which of the two.
        state: PresenceState,
        /// How many are here now.
        here_count: u32,
    },
    /// Who is here, in place of all that was told before.
    Here {
        /// Where.
        room: RoomId,
        /// Everyone; absent when more than `HERE_LISTED_MAX` are: then only their number is told, until a list comes again.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[cfg_attr(feature = "typescript", ts(optional))]
        here: Option<Vec<DeviceId>>,
        /// How many are here.
        here_count: u32,
    },
    /// Someone is writing.
    Typing {
        /// Where.
        room: RoomId,
        /// Who.
        device: DeviceId,
    },
    /// In a room with more than `HERE_LISTED_MAX` here: how many others are writing.
    TypingCount {
        /// Where.
        room: RoomId,
        /// How many; not 0.
        count: u32,
    },
    /// A sign of life.
    Heartbeat {
        /// The heads that changed since the last one.
        heads: Vec<Head>,
    },
    /// This session follows the room no longer.
    RoomClosed {
        /// Which room.
        room: RoomId,
        /// Why.
        code: crate::error::ErrorCode,
    },
    /// The node is draining: go elsewhere.
    Move {
        /// How long this socket stays open.
        within_ms: u64,
    },
}

/// Close codes of this protocol, beside the standard ones.
pub mod close {
    /// By wish.
    pub const NORMAL: u16 = 1000;
    /// What came is no WebSocket.
    pub const WEBSOCKET: u16 = 1002;
    /// A text frame is not UTF-8.
    pub const NOT_UTF8: u16 = 1007;
    /// A frame was too large.
    pub const TOO_LARGE: u16 = 1009;
    /// The node restarts.
    pub const RESTART: u16 = 1012;
    /// The client broke the protocol.
    pub const PROTOCOL: u16 = 4400;
    /// No valid token.
    pub const TOKEN: u16 = 4401;
    /// Said or took nothing for too long.
    pub const TIMED_OUT: u16 = 4408;
    /// Too many sockets.
    pub const TOO_MANY: u16 = 4429;
}

/// The bytes before the envelope in an entry frame.
pub const ENTRY_FRAME_HEADER_BYTES: usize = 17;
const TOMBSTONE_FRAME_BYTES: usize = ENTRY_FRAME_HEADER_BYTES + HEADER_BYTES + 32;
/// The bytes before the envelope in a send frame.
pub const SEND_FRAME_HEADER_BYTES: usize = 5;
const ENTRY: u8 = 1;
const TOMBSTONE: u8 = 2;
const SEND: u8 = 1;

/// One committed entry as every reader gets it: seq, time, envelope. Built once, cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntryFrame {
    seq: Seq,
    at_ms: u64,
    bytes: Bytes,
}

/// Why bytes are not a binary frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BinaryFrameError {
    /// Too short, or of another kind.
    #[error("not a binary frame of this protocol")]
    Malformed,
    /// The envelope in it is not one.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

impl EntryFrame {
    /// The frame for an envelope committed at `seq`.
    #[must_use]
    pub fn new(seq: Seq, at_ms: u64, envelope: &[u8]) -> Self {
        let mut bytes = BytesMut::with_capacity(ENTRY_FRAME_HEADER_BYTES + envelope.len());
        bytes.put_u8(ENTRY);
        bytes.put_u64(seq.0);
        bytes.put_u64(at_ms);
        bytes.put_slice(envelope);
        Self { seq, at_ms, bytes: bytes.freeze() }
    }

    /// The frame for an entry that has been erased: what remains is the envelope's header and its hash.
    #[must_use]
    pub fn tombstone(seq: Seq, at_ms: u64, header: &[u8; HEADER_BYTES], hash: &EnvelopeHash) -> Self {
        let mut bytes = BytesMut::with_capacity(TOMBSTONE_FRAME_BYTES);
        bytes.put_u8(TOMBSTONE);
        bytes.put_u64(seq.0);
        bytes.put_u64(at_ms);
        bytes.put_slice(header);
        bytes.put_slice(&hash.0);
        Self { seq, at_ms, bytes: bytes.freeze() }
    }

    /// Reads a frame; the envelope's header is checked by [`EntryFrame::envelope`].
    ///
    /// # Errors
    /// Not an entry frame.
    pub fn parse(bytes: &Bytes) -> Result<Self, BinaryFrameError> {
        let is_known = match bytes.first() {
            Some(&ENTRY) => bytes.len() > ENTRY_FRAME_HEADER_BYTES,
            Some(&TOMBSTONE) => bytes.len() == TOMBSTONE_FRAME_BYTES,
            _ => false,
        };
        if !is_known {
            return Err(BinaryFrameError::Malformed);
        }
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("length checked"));
        Ok(Self { seq: Seq(number(1)), at_ms: number(9), bytes: bytes.clone() })
    }

    /// The entry's place.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// When it was committed, by the server's clock.
    #[must_use]
    pub const fn at_ms(&self) -> u64 {
        self.at_ms
    }

    /// The whole frame.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether the entry has been erased; then there is no envelope, only its header and hash.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.bytes[0] == TOMBSTONE
    }

    /// The envelope's header, also of a tombstone.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn header(&self) -> Result<Header, EnvelopeError> {
        Header::decode(&self.bytes[ENTRY_FRAME_HEADER_BYTES..])
    }

    /// The envelope's bytes, unchecked; of a tombstone what is left of them.
    #[must_use]
    pub fn envelope_bytes(&self) -> Bytes {
        self.bytes.slice(ENTRY_FRAME_HEADER_BYTES..)
    }

    /// The envelope, its header checked.
    ///
    /// # Errors
    /// What is wrong with it; a tombstone has no envelope.
    pub fn envelope(&self) -> Result<Envelope, EnvelopeError> {
        Envelope::parse(self.envelope_bytes())
    }

    /// SHA-256 of the envelope; of a tombstone what the server says it was.
    #[must_use]
    pub fn hash(&self) -> EnvelopeHash {
        if self.is_tombstone() {
            let hash = &self.bytes[ENTRY_FRAME_HEADER_BYTES + HEADER_BYTES..];
            return EnvelopeHash(hash.try_into().expect("the length was checked when it was made"));
        }
        EnvelopeHash::of(&self.bytes[ENTRY_FRAME_HEADER_BYTES..])
    }

    /// What kind of entry it is; `None` if the header is not known here.
    #[must_use]
    pub fn kind(&self) -> Option<EntryKind> {
        self.bytes.get(ENTRY_FRAME_HEADER_BYTES + 5).and_then(|number| EntryKind::from_u8(*number))
    }
}

/// A client's wish to append an envelope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SendFrame {
    /// Comes back in the answer.
    pub id: u32,
    /// What to append.
    pub envelope: Envelope,
}

impl SendFrame {
    /// The frame's bytes.
    #[must_use]
    pub fn encode(id: u32, envelope: &[u8]) -> Bytes {
        let mut bytes = BytesMut::with_capacity(SEND_FRAME_HEADER_BYTES + envelope.len());
        bytes.put_u8(SEND);
        bytes.put_u32(id);
        bytes.put_slice(envelope);
        bytes.freeze()
    }

    /// Reads a frame. The id is returned even if the envelope is refused, so that the answer can name it.
    ///
    /// # Errors
    /// Not a send frame, or not an envelope; with the id if there was one.
    pub fn parse(bytes: &Bytes) -> Result<Self, (Option<u32>, BinaryFrameError)> {
        if bytes.len() < SEND_FRAME_HEADER_BYTES || bytes[0] != SEND {
            return Err((None, BinaryFrameError::Malformed));
        }
        let id = u32::from_be_bytes(bytes[1..5].try_into().expect("length checked"));
        let envelope =
            Envelope::parse(bytes.slice(SEND_FRAME_HEADER_BYTES..)).map_err(|error| (Some(id), error.into()))?;
        Ok(Self { id, envelope })
    }
}
