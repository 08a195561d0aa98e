//! A room's key of one epoch, bound to its room.

use std::fmt;

use snug_protocol::{DeviceId, InstanceId, RoomId};
use zeroize::Zeroizing;

use super::{Key, hkdf, random};

/// 32 bytes that open one epoch of one room. Wiped when dropped.
#[derive(Clone)]
pub struct RoomKey {
    room: RoomId,
    epoch: u32,
    bytes: Key,
}

impl fmt::Debug for RoomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomKey({}, epoch {})", self.room, self.epoch)
    }
}

impl RoomKey {
    /// A fresh key.
    #[must_use]
    pub fn generate(room: RoomId, epoch: u32) -> Self {
        Self::import(room, epoch, Zeroizing::new(random()))
    }

    /// The key with these bytes.
    #[must_use]
    pub const fn import(room: RoomId, epoch: u32, bytes: Zeroizing<[u8; 32]>) -> Self {
        Self { room, epoch, bytes }
    }

    /// The bytes, for keeping. Whoever has them can read the room.
    #[must_use]
    pub fn export(&self) -> Zeroizing<[u8; 32]> {
        self.bytes.clone()
    }

    /// The room it opens.
    #[must_use]
    pub const fn room(&self) -> RoomId {
        self.room
    }

    /// The epoch it opens.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// What an epoch record says of its key without giving it away.
    #[must_use]
    pub fn commitment(&self) -> [u8; 32] {
        let info: [&[u8]; 3] = [b"snug/v1/room-key", self.room.as_bytes(), &self.epoch.to_be_bytes()];
        *hkdf(self.bytes.as_ref(), &[], &info)
    }

    /// The key that seals the envelopes of one run of one device.
    pub(super) fn envelope_key(&self, device: DeviceId, instance: InstanceId) -> Key {
        let epoch = self.epoch.to_be_bytes();
        let info: [&[u8]; 5] = [b"snug/v1/msg", self.room.as_bytes(), &epoch, device.as_bytes(), instance.as_bytes()];
        hkdf(self.bytes.as_ref(), &[], &info)
    }
}
