//! Grants: the room key sealed for who knows the password or holds the link (ENCRYPTION.md section 2).

use std::fmt;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use argon2::{Algorithm, Argon2, Params, Version};
use snug_protocol::limits::GRANT_BLOB_BYTES;
use snug_protocol::{EnvelopeHash, GrantId, RoomId};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{Key, RoomKey, hkdf, random, sha256};
use crate::error::ClientError;
use crate::text;

/// The one key derivation this client knows; a server that asks for another is refused.
pub const KDF: u32 = 1;
const MEMORY_KIB: u32 = 65_536;
const PASSES: u32 = 3;
const LANES: u32 = 1;
const BLOB_VERSION: u8 = 1;
const IV_BYTES: usize = 12;
const SEALED_AT: usize = 1 + 32 + IV_BYTES;

/// What a grant's keys derive from. Wiped when dropped.
#[derive(Clone)]
pub struct Secret(Key);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// Hashes a password for one grant: Argon2id with 64 MiB and three passes, a few tenths of a second. Run it off async threads.
    ///
    /// # Errors
    /// `password_empty`, `password_too_long`.
    pub fn of_password(password: &str, room: RoomId, grant: GrantId) -> Result<Self, ClientError> {
        let password = text::password(password)?;
        let salt = sha256(&[b"snug/v1/salt", room.as_bytes(), grant.as_bytes()]);
        let params =
            Params::new(MEMORY_KIB, PASSES, LANES, Some(32)).expect("the parameters are within Argon2's limits");
        let mut ikm = Key::default();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(password.as_bytes(), &salt, ikm.as_mut())
            .expect("password, salt and output are within Argon2's limits");
        Ok(Self(ikm))
    }

    /// An invite's secret.
    #[must_use]
    pub const fn of_invite(secret: Zeroizing<[u8; 32]>) -> Self {
        Self(secret)
    }

    /// A fresh secret for a new invite.
    #[must_use]
    pub fn generate() -> Self {
        Self(Key::new(random()))
    }

    /// The bytes themselves.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What a grant opens to. `Debug` hides the key.
#[derive(Clone, Debug)]
pub struct GrantContent {
    /// The newest room key.
    pub room_key: RoomKey,
    /// The hash of that epoch's record.
    pub record_hash: EnvelopeHash,
}

/// The keys of one grant, derived from its [`Secret`]. Wiped when dropped.
pub struct GrantKeys {
    room: RoomId,
    grant: GrantId,
    pub(super) auth: Key,
    pub(super) kek: Key,
    pub(super) commit: Key,
}

impl fmt::Debug for GrantKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrantKeys({}, {})", self.room, self.grant)
    }
}

impl GrantKeys {
    /// Derives them.
    #[must_use]
    pub fn derive(secret: &Secret, room: RoomId, grant: GrantId) -> Self {
        let salt = sha256(&[b"snug/v1/link", &[0; 32]]);
        let key = |label: &[u8]| hkdf(secret.bytes(), &salt, &[label, room.as_bytes(), grant.as_bytes()]);
        Self { room, grant, auth: key(b"snug/v1/auth"), kek: key(b"snug/v1/kek"), commit: key(b"snug/v1/commit") }
    }

    /// What proves the grant to the server.
    #[must_use]
    pub fn auth(&self) -> [u8; 32] {
        *self.auth
    }

    /// The grant's blob under a fresh IV, 129 bytes.
    #[must_use]
    pub fn seal(&self, content: &GrantContent) -> Vec<u8> {
        self.seal_under(content, random())
    }

    /// Seals under a given IV, which must never have been used with this grant; public only to the vectors.
    pub(super) fn seal_under(&self, content: &GrantContent, iv: [u8; IV_BYTES]) -> Vec<u8> {
        let mut plain = Zeroizing::new(Vec::with_capacity(68));
        plain.extend_from_slice(&content.room_key.epoch().to_be_bytes());
        plain.extend_from_slice(content.room_key.export().as_ref());
        plain.extend_from_slice(&content.record_hash.0);
        let aad = self.aad();
        let sealed = self
            .cipher()
            .encrypt(&Nonce::from(iv), Payload { msg: &plain, aad: &aad })
            .expect("68 bytes are fewer than GCM can seal");
        [&[BLOB_VERSION], self.commit.as_slice(), &iv, &sealed].concat()
    }

    /// Opens the grant's blob. The commitment is compared, in constant time, before anything is decrypted.
    ///
    /// # Errors
    /// `grant_refused`, whatever was wrong.
    pub fn open(&self, blob: &[u8]) -> Result<GrantContent, ClientError> {
        if blob.len() != GRANT_BLOB_BYTES || blob[0] != BLOB_VERSION {
            return Err(ClientError::GrantRefused);
        }
        if !bool::from(blob[1..33].ct_eq(self.commit.as_slice())) {
            return Err(ClientError::GrantRefused);
        }
        let iv: [u8; IV_BYTES] = blob[33..SEALED_AT].try_into().expect("the length was checked");
        let aad = self.aad();
        let plain = self
            .cipher()
            .decrypt(&Nonce::from(iv), Payload { msg: &blob[SEALED_AT..], aad: &aad })
            .map(Zeroizing::new)
            .map_err(|_| ClientError::GrantRefused)?;
        let epoch = u32::from_be_bytes(plain[..4].try_into().expect("68 bytes"));
        let bytes = Zeroizing::new(<[u8; 32]>::try_from(&plain[4..36]).expect("68 bytes"));
        let record_hash = EnvelopeHash(plain[36..].try_into().expect("68 bytes"));
        Ok(GrantContent { room_key: RoomKey::import(self.room, epoch, bytes), record_hash })
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&(*self.kek).into())
    }

    fn aad(&self) -> Vec<u8> {
        [b"snug/v1/grant".as_slice(), self.room.as_bytes(), self.grant.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: RoomId = RoomId([1; 16]);
    const GRANT: GrantId = GrantId([2; 16]);

    #[test]
    fn a_grant_opens_only_as_it_was_sealed() {
        let secret = Secret::generate();
        let keys = GrantKeys::derive(&secret, ROOM, GRANT);
        let content = GrantContent { room_key: RoomKey::generate(ROOM, 7), record_hash: EnvelopeHash([9; 32]) };
        let blob = keys.seal(&content);
        assert_eq!(blob.len(), GRANT_BLOB_BYTES);
        let opened = keys.open(&blob).expect("it is the grant's own");
        assert_eq!(opened.room_key.export(), content.room_key.export());
        assert_eq!((opened.room_key.epoch(), opened.record_hash), (7, content.record_hash));

        let code = |keys: &GrantKeys, blob: &[u8]| keys.open(blob).map(|_| ()).map_err(|error| error.code());
        for at in [0, 1, 40, 60, GRANT_BLOB_BYTES - 1] {
            let mut other = blob.clone();
            other[at] ^= 1;
            assert_eq!(code(&keys, &other), Err("grant_refused"), "byte {at}");
        }
        assert_eq!(code(&GrantKeys::derive(&Secret::generate(), ROOM, GRANT), &blob), Err("grant_refused"));
        assert_eq!(code(&GrantKeys::derive(&secret, ROOM, GrantId([3; 16])), &blob), Err("grant_refused"));
        assert_eq!(code(&GrantKeys::derive(&secret, RoomId([3; 16]), GRANT), &blob), Err("grant_refused"));
        assert_eq!(code(&keys, &blob[1..]), Err("grant_refused"));
    }
}
