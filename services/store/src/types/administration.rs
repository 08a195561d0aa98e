//! Who governs a room, and the changes they make.

use snug_protocol::http::Role;
use snug_protocol::limits::EPOCH_KEY_BYTES;
use snug_protocol::{DeviceId, Envelope, GrantId};

use super::{Appended, DeviceKeys, Grant, GrantSecret};

/// What a device is in a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// A member now.
    Member(Role),
    /// The recovery device: an owner for administration, and no member.
    Recovery,
    /// It was the recovery device until an owner put another in its place. It never comes back.
    Retired,
    /// It was a member and left, or an epoch began without it.
    Left,
    /// An admin ended its membership. It may come back by a grant.
    Removed,
    /// It may not come back.
    Banned,
}

impl Standing {
    /// The role it may use now, if any. The recovery device's is the owner's.
    #[must_use]
    pub const fn role(self) -> Option<Role> {
        match self {
            Self::Member(role) => Some(role),
            Self::Recovery => Some(Role::Owner),
            Self::Left | Self::Removed | Self::Banned | Self::Retired => None,
        }
    }
}

/// What a step changes that the server is to enforce.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StepEffect {
    /// Nothing, as for a topic.
    None,
    /// The device gets this role.
    Role {
        /// Who.
        device: DeviceId,
        /// Which.
        role: Role,
    },
    /// The device becomes owner and the author moderator; a recovery device stays as it is.
    Transfer {
        /// Who.
        device: DeviceId,
    },
    /// Newcomers are refused, or let in.
    Lock {
        /// Refused.
        locked: bool,
    },
    /// How often plain members may write.
    Slow {
        /// At most one message in this time; 0: no limit.
        interval_ms: u64,
    },
    /// The device may not write.
    Mute {
        /// Who.
        device: DeviceId,
        /// Until when, Unix milliseconds; 0 lifts it.
        until_ms: u64,
    },
    /// All messages, edits and reactions of the device before the step become tombstones.
    Erase {
        /// Who.
        device: DeviceId,
    },
    /// A banned device may come back.
    Unban {
        /// Who.
        device: DeviceId,
    },
    /// Messages become tombstones by age.
    Retention {
        /// At this age; 0: never.
        age_ms: u64,
    },
    /// A new password in place of the old.
    Password {
        /// Its grant's id.
        grant: GrantId,
        /// Its key derivation.
        kdf: u32,
        /// To check it by.
        secret: GrantSecret,
    },
}

/// A step and what it does. Its author is the envelope's device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewStep {
    /// The step.
    pub envelope: Envelope,
    /// What it does.
    pub effect: StepEffect,
}

/// An epoch to begin. Its author is the record's device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewEpoch {
    /// Its record. The keys staged for this one's hash become valid.
    pub record: Envelope,
    /// Whose membership the author ends, at most `REMOVALS_MAX`; to ban them it may name devices that are members no more.
    pub remove: Vec<DeviceId>,
    /// Whether they may not come back.
    pub ban: bool,
    /// [`snug_protocol::recipients_hash`] of those that the key is sealed to: the devices that keys are staged for, and the new recovery
    /// device, if there is one. All other members have left then, and may come back by the new password.
    pub recipients: [u8; 32],
    /// The time that the record states, Unix milliseconds: mutes that have ended by it are forgotten.
    pub sent_at_ms: u64,
    /// The recovery device that takes the place of the one before, and the epoch's key sealed to it, which is not staged. It must never
    /// have been anything in the room.
    pub recovery: Option<(DeviceKeys, [u8; EPOCH_KEY_BYTES])>,
    /// The new password grant's id.
    pub grant: GrantId,
    /// Its key derivation.
    pub kdf: u32,
    /// To check it by.
    pub secret: GrantSecret,
}

/// An epoch that has begun.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EpochBegun {
    /// Its record.
    pub appended: Appended,
    /// The invites that were still valid; none for a duplicate.
    pub revoked: Vec<Grant>,
    /// Members that got no key and were not removed; none for a duplicate.
    pub excluded: Vec<DeviceId>,
}

impl EpochBegun {
    /// What is answered to a record that was appended before.
    pub(crate) const fn before(appended: Appended) -> Self {
        Self { appended, revoked: Vec::new(), excluded: Vec::new() }
    }
}

/// Whom an epoch's key was sealed to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EpochKeys {
    /// In order of device id; empty for an epoch that is not there.
    pub recipients: Vec<DeviceId>,
    /// What was sealed to the device that was asked for.
    pub key: Option<[u8; EPOCH_KEY_BYTES]>,
}

/// What became of an offer to move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OfferOutcome {
    /// Another offer is there.
    Taken,
    /// It is there now, or was before.
    Stored,
}

/// What the two devices of a move put into its mailbox after the offer, each once and in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MovePart {
    /// The old device's nonce.
    Nonce,
    /// What the new device's offer committed to.
    Reveal,
    /// What the old device hands over.
    Answer,
}
