//! What callers give and get. No SQL type and no row shape crosses this line.

mod administration;
mod operating;

use std::time::Duration;

use snug_protocol::http::{MemberState, Role};
use snug_protocol::limits::{EPOCH_KEY_BYTES, INVITES_PER_ROOM_MAX, MEMBERS_PER_ROOM_MAX, ROOMS_PER_DEVICE_MAX};
use snug_protocol::{DeviceId, Envelope, EnvelopeHash, GrantId, HistoryId, RoomId, Seq, frame::EntryFrame};

pub use administration::{EpochBegun, EpochKeys, MovePart, NewEpoch, NewStep, OfferOutcome, Standing, StepEffect};
pub use operating::{RoomSummary, SignIn};

/// What a commit survives, as the database's settings at opening say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// A crash of the process, of the operating system, and a power cut; not the loss of the disk.
    Local,
    /// Also the loss of one machine.
    Replicated,
    /// Not even a power cut, or not even the end of the process. An operator must ask for it explicitly.
    Weak,
}

impl Durability {
    /// As logs and metrics call it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Replicated => "replicated",
            Self::Weak => "weak",
        }
    }
}

/// How many of each there may be, and how long what has ended is kept. The defaults are the protocol's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quotas {
    /// Members of a room, those who left included.
    pub members_per_room_max: u64,
    /// Rooms that one device is a member of at one time.
    pub rooms_per_device_max: u64,
    /// Invites of a room that have not expired.
    pub invites_per_room_max: u64,
    /// How long an expired invite is kept, so that its holder is told "expired" and not "unknown". Default 30 days.
    pub expired_invites_kept: Duration,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            members_per_room_max: MEMBERS_PER_ROOM_MAX as u64,
            rooms_per_device_max: ROOMS_PER_DEVICE_MAX as u64,
            invites_per_room_max: INVITES_PER_ROOM_MAX as u64,
            expired_invites_kept: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

/// Where a message stands in its room's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Its place.
    pub seq: Seq,
    /// When it was committed, by the database's clock.
    pub at_ms: u64,
    /// What every reader gets; `None` for a duplicate, which readers have had.
    pub frame: Option<EntryFrame>,
}

/// A room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Room {
    /// Its id.
    pub room: RoomId,
    /// Its name, as its creator wrote it.
    pub name: String,
    /// Which life of its log this is.
    pub history: HistoryId,
    /// Its newest seq.
    pub head: Seq,
    /// Its newest epoch.
    pub epoch: u32,
    /// Its newest chain entry: an epoch record or a step. 1 at creation.
    pub chain: Seq,
    /// Newcomers are refused.
    pub locked: bool,
    /// Grows whenever someone loses access: a member leaves, an epoch begins, or a member's token is revoked. Joining leaves it as it is, or every join
    /// would make every follower of the room ask for its rights again.
    pub access_version: u64,
    /// When it was created.
    pub created_at_ms: u64,
}

/// The part of a room that changes, for the head check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoomHead {
    /// Which room.
    pub room: RoomId,
    /// Which life of its log this is.
    pub history: HistoryId,
    /// Its newest seq.
    pub head: Seq,
    /// See [`Room::access_version`].
    pub access_version: u64,
}

/// What one who wants to follow a room must know, all of one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FollowState {
    /// The room.
    pub room: Room,
    /// What its follower is in it.
    pub standing: Option<Standing>,
    /// The hash of the entry at the cursor, if there is one.
    pub cursor_hash: Option<EnvelopeHash>,
}

/// A room to be created.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewRoom {
    /// Its id, chosen by the creator.
    pub room: RoomId,
    /// Its name.
    pub name: String,
    /// What must be unique among names: the name without case and look-alikes.
    pub likeness: String,
    /// Its creator.
    pub owner: DeviceKeys,
    /// The password grant's id.
    pub grant: GrantId,
    /// The password grant's key derivation.
    pub kdf: u32,
    /// The password grant's secret.
    pub secret: GrantSecret,
    /// The recovery device: counts as an owner for administration, and is no member. Another one than the owner's.
    pub recovery: DeviceKeys,
    /// Epoch 0's key, sealed to the recovery device.
    pub recovery_key: [u8; EPOCH_KEY_BYTES],
    /// Becomes seq 1. The caller has checked that it is of this room and device, of epoch 0, and an
    /// [`EntryKind::EpochRecord`].
    pub epoch_record: Envelope,
}

/// What the server keeps of a grant to check it and to hand out its blob.
#[derive(Clone, PartialEq, Eq)]
pub struct GrantSecret {
    /// Compared with what a joining client proves.
    pub verifier: Vec<u8>,
    /// The grant's blob, encrypted at rest.
    pub sealed_blob: Vec<u8>,
    /// The number of the pepper in both.
    pub pepper: u32,
}

impl std::fmt::Debug for GrantSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrantSecret").field("pepper", &self.pepper).finish_non_exhaustive()
    }
}

/// What kind of way in a grant is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GrantKind {
    /// The room's password; each room has one.
    Password,
    /// An invite.
    Invite,
}

/// A way into a room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The room.
    pub room: RoomId,
    /// Its id, unique in the room.
    pub grant: GrantId,
    /// Password or invite.
    pub kind: GrantKind,
    /// The key derivation; of no meaning for an invite.
    pub kdf: u32,
    /// To check it by.
    pub secret: GrantSecret,
    /// Who made it.
    pub made_by: DeviceId,
    /// When.
    pub created_at_ms: u64,
    /// Until when it is valid; `None`: until revoked.
    pub expires_at_ms: Option<u64>,
    /// Whether that was over at the time of reading, by the database's clock.
    pub expired: bool,
    /// How many devices became members by it.
    pub uses: u32,
    /// How many may; `None`: any number.
    pub uses_max: Option<u32>,
}

/// An invite to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewInvite {
    /// The room.
    pub room: RoomId,
    /// Its id.
    pub grant: GrantId,
    /// To check it by.
    pub secret: GrantSecret,
    /// Who makes it; must be a member or the recovery device.
    pub made_by: DeviceId,
    /// How long it is valid; `None`: until revoked.
    pub expires_in: Option<Duration>,
    /// How many devices may become members by it; `None`: any number.
    pub uses_max: Option<u32>,
}

/// A device is in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entering {
    /// The room, as the entering left it.
    pub room: Room,
    /// The device's role.
    pub role: Role,
    /// It was not a member before.
    pub new_member: bool,
    /// The record of the room's newest epoch.
    pub epoch_record: EntryFrame,
}

/// A device's public keys, and the id that is their hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceKeys {
    /// Its id.
    pub device: DeviceId,
    /// Ed25519.
    pub sign_key: [u8; 32],
    /// X25519.
    pub agree_key: [u8; 32],
}

/// A device in a room, now or once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its keys.
    pub keys: DeviceKeys,
    /// What it may do, when it is a member. One who left keeps it, one who was removed does not.
    pub role: Role,
    /// Whether it is a member now.
    pub state: MemberState,
    /// When it became one last.
    pub joined_at_ms: u64,
    /// How it introduced itself last.
    pub profile: Option<EntryFrame>,
}

/// An access token, known by its hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token {
    /// Whose.
    pub device: DeviceId,
    /// When it ends if it is not used again.
    pub expires_at_ms: u64,
}

/// A part of a log, and what was said about it later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// Which life of the log.
    pub history: HistoryId,
    /// The room's newest seq.
    pub head: Seq,
    /// The first seq of the range. Greater than `to` when the range is empty.
    pub from: Seq,
    /// The last seq of the range.
    pub to: Seq,
    /// `from..=to`, ascending.
    pub entries: Vec<EntryFrame>,
    /// Edits, deletions, reactions and pins after `to` whose target lies in `from..=to`, ascending.
    pub later: Vec<EntryFrame>,
}

impl Page {
    /// A page of entries picked out of a log, ascending, that was looked at up to `end`.
    pub(crate) fn sparse(history: HistoryId, head: Seq, end: Seq, entries: Vec<EntryFrame>) -> Self {
        let range = entries.first().zip(entries.last()).map(|(first, last)| (first.seq(), last.seq()));
        let (from, to) = range.unwrap_or((end.next(), end));
        Self { history, head, from, to, entries, later: Vec::new() }
    }
}

/// What a room's name leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lookup {
    /// The room.
    pub room: RoomId,
    /// Its password grant.
    pub grant: GrantId,
    /// The password grant's key derivation.
    pub kdf: u32,
}

/// What a sweep removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// Expired tokens.
    pub tokens: u64,
    /// Invites that expired longer ago than [`Quotas::expired_invites_kept`].
    pub invites: u64,
    /// Deleted rooms whose erasure had been cut short.
    pub rooms: u64,
    /// Messages, edits, reactions and pins that were older than their room keeps them; tombstones now.
    pub expired_entries: u64,
    /// Sealed keys that were staged more than a day ago for a record that never came.
    pub staged_keys: u64,
    /// Mailboxes of moves that took too long.
    pub moves: u64,
}
