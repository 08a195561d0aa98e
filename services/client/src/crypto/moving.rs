//! Moving to another device (ENCRYPTION.md section 8). Private keys never move: the new device has its own, and is let in.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use snug_protocol::limits::{MOVE_ANSWER_BYTES_MAX, MOVE_OFFER_BYTES, ROOMS_PER_DEVICE_MAX};
use snug_protocol::{decode_base64, encode_base64};
use zeroize::{Zeroize, Zeroizing};

use super::json::{self, fixed};
use super::sealed_key::{open_with, seal_to};
use super::{Device, Key, PublicKeys, hkdf, random, sha256};
use crate::error::ClientError;

const MARK: &str = "#move=";
/// HPKE's encapsulated key and tag, bytes.
const OVERHEAD_BYTES: usize = 32 + 16;

/// What the old device shows and the new one reads. Wiped when dropped; [`MoveSecret::to_link`] shows it.
#[derive(Clone)]
pub struct MoveSecret(Key);

impl fmt::Debug for MoveSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MoveSecret(…)")
    }
}

/// A room in the answer to a move.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedRoom {
    /// The 64 bytes of an invite: room id, grant id, secret.
    #[serde(with = "fixed")]
    pub join: [u8; 64],
    /// Keys of epochs that the invite does not open. Each is good only if its record opens with it.
    pub keys: Vec<MovedKey>,
}

/// An epoch's key in the answer to a move.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedKey {
    /// Which epoch.
    pub epoch: u32,
    /// The room key.
    #[serde(with = "fixed")]
    pub key: [u8; 32],
}

/// What the old device hands over. Wiped when dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveAnswer {
    /// The member's name.
    pub name: String,
    /// At most as many as a device may be in.
    pub rooms: Vec<MovedRoom>,
}

impl fmt::Debug for MoveAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MoveAnswer({} rooms)", self.rooms.len())
    }
}

impl Drop for MoveAnswer {
    fn drop(&mut self) {
        for room in &mut self.rooms {
            room.join.zeroize();
            room.keys.iter_mut().for_each(|key| key.key.zeroize());
        }
    }
}

impl MoveSecret {
    /// A fresh one.
    #[must_use]
    pub fn generate() -> Self {
        Self(Key::new(random()))
    }

    /// The secret with these bytes.
    #[must_use]
    pub const fn import(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// `<origin>/#move=<43 characters>`; also what the QR code says.
    #[must_use]
    pub fn to_link(&self, origin: &str) -> Zeroizing<String> {
        Zeroizing::new(format!("{origin}/{MARK}{}", *Zeroizing::new(encode_base64(self.0.as_slice()))))
    }

    /// Reads a link, as pasted or scanned.
    ///
    /// # Errors
    /// `link_invalid`.
    pub fn parse(link: &str) -> Result<Self, ClientError> {
        let (_, fragment) = link.trim().split_once(MARK).ok_or(ClientError::LinkInvalid)?;
        let bytes = decode_base64(fragment).map(Zeroizing::new).ok_or(ClientError::LinkInvalid)?;
        let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| ClientError::LinkInvalid)?;
        Ok(Self(Key::new(bytes)))
    }

    /// The mailbox at the server.
    #[must_use]
    pub fn mailbox(&self) -> [u8; 16] {
        let id = hkdf(self.0.as_slice(), &[], &[b"snug/v1/move-id"]);
        id[..16].try_into().expect("half of 32 bytes")
    }

    /// What the new device puts into the mailbox: its keys, and proof that it knows the secret.
    #[must_use]
    pub fn offer(&self, keys: &PublicKeys) -> [u8; MOVE_OFFER_BYTES] {
        let mac: [u8; 32] = self.mac(keys).finalize().into_bytes().into();
        let mut offer = [0; MOVE_OFFER_BYTES];
        offer[..32].copy_from_slice(&keys.sign_key);
        offer[32..64].copy_from_slice(&keys.agree_key);
        offer[64..].copy_from_slice(&mac);
        offer
    }

    /// The keys in an offer whose proof holds. Answer only after the user has compared [`MoveSecret::code`] on both devices.
    ///
    /// # Errors
    /// `device_keys_refused` if it was not made with this secret.
    pub fn open_offer(&self, offer: &[u8]) -> Result<PublicKeys, ClientError> {
        let refused = ClientError::DeviceKeysRefused;
        let Ok(offer) = <[u8; MOVE_OFFER_BYTES]>::try_from(offer) else { return Err(refused) };
        let half = |at: usize| <[u8; 32]>::try_from(&offer[at..at + 32]).expect("32 of 96 bytes");
        let keys = PublicKeys { sign_key: half(0), agree_key: half(32) };
        let proven = self.mac(&keys).verify_slice(&offer[64..]).is_ok();
        if proven && keys.can_agree() { Ok(keys) } else { Err(refused) }
    }

    /// Six digits that are the same on both devices if both mean the same keys.
    #[must_use]
    pub fn code(&self, keys: &PublicKeys) -> String {
        let hash = sha256(&[b"snug/v1/move-code", self.0.as_slice(), &keys.sign_key, &keys.agree_key]);
        let number = u32::from_be_bytes(hash[..4].try_into().expect("4 of 32 bytes"));
        format!("{:06}", number % 1_000_000)
    }

    /// Seals the answer to the new device.
    ///
    /// # Errors
    /// `answer_invalid` if it is larger than 48 KiB: leave out older keys; `device_keys_refused` if nothing can be sealed to the keys.
    pub fn seal_answer(&self, to: &PublicKeys, answer: &MoveAnswer) -> Result<Vec<u8>, ClientError> {
        let plain = Zeroizing::new(serde_json::to_vec(answer).map_err(|_| ClientError::Answer)?);
        if plain.len() + OVERHEAD_BYTES > MOVE_ANSWER_BYTES_MAX {
            return Err(ClientError::Answer);
        }
        seal_to(to, &self.info(), &plain)
    }

    /// Opens the answer on the new device.
    ///
    /// # Errors
    /// `unreadable`, whatever is wrong.
    pub fn open_answer(&self, device: &Device, sealed: &[u8]) -> Result<MoveAnswer, ClientError> {
        if sealed.len() > MOVE_ANSWER_BYTES_MAX {
            return Err(ClientError::Unreadable);
        }
        let plain = open_with(device, &self.info(), sealed)?;
        json::parse::<MoveAnswer>(&plain)
            .filter(|answer| {
                answer.rooms.len() <= ROOMS_PER_DEVICE_MAX && crate::text::member_name(&answer.name).is_ok()
            })
            .ok_or(ClientError::Unreadable)
    }

    fn mac(&self, keys: &PublicKeys) -> Hmac<Sha256> {
        let key = hkdf(self.0.as_slice(), &[], &[b"snug/v1/move-mac"]);
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_slice()).expect("HMAC takes a key of any length");
        for part in [b"snug/v1/move-offer".as_slice(), &keys.sign_key, &keys.agree_key] {
            mac.update(part);
        }
        mac
    }

    /// Secret, so that whoever does not know the link cannot write an answer, though mailbox and keys are the server's to see.
    pub(super) fn info(&self) -> Vec<u8> {
        [b"snug/v1/move".as_slice(), hkdf(self.0.as_slice(), &[], &[b"snug/v1/move-answer"]).as_slice()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_moves_by_a_link_an_offer_a_code_and_an_answer() {
        let shown = MoveSecret::generate();
        let read = MoveSecret::parse(&shown.to_link("https://chat.example")).expect("a link");
        assert_eq!(read.mailbox(), shown.mailbox());
        let new = Device::generate();
        let keys = shown.open_offer(&read.offer(new.keys())).expect("made with the secret");
        assert_eq!((keys, shown.code(&keys)), (*new.keys(), read.code(new.keys())));
        let answer = MoveAnswer {
            name: "Ana".into(),
            rooms: vec![MovedRoom { join: [7; 64], keys: vec![MovedKey { epoch: 0, key: [8; 32] }] }],
        };
        let sealed = shown.seal_answer(&keys, &answer).expect("it is short");
        assert_eq!(read.open_answer(&new, &sealed).expect("sealed to it"), answer);
        assert!(read.open_answer(&Device::generate(), &sealed).is_err());
        assert!(MoveSecret::generate().open_answer(&new, &sealed).is_err());
    }

    #[test]
    fn an_offer_by_somebody_without_the_secret_is_refused() {
        let secret = MoveSecret::generate();
        let offer = secret.offer(Device::generate().keys());
        for at in [0, 40, 95] {
            let mut changed = offer;
            changed[at] ^= 1;
            assert!(secret.open_offer(&changed).is_err(), "byte {at}");
        }
        assert!(MoveSecret::generate().open_offer(&offer).is_err());
        assert!(secret.open_offer(&offer[1..]).is_err());
        assert!(MoveSecret::parse("https://chat.example/#move=short").is_err());
    }
}
