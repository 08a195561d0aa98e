//! A device: one client profile's two key pairs, and the id that is a hash of their public halves.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use snug_protocol::http::SignIn;
use snug_protocol::{Base64Bytes, DeviceId, GrantId, RoomId};
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

use super::json::fixed;
use super::{Key, random, sha256};
use crate::error::ClientError;

/// The public half of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PublicKeys {
    /// Ed25519.
    #[serde(with = "fixed")]
    pub sign_key: [u8; 32],
    /// X25519.
    #[serde(with = "fixed")]
    pub agree_key: [u8; 32],
}

impl PublicKeys {
    /// The keys in base64 fields of the protocol.
    ///
    /// # Errors
    /// `device_keys_refused` if either is not 32 bytes.
    pub fn parse(sign_key: &Base64Bytes, agree_key: &Base64Bytes) -> Result<Self, ClientError> {
        match (sign_key.array(), agree_key.array()) {
            (Some(sign_key), Some(agree_key)) => Ok(Self { sign_key, agree_key }),
            _ => Err(ClientError::DeviceKeysRefused),
        }
    }

    /// The id that these keys hash to.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        let hash = sha256(&[b"snug/v1/device", &self.sign_key, &self.agree_key]);
        DeviceId(hash[..16].try_into().expect("half of 32 bytes"))
    }

    /// Whether a key can be sealed to this device: its `agree_key` is not a point of low order, with which every agreement is zero.
    /// Such a device is passed over when a room's key is replaced; otherwise it could keep the room from removing anybody.
    #[must_use]
    pub fn can_agree(&self) -> bool {
        // Any secret tells: they are all multiples of eight.
        StaticSecret::from([1; 32]).diffie_hellman(&self.agree_key.into()).was_contributory()
    }

    /// Whether `signature` over `bytes` was made by this device. Weak keys and malleable signatures do not count.
    #[must_use]
    pub fn verify(&self, bytes: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.sign_key)
            .is_ok_and(|key| key.verify_strict(bytes, &Signature::from_bytes(signature)).is_ok())
    }
}

/// The private halves, to be kept where only this client can read them. Wiped when dropped.
#[derive(Clone)]
pub struct DeviceSecrets {
    /// Ed25519 seed.
    pub sign_seed: Zeroizing<[u8; 32]>,
    /// X25519 secret.
    pub agree_secret: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for DeviceSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceSecrets(…)")
    }
}

/// A device that can sign. Its private keys are wiped when it is dropped.
pub struct Device {
    sign: SigningKey,
    agree: StaticSecret,
    keys: PublicKeys,
    id: DeviceId,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.id)
    }
}

impl Device {
    /// A new device with fresh keys.
    #[must_use]
    pub fn generate() -> Self {
        Self::import(&DeviceSecrets { sign_seed: Key::new(random()), agree_secret: Key::new(random()) })
    }

    /// The device with these private keys.
    #[must_use]
    pub fn import(secrets: &DeviceSecrets) -> Self {
        let sign = SigningKey::from_bytes(&secrets.sign_seed);
        let agree = StaticSecret::from(*secrets.agree_secret);
        let keys = PublicKeys {
            sign_key: sign.verifying_key().to_bytes(),
            agree_key: x25519_dalek::PublicKey::from(&agree).to_bytes(),
        };
        Self { sign, agree, keys, id: keys.id() }
    }

    /// The private keys, for keeping. Whoever has them is this device.
    #[must_use]
    pub fn export(&self) -> DeviceSecrets {
        DeviceSecrets {
            sign_seed: Zeroizing::new(self.sign.to_bytes()),
            agree_secret: Zeroizing::new(self.agree.to_bytes()),
        }
    }

    /// The device's id.
    #[must_use]
    pub const fn id(&self) -> DeviceId {
        self.id
    }

    /// The public keys.
    #[must_use]
    pub const fn keys(&self) -> &PublicKeys {
        &self.keys
    }

    /// The X25519 secret, for opening what was sealed to this device.
    pub(super) fn agree_secret(&self) -> Key {
        Zeroizing::new(self.agree.to_bytes())
    }

    /// The Ed25519 signature over `bytes`.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.sign.sign(bytes).to_bytes()
    }
}

fn sign_in_bytes(room: RoomId, grant: GrantId, nonce: &str, origin: &str) -> Result<Vec<u8>, ClientError> {
    let length = u16::try_from(nonce.len()).map_err(|_| ClientError::Answer)?;
    Ok([
        b"snug/v1/sign-in".as_slice(),
        room.as_bytes(),
        grant.as_bytes(),
        &length.to_be_bytes(),
        nonce.as_bytes(),
        origin.as_bytes(),
    ]
    .concat())
}

/// The signed proof for a token (ENCRYPTION.md section 3), asking for a bearer token. Room and grant are zero to renew one.
///
/// # Errors
/// `answer_invalid` if the server's nonce is longer than 65,535 bytes.
pub fn sign_in(
    device: &Device,
    room: RoomId,
    grant: GrantId,
    nonce: &str,
    origin: &str,
) -> Result<SignIn, ClientError> {
    let signature = device.sign(&sign_in_bytes(room, grant, nonce, origin)?);
    Ok(SignIn {
        sign_key: device.keys().sign_key.into(),
        agree_key: device.keys().agree_key.into(),
        nonce: nonce.to_owned(),
        origin: origin.to_owned(),
        signature: signature.into(),
        bearer: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exported_device_is_the_same_device() {
        let device = Device::generate();
        let again = Device::import(&device.export());
        assert_eq!(again.id(), device.id());
        assert!(device.keys().verify(b"text", &again.sign(b"text")));
        assert!(!device.keys().verify(b"other text", &again.sign(b"text")));
        assert!(
            !format!("{device:?}{:?}", device.export())
                .contains(&format!("{:?}", device.export().sign_seed[..4].to_vec()))
        );
    }
}
