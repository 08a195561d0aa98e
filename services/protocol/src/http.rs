//! Bodies of HTTP calls (PROTOCOL.md section 2).

use serde::{Deserialize, Serialize};

use crate::base64::Base64Bytes;
use crate::ids::{DeviceId, GrantId, HistoryId, RoomId, Seq};

macro_rules! body {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident : $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
        #[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }
    };
}

/// What a member may do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May do everything, to anyone below.
    Owner,
    /// May keep order among members.
    Moderator,
    /// Everyone else.
    Member,
}

/// Whether a device is a member now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It is.
    Member,
    /// It was, and left.
    Left,
    /// It was, and an admin ended it.
    Removed,
    /// It may not come back.
    Banned,
}

impl Role {
    /// Higher roles act on lower ones.
    #[must_use]
    pub const fn rank(self) -> u8 {
        match self {
            Self::Owner => 2,
            Self::Moderator => 1,
            Self::Member => 0,
        }
    }

    /// Whether it may act on `other`.
    #[must_use]
    pub const fn outranks(self, other: Self) -> bool {
        self.rank() > other.rank()
    }
}

body! {
    /// A nonce for one sign-in.
    pub struct NonceAnswer {
        /// To be signed as text.
        pub nonce: String,
        /// How long it is good.
        pub expires_in_ms: u64,
    }
}
body! {
    /// Which room has this name?
    pub struct LookupRequest {
        /// The room's name, as typed.
        pub name: String,
    }
}
body! {
    /// What a password needs to become keys. Unknown names get an answer too.
    pub struct LookupAnswer {
        /// The room.
        pub room: RoomId,
        /// Its password grant, also the salt.
        pub grant: GrantId,
        /// Which key derivation; 1 is the only one.
        pub kdf: u32,
        /// For the sign-in.
        pub nonce: String,
    }
}
body! {
    /// Proof that the caller holds a device's private key.
    pub struct SignIn {
        /// Ed25519 public key, 32 bytes.
        pub sign_key: Base64Bytes,
        /// X25519 public key, 32 bytes.
        pub agree_key: Base64Bytes,
        /// The server's nonce.
        pub nonce: String,
        /// The origin the client believes it talks to.
        pub origin: String,
        /// Ed25519 signature, 64 bytes (ENCRYPTION.md section 3).
        pub signature: Base64Bytes,
        /// Return the token in the answer instead of a cookie.
        #[serde(default)]
        pub bearer: bool,
    }
}
body! {
    /// The device whose keys derive from the recovery key.
    pub struct RecoveryDevice {
        /// Ed25519 public key, 32 bytes.
        pub sign_key: Base64Bytes,
        /// X25519 public key, 32 bytes.
        pub agree_key: Base64Bytes,
        /// The key of the epoch that begins with it, sealed to it, 80 bytes.
        pub key: Base64Bytes,
    }
}
body! {
    /// A new room.
    pub struct CreateRoom {
        /// Its name.
        pub name: String,
        /// Its id, 16 random bytes.
        pub room: RoomId,
        /// Its password grant's id, 16 random bytes.
        pub grant: GrantId,
        /// The password grant's key derivation.
        pub kdf: u32,
        /// Proves the password at later joins, 32 bytes.
        pub auth: Base64Bytes,
        /// The grant's blob.
        pub blob: Base64Bytes,
        /// The sealed record of epoch 0.
        pub epoch_record: Base64Bytes,
        /// The device of the recovery key.
        pub recovery: RecoveryDevice,
        /// Who creates it.
        pub sign_in: SignIn,
    }
}
body! {
    /// A way into a room.
    pub struct JoinRequest {
        /// The room.
        pub room: RoomId,
        /// Password grant or invite.
        pub grant: GrantId,
        /// Proves the grant, 32 bytes.
        pub auth: Base64Bytes,
        /// Who joins.
        pub sign_in: SignIn,
    }
}
body! {
    /// A new token for a device that is known.
    pub struct TokenRequest {
        /// Whose.
        pub sign_in: SignIn,
    }
}
body! {
    /// A room as one of its members sees it.
    pub struct RoomInfo {
        /// Its id.
        pub room: RoomId,
        /// Its name.
        pub name: String,
        /// Which life of its log.
        pub history: HistoryId,
        /// Its newest seq.
        pub head: Seq,
        /// Its newest epoch.
        pub epoch: u32,
        /// Its newest chain entry.
        pub chain: Seq,
        /// It lets no newcomers in.
        pub locked: bool,
        /// The asking device's role.
        pub role: Role,
    }
}
body! {
    /// One committed entry.
    pub struct Entry {
        /// Its place.
        pub seq: Seq,
        /// When it was committed.
        pub at_ms: u64,
        /// The envelope.
        pub envelope: Base64Bytes,
    }
}
body! {
    /// The device is in.
    pub struct Entered {
        /// The room.
        pub room: RoomInfo,
        /// The device that signed in.
        pub device: DeviceId,
        /// The grant's blob; empty for the creator.
        pub blob: Base64Bytes,
        /// The record of the newest epoch.
        pub epoch_record: Entry,
        /// The access token, if asked for.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[cfg_attr(feature = "typescript", ts(optional))]
        pub token: Option<String>,
        /// When it ends at the latest.
        pub token_expires_at_ms: u64,
    }
}
body! {
    /// The device has a new token.
    pub struct Signed {
        /// The device that signed in.
        pub device: DeviceId,
        /// The access token, if asked for.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[cfg_attr(feature = "typescript", ts(optional))]
        pub token: Option<String>,
        /// When it ends at the latest.
        pub token_expires_at_ms: u64,
    }
}
body! {
    /// The rooms a device is a member of.
    pub struct RoomsAnswer {
        /// In order of name.
        pub rooms: Vec<RoomInfo>,
    }
}
body! {
    /// A device in a room, now or once.
    pub struct Member {
        /// Its id.
        pub device: DeviceId,
        /// Ed25519 public key.
        pub sign_key: Base64Bytes,
        /// X25519 public key.
        pub agree_key: Base64Bytes,
        /// What it may do.
        pub role: Role,
        /// Whether it is a member now.
        pub state: MemberState,
        /// When it became one.
        pub joined_at_ms: u64,
        /// How it introduced itself last.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[cfg_attr(feature = "typescript", ts(optional))]
        pub profile: Option<Entry>,
    }
}
body! {
    /// A page of the members list.
    pub struct MembersAnswer {
        /// In order of device id.
        pub members: Vec<Member>,
        /// There are more after the last one.
        pub more: bool,
    }
}
body! {
    /// A new invite.
    pub struct CreateInvite {
        /// Its id, 16 random bytes.
        pub grant: GrantId,
        /// Proves its secret, 32 bytes.
        pub auth: Base64Bytes,
        /// The grant's blob.
        pub blob: Base64Bytes,
        /// How long it is valid; absent: until revoked.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[cfg_attr(feature = "typescript", ts(optional))]
        pub expires_in_ms: Option<u64>,
        /// How many devices may join by it; absent: any number.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[cfg_attr(feature = "typescript", ts(optional))]
        pub uses_max: Option<u32>,
    }
}
body! {
    /// An invite, without its secret.
    pub struct Invite {
        /// Its id.
        pub grant: GrantId,
        /// Who made it.
        pub made_by: DeviceId,
        /// When.
        pub created_at_ms: u64,
        /// Until when it is valid.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[cfg_attr(feature = "typescript", ts(optional))]
        pub expires_at_ms: Option<u64>,
        /// How many devices joined by it.
        pub uses: u32,
        /// How many may.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[cfg_attr(feature = "typescript", ts(optional))]
        pub uses_max: Option<u32>,
    }
}
body! {
    /// A room's invites.
    pub struct InvitesAnswer {
        /// Newest first.
        pub invites: Vec<Invite>,
    }
}
body! {
    /// The first record of a log page.
    pub struct LogPageHead {
        /// Which life of the log.
        pub history: HistoryId,
        /// The room's newest seq.
        pub head: Seq,
        /// The first seq of the page's range.
        pub from: Seq,
        /// The last seq of the page's range.
        pub to: Seq,
    }
}

/// What the server is to enforce of a step, which it cannot read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Effect {
    /// Nothing, as for a topic.
    None {},
    /// A member gets this role.
    Role {
        /// Who.
        device: DeviceId,
        /// Which.
        role: Role,
    },
    /// A member becomes owner, the author moderator.
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
    /// A member may not write.
    Mute {
        /// Who.
        device: DeviceId,
        /// Until when; 0 lifts it.
        until_ms: u64,
    },
    /// All that a device wrote so far is erased.
    Erase {
        /// Who.
        device: DeviceId,
    },
    /// A banned device may come back.
    Unban {
        /// Who.
        device: DeviceId,
    },
    /// Messages are erased by age.
    Retention {
        /// At this age; 0: never.
        age_ms: u64,
    },
    /// A new password.
    Password {
        /// Its grant's id, 16 random bytes.
        grant: GrantId,
        /// The key derivation.
        kdf: u32,
        /// Proves it at later joins, 32 bytes.
        auth: Base64Bytes,
        /// The grant's blob.
        blob: Base64Bytes,
    },
}
body! {
    /// A step and its effect.
    pub struct StepRequest {
        /// The sealed step.
        pub envelope: Base64Bytes,
        /// What it does.
        pub effect: Effect,
    }
}
body! {
    /// A new epoch, whose sealed keys have been staged.
    pub struct NewEpoch {
        /// The sealed record.
        pub record: Base64Bytes,
        /// Whose membership an admin ends.
        pub remove: Vec<DeviceId>,
        /// They may not come back.
        pub ban: bool,
        /// SHA-256 of the devices that the key is sealed to, sorted and joined, as the record states it; 32 bytes: those that keys are
        /// staged for, and the new recovery device, if there is one. Every other member is put out.
        pub recipients: Base64Bytes,
        /// The time that the record states, Unix milliseconds: mutes that have ended by it are forgotten.
        pub sent_at_ms: u64,
        /// The recovery device from now on, in place of the one before; its key comes here and is not staged. Owners.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[cfg_attr(feature = "typescript", ts(optional))]
        pub recovery: Option<RecoveryDevice>,
        /// The new password's grant, 16 random bytes.
        pub grant: GrantId,
        /// The key derivation.
        pub kdf: u32,
        /// Proves the new password at later joins, 32 bytes.
        pub auth: Base64Bytes,
        /// The grant's blob.
        pub blob: Base64Bytes,
    }
}
body! {
    /// A chain entry is committed.
    pub struct Committed {
        /// Its place.
        pub seq: Seq,
        /// When it was committed.
        pub at_ms: u64,
        /// It had been committed before.
        pub duplicate: bool,
        /// With a new epoch: the invites that are no more.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[cfg_attr(feature = "typescript", ts(optional))]
        pub revoked: Option<Vec<Invite>>,
    }
}
body! {
    /// A room key sealed to one device.
    pub struct SealedKey {
        /// To whom.
        pub device: DeviceId,
        /// 80 bytes.
        pub key: Base64Bytes,
    }
}
body! {
    /// Sealed keys of an epoch to come.
    pub struct StageKeys {
        /// The hash of the record's envelope.
        pub record: Base64Bytes,
        /// At most 200.
        pub keys: Vec<SealedKey>,
    }
}
body! {
    /// Whom an epoch's key was sealed to.
    pub struct EpochKeys {
        /// In order of device id.
        pub recipients: Vec<DeviceId>,
        /// What was sealed to those that were asked for, as far as it was sealed to them.
        pub seals: Vec<SealedKey>,
        /// The caller's own.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[cfg_attr(feature = "typescript", ts(optional))]
        pub key: Option<Base64Bytes>,
    }
}
