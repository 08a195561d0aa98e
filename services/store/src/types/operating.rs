//! What an operator is shown: sizes and times, nothing that members sealed or typed.

use snug_protocol::{DeviceId, RoomId, Seq};

/// A room, without its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoomSummary {
    /// The room.
    pub room: RoomId,
    /// Its newest entry. A log has no holes, so this is also how many entries it has, erased ones included.
    pub head: Seq,
    /// Devices that are members now.
    pub members: u64,
    /// When it was made, Unix milliseconds.
    pub created_at_ms: u64,
    /// When its newest entry came, Unix milliseconds.
    pub active_at_ms: u64,
}

/// An access token, by its hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignIn {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// Whose it is.
    pub device: DeviceId,
    /// It has been used at this time or at most an hour later, Unix milliseconds.
    pub used_at_ms: u64,
    /// When it ends if it is not used again, Unix milliseconds.
    pub expires_at_ms: u64,
    /// When it ends in any case, Unix milliseconds.
    pub ends_at_ms: u64,
}
