//! The one table of error codes. HTTP statuses and `error` frames derive from it.

use serde::{Deserialize, Serialize};

/// What a client may do after an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// The same request fails again.
    Never,
    /// The same request may succeed after `retry_after_ms`, or after a jittered back-off.
    Later,
    /// Renew the token, then repeat.
    SignIn,
    /// Change what the code asks for, then repeat.
    Changed,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal, $status:literal, $retry:ident;)*) => {
        /// A stable name for what went wrong.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum ErrorCode {
            $($(#[doc = $doc])* #[serde(rename = $text)] $name,)*
        }

        impl ErrorCode {
            /// Every code, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The code as it stands on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),* }
            }

            /// Whether repeating can help.
            #[must_use]
            pub const fn retry(self) -> Retry {
                match self { $(Self::$name => Retry::$retry),* }
            }

            /// One sentence for people.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*)),* }
            }
        }
    };
}

codes! {
    /// The request is not well formed.
    BadRequest = "bad_request", 400, Never;
    /// There is no frame of this type.
    UnknownFrame = "unknown_frame", 400, Never;
    /// The first frame of a socket must be hello.
    HelloExpected = "hello_expected", 400, Never;
    /// The frame or body is larger than 64 KiB.
    TooLarge = "too_large", 413, Never;
    /// This version of the protocol or format is not spoken here.
    UnsupportedVersion = "unsupported_version", 400, Never;
    /// There is nothing at this address.
    NotFound = "not_found", 404, Never;
    /// This address does not take that method.
    MethodNotAllowed = "method_not_allowed", 405, Never;
    /// This node does not answer to that host name; see SNUG_PUBLIC_URL.
    HostNotAllowed = "host_not_allowed", 421, Never;
    /// Requests from that origin are not accepted.
    OriginNotAllowed = "origin_not_allowed", 403, Never;
    /// The sign-in nonce is too old or not ours; fetch a new one.
    NonceExpired = "nonce_expired", 401, Changed;
    /// The sign-in signature does not verify.
    BadSignature = "bad_signature", 401, Never;
    /// This needs an access token.
    TokenMissing = "token_missing", 401, SignIn;
    /// The access token is unknown, expired or revoked.
    TokenInvalid = "token_invalid", 401, SignIn;
    /// This device has never joined a room here.
    DeviceUnknown = "device_unknown", 403, Never;
    /// There is no room with that name and password.
    WrongCredentials = "wrong_credentials", 403, Changed;
    /// The invite has expired.
    InviteExpired = "invite_expired", 410, Never;
    /// The invite has been used as often as it may be.
    InviteUsedUp = "invite_used_up", 410, Never;
    /// Too many attempts to join; wait before the next.
    TooManyAttempts = "too_many_attempts", 429, Later;
    /// Too many requests from this address.
    TooManyRequests = "too_many_requests", 429, Later;
    /// Sending too fast.
    TooFast = "too_fast", 429, Later;
    /// The room name is empty, too long or has characters that are not allowed.
    RoomNameInvalid = "room_name_invalid", 400, Changed;
    /// A room with this name, or one that looks like it, exists.
    RoomNameTaken = "room_name_taken", 409, Changed;
    /// The room id or grant id is in use.
    IdTaken = "id_taken", 409, Changed;
    /// There is no such room.
    RoomNotFound = "room_not_found", 404, Never;
    /// The room has been deleted.
    RoomDeleted = "room_deleted", 410, Never;
    /// This device is not a member of the room.
    NotAMember = "not_a_member", 403, Never;
    /// The member's role does not allow this.
    NotAllowed = "not_allowed", 403, Never;
    /// The envelope names another device than the token.
    WrongDevice = "wrong_device", 403, Never;
    /// The bytes are not an envelope.
    BadEnvelope = "bad_envelope", 400, Never;
    /// Entries of this type are not accepted here.
    EntryNotAccepted = "entry_not_accepted", 400, Never;
    /// The envelope is sealed under an epoch that is not the room's.
    StaleEpoch = "stale_epoch", 409, Changed;
    /// The envelope's counter is ahead of the next expected one.
    OutOfOrder = "out_of_order", 409, Changed;
    /// The entry was accepted once and has been erased since.
    Gone = "gone", 410, Never;
    /// The socket follows as many rooms as it may.
    TooManyRooms = "too_many_rooms", 409, Changed;
    /// The room has as many members as it may.
    TooManyMembers = "too_many_members", 409, Never;
    /// The room has as many invites as it may.
    TooManyInvites = "too_many_invites", 409, Changed;
    /// Too many sockets are open.
    TooManySockets = "too_many_sockets", 429, Later;
    /// The socket said or took nothing for too long.
    TimedOut = "timed_out", 408, Later;
    /// The member may not write at present.
    Muted = "muted", 403, Never;
    /// Slow mode: wait before the next message.
    SlowMode = "slow_mode", 429, Later;
    /// The entry it is about does not exist or is not a message.
    TargetInvalid = "target_invalid", 400, Never;
    /// The entry it is about has been erased.
    TargetGone = "target_gone", 410, Never;
    /// Another administrative step came first; look at the room again.
    ChainMoved = "chain_moved", 409, Changed;
    /// The keys that are staged are not those that were meant.
    MembersChanged = "members_changed", 409, Changed;
    /// The room needs an owner: hand it over or delete it.
    LastOwner = "last_owner", 409, Changed;
    /// The room is locked to newcomers.
    RoomLocked = "room_locked", 403, Never;
    /// This device has been removed from the room.
    Removed = "removed", 403, Never;
    /// This device is banned from the room.
    Banned = "banned", 403, Never;
    /// The recovery key has been replaced by another.
    RecoveryReplaced = "recovery_replaced", 403, Never;
    /// The room has as many admins, banned or muted members as it may.
    TooManyEntries = "too_many_entries", 409, Changed;
    /// This device has taken as many steps since the room's key was replaced as it may.
    TooManySteps = "too_many_steps", 409, Changed;
    /// The record states a time that has not come yet; see server_at_ms.
    ClockAhead = "clock_ahead", 409, Changed;
    /// There is no such move, or it has expired.
    MoveNotFound = "move_not_found", 404, Never;
    /// Another device has answered this move.
    MoveTaken = "move_taken", 409, Never;
    /// The server has no space left to store messages.
    StorageFull = "storage_full", 507, Later;
    /// The server cannot do this at the moment.
    Unavailable = "unavailable", 503, Later;
    /// The node is shutting down; another takes over.
    Draining = "draining", 503, Later;
    /// Something went wrong inside the server.
    Internal = "internal", 500, Later;
}

/// An error as it crosses the wire: the body of an HTTP answer, and the heart of an `error` frame.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// What went wrong.
    pub code: ErrorCode,
    /// One sentence for people, in English.
    pub message: String,
    /// Whether repeating can help.
    pub retry: Retry,
    /// How long to wait before repeating.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub retry_after_ms: Option<u64>,
    /// With `out_of_order`: the counter that comes next.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub expected: Option<u64>,
    /// With `stale_epoch`: the room's epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub epoch: Option<u32>,
    /// With `chain_moved`: the newest chain entry.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub chain: Option<u64>,
    /// With `clock_ahead`: the server's time, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub server_at_ms: Option<u64>,
    /// With `room_name_taken`: a name like it that is free.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub free_variant: Option<String>,
}

impl From<ErrorCode> for ErrorBody {
    fn from(code: ErrorCode) -> Self {
        Self {
            code,
            message: code.message().trim().to_owned(),
            retry: code.retry(),
            retry_after_ms: None,
            expected: None,
            epoch: None,
            chain: None,
            server_at_ms: None,
            free_variant: None,
        }
    }
}
