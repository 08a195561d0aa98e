//! Bytes sealed to one device by HPKE (RFC 9180, base mode): a room key for a member, the answer to a move.
//!
//! HPKE's base mode says nothing of who sealed. What is opened counts only after a signed record or a compared code has confirmed it.
//!
//! A room key is sealed to a device in one way only: the ephemeral key derives from it. So whoever has the key can see of whoever else's sealed
//! bytes that they are that key's, and nobody can be given others without being found out.

use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{CryptoRng, TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable, single_shot_open, single_shot_seal_with_rng};
use snug_protocol::limits::EPOCH_KEY_BYTES;
use snug_protocol::{DeviceId, RoomId};
use zeroize::Zeroizing;

use super::{Device, PublicKeys, RoomKey};
use crate::error::ClientError;

/// HPKE's encapsulated key, bytes.
const ENC_BYTES: usize = 32;

/// The system's random bytes, as HPKE asks for them.
struct System;

impl TryRng for System {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(u32::from_be_bytes(super::random()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(u64::from_be_bytes(super::random()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        getrandom::fill(bytes).expect("the system gives random bytes; without them nothing here is safe");
        Ok(())
    }
}

impl TryCryptoRng for System {}

/// Keying material for one ephemeral key, as HPKE asks for it: its key generation derives the pair from 32 bytes (RFC 9180 section 7.1.3).
pub(super) struct Material(pub(super) Zeroizing<[u8; 32]>);

impl TryRng for Material {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        unreachable!("HPKE asks for bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        unreachable!("HPKE asks for bytes")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        // Another length would be another derivation; the vectors, which the browser's library checks, would show it as well.
        bytes.copy_from_slice(self.0.as_slice());
        Ok(())
    }
}

impl TryCryptoRng for Material {}

/// `enc ‖ ct`.
///
/// # Errors
/// `device_keys_refused` if nothing can be sealed to the device's keys.
pub(super) fn seal_to(to: &PublicKeys, info: &[u8], plain: &[u8]) -> Result<Vec<u8>, ClientError> {
    seal_with(to, info, plain, &mut System)
}

pub(super) fn seal_with(
    to: &PublicKeys,
    info: &[u8],
    plain: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, ClientError> {
    let key =
        <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&to.agree_key).map_err(|_| ClientError::DeviceKeysRefused)?;
    let aad = to.id();
    let (enc, sealed) = single_shot_seal_with_rng::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &key,
        info,
        plain,
        aad.as_bytes(),
        rng,
    )
    .map_err(|_| ClientError::DeviceKeysRefused)?;
    Ok([enc.to_bytes().as_slice(), &sealed].concat())
}

/// Opens `enc ‖ ct` that was sealed to this device.
///
/// # Errors
/// `unreadable`, whatever is wrong.
pub(super) fn open_with(device: &Device, info: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, ClientError> {
    let unreadable = |_| ClientError::Unreadable;
    let (enc, sealed) = sealed.split_at_checked(ENC_BYTES).ok_or(ClientError::Unreadable)?;
    let secret = device.agree_secret();
    let secret = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(secret.as_slice()).map_err(unreadable)?;
    let enc = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(enc).map_err(unreadable)?;
    let aad = device.id();
    single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &secret,
        &enc,
        info,
        sealed,
        aad.as_bytes(),
    )
    .map(Zeroizing::new)
    .map_err(unreadable)
}

fn info(room: RoomId, epoch: u32) -> Vec<u8> {
    [b"snug/v1/epoch-key".as_slice(), room.as_bytes(), &epoch.to_be_bytes()].concat()
}

/// Seals a room key to a device: 80 bytes, the same each time.
///
/// # Errors
/// `device_keys_refused` if nothing can be sealed to the device's keys: see [`PublicKeys::can_agree`].
pub fn seal_room_key(key: &RoomKey, to: &PublicKeys) -> Result<[u8; EPOCH_KEY_BYTES], ClientError> {
    let mut ephemeral = Material(key.ephemeral_for(to.id()));
    seal_with(to, &info(key.room(), key.epoch()), key.export().as_slice(), &mut ephemeral)
        .and_then(|sealed| sealed.try_into().map_err(|_| ClientError::DeviceKeysRefused))
}

/// Opens the key of an epoch that was sealed to this device. It is good only if that epoch's record opens with it
/// ([`super::open_record`]) and the chain accepts the record.
///
/// # Errors
/// `unreadable`, whatever is wrong.
pub fn open_room_key(device: &Device, room: RoomId, epoch: u32, sealed: &[u8]) -> Result<RoomKey, ClientError> {
    if sealed.len() != EPOCH_KEY_BYTES {
        return Err(ClientError::Unreadable);
    }
    let plain = open_with(device, &info(room, epoch), sealed)?;
    let bytes = <[u8; 32]>::try_from(plain.as_slice()).map_err(|_| ClientError::Unreadable)?;
    Ok(RoomKey::import(room, epoch, Zeroizing::new(bytes)))
}

/// Whose profile an envelope is, if it was sealed under `key`'s epoch and verifies with nothing but itself: proof that the device had
/// that epoch's key (see [`crate::chain::eligible`]).
#[must_use]
pub fn profile_of(key: &RoomKey, envelope: bytes::Bytes) -> Option<DeviceId> {
    let envelope = snug_protocol::Envelope::parse(envelope).ok()?;
    if envelope.header().kind != snug_protocol::EntryKind::Profile {
        return None;
    }
    let unverified = super::decrypt(key, &envelope).ok()?;
    let keys = unverified.own_keys()?;
    Some(unverified.verify(&keys).ok()?.header.device)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: RoomId = RoomId([1; 16]);

    #[test]
    fn a_room_key_opens_for_the_device_room_and_epoch_it_was_sealed_for_only() {
        let (device, other) = (Device::generate(), Device::generate());
        let key = RoomKey::generate(ROOM, 3);
        let sealed = seal_room_key(&key, device.keys()).expect("usual keys");
        let open = |device: &Device, room, epoch, sealed: &[u8]| {
            open_room_key(device, room, epoch, sealed).map(|key| key.export().to_vec()).ok()
        };
        assert_eq!(open(&device, ROOM, 3, &sealed), Some(key.export().to_vec()));
        assert_eq!(open(&other, ROOM, 3, &sealed), None);
        assert_eq!(open(&device, RoomId([2; 16]), 3, &sealed), None);
        assert_eq!(open(&device, ROOM, 4, &sealed), None);
        assert_eq!(open(&device, ROOM, 3, &sealed[..79]), None);
        assert_eq!(open(&device, ROOM, 3, &[]), None);
        for at in [0, 31, 32, 79] {
            let mut changed = sealed;
            changed[at] ^= 1;
            assert_eq!(open(&device, ROOM, 3, &changed), None, "byte {at}");
        }
    }

    #[test]
    fn whoever_has_a_room_key_can_tell_what_of_it_was_sealed_to_another_device() {
        let (device, other) = (Device::generate(), Device::generate());
        let key = RoomKey::generate(ROOM, 3);
        let seal = |key: &RoomKey, to: &Device| seal_room_key(key, to.keys()).expect("usual keys");
        assert_eq!(seal(&key, &device), seal(&key, &device));
        // No ephemeral key serves twice: not for another device, epoch, room or key.
        let enc = |sealed: [u8; EPOCH_KEY_BYTES]| sealed[..ENC_BYTES].to_vec();
        let mut seen = std::collections::BTreeSet::from([enc(seal(&key, &device)), enc(seal(&key, &other))]);
        for again in [
            RoomKey::import(ROOM, 4, key.export()),
            RoomKey::import(RoomId([2; 16]), 3, key.export()),
            RoomKey::generate(ROOM, 3),
        ] {
            seen.insert(enc(seal(&again, &device)));
        }
        assert_eq!(seen.len(), 5);
    }

    #[test]
    fn a_device_with_a_key_of_low_order_is_noticed_before_anything_is_sealed_to_it() {
        let keys = PublicKeys { agree_key: [0; 32], ..*Device::generate().keys() };
        assert!(!keys.can_agree());
        let sealed = seal_room_key(&RoomKey::generate(ROOM, 1), &keys);
        assert_eq!(sealed.map_err(|error| error.code()), Err("device_keys_refused"));
        assert!(Device::generate().keys().can_agree());
    }
}
