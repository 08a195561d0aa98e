//! Moving to another device (ENCRYPTION.md section 8). Private keys never move: the new device has its own, and is let in.
//!
//! In the mailbox, in this order: the new device's offer, which commits to its keys; the old device's nonce; what was committed to; and,
//! once the user has compared the code, the old device's answer.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use snug_protocol::limits::{
    MOVE_ANSWER_BYTES_MAX, MOVE_NONCE_BYTES, MOVE_OFFER_BYTES, MOVE_REVEAL_BYTES, ROOMS_PER_DEVICE_MAX,
};
use snug_protocol::{decode_base64, encode_base64};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::json::{self, fixed};
use super::sealed_key::{open_with, seal_to};
use super::{Device, Key, PublicKeys, hkdf, random, sha256};
use crate::error::ClientError;

const MARK: &str = "#move=";
const OFFER: &[u8] = b"snug/v1/move-offer";
const NONCE: &[u8] = b"snug/v1/move-nonce";
const REVEAL: &[u8] = b"snug/v1/move-reveal";
/// Both public keys and the nonce, bytes.
const REVEALED_BYTES: usize = MOVE_REVEAL_BYTES - 32;
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

/// What the new device is, and what its offer commits to. The nonce keeps that from being guessed before it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MoveReveal {
    /// Its public keys.
    pub keys: PublicKeys,
    /// 32 random bytes, for one move.
    pub nonce: [u8; 32],
}

/// What an offer commits to, without telling it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MoveCommitment([u8; 32]);

impl MoveReveal {
    /// A device with a fresh nonce.
    #[must_use]
    pub fn new(keys: PublicKeys) -> Self {
        Self { keys, nonce: random() }
    }

    /// What its offer commits to.
    #[must_use]
    pub fn commitment(&self) -> MoveCommitment {
        MoveCommitment(sha256(&[b"snug/v1/move-commit", &self.to_bytes()]))
    }

    fn to_bytes(self) -> [u8; REVEALED_BYTES] {
        let mut bytes = [0; REVEALED_BYTES];
        bytes[..32].copy_from_slice(&self.keys.sign_key);
        bytes[32..64].copy_from_slice(&self.keys.agree_key);
        bytes[64..].copy_from_slice(&self.nonce);
        bytes
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

    /// What the new device puts into the mailbox first: it commits to its keys and its nonce, and tells neither.
    #[must_use]
    pub fn offer(&self, own: &MoveReveal) -> [u8; MOVE_OFFER_BYTES] {
        self.prove(&[OFFER], &own.commitment().0)
    }

    /// What an offer commits to. Answer it with a fresh nonce of 32 random bytes: [`MoveSecret::nonce`].
    ///
    /// # Errors
    /// `device_keys_refused` if it was not made with this secret.
    pub fn open_offer(&self, offer: &[u8]) -> Result<MoveCommitment, ClientError> {
        self.proven(&[OFFER], offer).map(MoveCommitment)
    }

    /// What the old device puts into the mailbox once it has an offer.
    #[must_use]
    pub fn nonce(&self, offered: &MoveCommitment, nonce: &[u8; 32]) -> [u8; MOVE_NONCE_BYTES] {
        self.prove(&[NONCE, &offered.0], nonce)
    }

    /// The old device's nonce. Only who has it tells its keys: [`MoveSecret::reveal`].
    ///
    /// # Errors
    /// `device_keys_refused` if it was not made with this secret, for this offer.
    pub fn open_nonce(&self, offered: &MoveCommitment, part: &[u8]) -> Result<[u8; 32], ClientError> {
        self.proven(&[NONCE, &offered.0], part)
    }

    /// What the new device puts into the mailbox once it has the old one's nonce: what it has committed to.
    #[must_use]
    pub fn reveal(&self, own: &MoveReveal, nonce: &[u8; 32]) -> [u8; MOVE_REVEAL_BYTES] {
        self.prove(&[REVEAL, &own.commitment().0, nonce], &own.to_bytes())
    }

    /// What the new device is. Answer only after the user has compared [`MoveSecret::code`] on both devices.
    ///
    /// # Errors
    /// `device_keys_refused` if it is not what was committed to, not made with this secret, or nothing can be sealed to it.
    pub fn open_reveal(
        &self,
        offered: &MoveCommitment,
        nonce: &[u8; 32],
        part: &[u8],
    ) -> Result<MoveReveal, ClientError> {
        let said: [u8; REVEALED_BYTES] = self.proven(&[REVEAL, &offered.0, nonce], part)?;
        let third = |at: usize| <[u8; 32]>::try_from(&said[at..at + 32]).expect("32 of 96 bytes");
        let keys = PublicKeys { sign_key: third(0), agree_key: third(32) };
        let revealed = MoveReveal { keys, nonce: third(64) };
        let committed = bool::from(revealed.commitment().0.ct_eq(&offered.0));
        if committed && keys.can_agree() { Ok(revealed) } else { Err(ClientError::DeviceKeysRefused) }
    }

    /// Six digits that are the same on both devices if both mean the same keys: who has the link and stands between them had to choose
    /// its keys before it knew either nonce, and so makes them agree by chance alone, once in a million.
    #[must_use]
    pub fn code(&self, revealed: &MoveReveal, nonce: &[u8; 32]) -> String {
        let MoveReveal { keys, nonce: own } = revealed;
        let hash = sha256(&[b"snug/v1/move-code", self.0.as_slice(), nonce, &keys.sign_key, &keys.agree_key, own]);
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

    /// `said`, and after it the proof that who has the link says it in this context.
    fn prove<const SAID: usize, const ALL: usize>(&self, context: &[&[u8]], said: &[u8; SAID]) -> [u8; ALL] {
        const { assert!(ALL == SAID + 32, "a proof has 32 bytes") };
        let mut part = [0; ALL];
        part[..SAID].copy_from_slice(said);
        part[SAID..].copy_from_slice(&self.mac(context, said).finalize().into_bytes());
        part
    }

    /// What was proven so.
    fn proven<const SAID: usize>(&self, context: &[&[u8]], part: &[u8]) -> Result<[u8; SAID], ClientError> {
        let (said, proof) = part.split_first_chunk::<SAID>().ok_or(ClientError::DeviceKeysRefused)?;
        self.mac(context, said).verify_slice(proof).map_err(|_| ClientError::DeviceKeysRefused)?;
        Ok(*said)
    }

    fn mac(&self, context: &[&[u8]], said: &[u8]) -> Hmac<Sha256> {
        let key = hkdf(self.0.as_slice(), &[], &[b"snug/v1/move-mac"]);
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_slice()).expect("HMAC takes a key of any length");
        context.iter().chain([&said]).for_each(|part| mac.update(part));
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
        let (new, nonce) = (Device::generate(), random());
        let own = MoveReveal::new(*new.keys());
        let offered = shown.open_offer(&read.offer(&own)).expect("made with the secret");
        let told = read.open_nonce(&own.commitment(), &shown.nonce(&offered, &nonce)).expect("made with the secret");
        let revealed = shown.open_reveal(&offered, &nonce, &read.reveal(&own, &told)).expect("as it was committed to");
        assert_eq!((revealed.keys, shown.code(&revealed, &nonce)), (*new.keys(), read.code(&own, &told)));
        let answer = MoveAnswer {
            name: "Ana".into(),
            rooms: vec![MovedRoom { join: [7; 64], keys: vec![MovedKey { epoch: 0, key: [8; 32] }] }],
        };
        let sealed = shown.seal_answer(&revealed.keys, &answer).expect("it is short");
        assert_eq!(read.open_answer(&new, &sealed).expect("sealed to it"), answer);
        assert!(read.open_answer(&Device::generate(), &sealed).is_err());
        assert!(MoveSecret::generate().open_answer(&new, &sealed).is_err());
    }

    #[test]
    fn what_somebody_without_the_secret_puts_into_the_mailbox_is_refused() {
        let (secret, other, nonce) = (MoveSecret::generate(), MoveSecret::generate(), random());
        let own = MoveReveal::new(*Device::generate().keys());
        let offered = own.commitment();
        let (offer, told, reveal) = (secret.offer(&own), secret.nonce(&offered, &nonce), secret.reveal(&own, &nonce));
        for at in [0, 31, 32, 63] {
            let bent =
                |part: &[u8]| part.iter().enumerate().map(|(n, byte)| byte ^ u8::from(n == at)).collect::<Vec<_>>();
            assert!(secret.open_offer(&bent(&offer)).is_err(), "byte {at}");
            assert!(secret.open_nonce(&offered, &bent(&told)).is_err(), "byte {at}");
            assert!(secret.open_reveal(&offered, &nonce, &bent(&reveal)).is_err(), "byte {at}");
        }
        assert!(secret.open_reveal(&offered, &nonce, &reveal).is_ok());
        assert!(other.open_offer(&offer).is_err() && secret.open_offer(&offer[1..]).is_err());
        assert!(other.open_nonce(&offered, &told).is_err() && secret.open_nonce(&offered, &told[1..]).is_err());
        assert!(
            other.open_reveal(&offered, &nonce, &reveal).is_err() && secret.open_reveal(&offered, &nonce, &[]).is_err()
        );
        assert!(MoveSecret::parse("https://chat.example/#move=short").is_err());
    }

    #[test]
    fn who_has_the_link_is_held_to_what_it_committed_to_before_it_knew_the_nonce() {
        let (secret, nonce) = (MoveSecret::generate(), random());
        let own = MoveReveal::new(*Device::generate().keys());
        let offered = secret.open_offer(&secret.offer(&own)).expect("made with the secret");
        // Its proofs are right, since it has the secret; but these are other keys, or another nonce, than those committed to.
        let keys = MoveReveal { keys: *Device::generate().keys(), ..own };
        let with_proof_for = |wrong: &MoveReveal| {
            let context: [&[u8]; 3] = [REVEAL, &offered.0, &nonce];
            secret.prove::<REVEALED_BYTES, MOVE_REVEAL_BYTES>(&context, &wrong.to_bytes())
        };
        for wrong in [keys, MoveReveal { nonce: [1; 32], ..own }] {
            assert!(secret.open_reveal(&offered, &nonce, &with_proof_for(&wrong)).is_err());
        }
        assert_eq!(secret.open_reveal(&offered, &nonce, &with_proof_for(&own)).map_err(|error| error.code()), Ok(own));
        // A reveal answers one nonce, and a nonce one offer.
        assert!(secret.open_reveal(&offered, &random(), &secret.reveal(&own, &nonce)).is_err());
        assert!(secret.open_nonce(&keys.commitment(), &secret.nonce(&offered, &nonce)).is_err());
    }

    #[test]
    fn nothing_can_be_sealed_to_a_device_with_a_key_of_low_order() {
        let (secret, nonce) = (MoveSecret::generate(), random());
        let own = MoveReveal::new(PublicKeys { sign_key: [7; 32], agree_key: [0; 32] });
        assert!(secret.open_reveal(&own.commitment(), &nonce, &secret.reveal(&own, &nonce)).is_err());
    }
}
