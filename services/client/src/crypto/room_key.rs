//! A room's key of one epoch, bound to its room.

use std::fmt;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use snug_protocol::{DeviceId, InstanceId, RoomId};
use zeroize::Zeroizing;

use super::{Key, hkdf, random};

const PREVIOUS_KEY_LABEL: &[u8] = b"snug/v1/previous-key";
const IV_BYTES: usize = 12;
/// A room key sealed under the next one: IV, key, tag.
pub(super) const PREVIOUS_KEY_BYTES: usize = IV_BYTES + 32 + 16;

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

    /// What the ephemeral key derives from by which this key is sealed to a device: so whoever has this key can tell whether what was sealed
    /// is this key.
    pub(super) fn ephemeral_for(&self, device: DeviceId) -> Key {
        let epoch = self.epoch.to_be_bytes();
        let info: [&[u8]; 4] = [b"snug/v1/epoch-key-eph", self.room.as_bytes(), &epoch, device.as_bytes()];
        hkdf(self.bytes.as_ref(), &[], &info)
    }

    /// The key before, sealed under this one, so that who gets in here can read back. `None` if it is not the key before.
    pub(super) fn seal_previous(&self, previous: &Self, iv: [u8; IV_BYTES]) -> Option<[u8; PREVIOUS_KEY_BYTES]> {
        if previous.room != self.room || previous.epoch.checked_add(1) != Some(self.epoch) {
            return None;
        }
        let payload = Payload { msg: previous.bytes.as_ref(), aad: &self.previous_info() };
        let sealed = self.previous_cipher().encrypt(&Nonce::from(iv), payload).ok()?;
        [iv.as_slice(), &sealed].concat().try_into().ok()
    }

    /// The key before, as a record of this key's epoch has it.
    pub(super) fn open_previous(&self, sealed: &[u8; PREVIOUS_KEY_BYTES]) -> Option<Self> {
        let (iv, sealed) = sealed.split_at(IV_BYTES);
        let iv: [u8; IV_BYTES] = iv.try_into().ok()?;
        let payload = Payload { msg: sealed, aad: &self.previous_info() };
        let plain = self.previous_cipher().decrypt(&Nonce::from(iv), payload).map(Zeroizing::new).ok()?;
        let bytes = Zeroizing::new(<[u8; 32]>::try_from(plain.as_slice()).ok()?);
        Some(Self::import(self.room, self.epoch.checked_sub(1)?, bytes))
    }

    fn previous_info(&self) -> Vec<u8> {
        [PREVIOUS_KEY_LABEL, self.room.as_bytes(), &self.epoch.to_be_bytes()].concat()
    }

    fn previous_cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&(*hkdf(self.bytes.as_ref(), &[], &[&self.previous_info()])).into())
    }

    /// The key that seals the envelopes of one run of one device.
    pub(super) fn envelope_key(&self, device: DeviceId, instance: InstanceId) -> Key {
        let epoch = self.epoch.to_be_bytes();
        let info: [&[u8]; 5] = [b"snug/v1/msg", self.room.as_bytes(), &epoch, device.as_bytes(), instance.as_bytes()];
        hkdf(self.bytes.as_ref(), &[], &info)
    }
}
