//! Sign-in: proof that the caller holds a device's private key (ENCRYPTION.md section 3).

use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};
use snug_protocol::http::SignIn;
use snug_protocol::{DeviceId, ErrorCode, GrantId, RoomId};
use snug_store::DeviceKeys;

use super::Nonces;
use crate::config::Identity;

/// What the signature is good for.
#[derive(Clone, Copy, Debug)]
pub enum SignInScope {
    /// Entering a room by a grant.
    Enter(RoomId, GrantId),
    /// A new token.
    Renew,
}

/// A device that has proved itself; only [`verify_sign_in`] makes one.
#[derive(Debug)]
pub struct SignedIn {
    keys: DeviceKeys,
}

impl SignedIn {
    /// Its keys.
    #[must_use]
    pub const fn keys(&self) -> &DeviceKeys {
        &self.keys
    }

    /// Its id.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        self.keys.device
    }
}

/// Why a sign-in is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// Keys or signature have the wrong length, or nothing can be sealed to the keys.
    #[error("the sign-in is malformed")]
    Malformed,
    /// Signed for a page of another origin.
    #[error("the sign-in is for another origin")]
    Origin,
    /// Too old, or not ours.
    #[error("the nonce has expired")]
    Nonce,
    /// Not by that key.
    #[error("the signature does not verify")]
    Signature,
}

impl SignInError {
    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Malformed => ErrorCode::BadRequest,
            Self::Origin => ErrorCode::OriginNotAllowed,
            Self::Nonce => ErrorCode::NonceExpired,
            Self::Signature => ErrorCode::BadSignature,
        }
    }
}

/// The u-coordinates of low order, little-endian: 0, 1, the two of order 8, and p - 1, p, p + 1, with p = 2^255 - 19 (RFC 7748 section 6.1). Every agreement
/// with one of them is zero, so that nothing can be sealed to it.
const LOW_ORDER: [[u8; 32]; 7] = {
    const fn near_p(last: u8) -> [u8; 32] {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (last, 0x7f);
        bytes
    }
    let (zero, mut one) = ([0; 32], [0; 32]);
    one[0] = 1;
    let order_8 = *b"\xe0\xeb\x7a\x7c\x3b\x41\xb8\xae\x16\x56\xe3\xfa\xf1\x9f\xc4\x6a\xda\x09\x8d\xeb\x9c\x32\xb1\xfd\x86\x62\x05\x16\x5f\x49\xb8\x00";
    let other_8 = *b"\x5f\x9c\x95\xbc\xa3\x50\x8c\x24\xb1\xd0\xb1\x55\x9c\x83\xef\x5b\x04\x44\x5c\xc4\x58\x1c\x8e\x86\xd8\x22\x4e\xdd\xd0\x9f\x11\x57";
    [zero, one, order_8, other_8, near_p(0xec), near_p(0xed), near_p(0xee)]
};

/// A device's keys with the id that is their hash (ENCRYPTION.md section 1). `None` for an `agree_key` of low order: honest admins may not
/// seal to such a device, and a room that must have it sealed to could never replace its key.
#[must_use]
pub fn device_keys(sign_key: [u8; 32], agree_key: [u8; 32]) -> Option<DeviceKeys> {
    let mut point = agree_key;
    // The highest bit does not count.
    point[31] &= 0x7f;
    if LOW_ORDER.contains(&point) {
        return None;
    }
    let mut hash = Sha256::new();
    hash.update(b"snug/v1/device");
    hash.update(sign_key);
    hash.update(agree_key);
    let device = DeviceId(hash.finalize()[..16].try_into().expect("a hash has 32 bytes"));
    Some(DeviceKeys { device, sign_key, agree_key })
}

/// Checks nonce, origin and signature.
///
/// # Errors
/// Which of them is wrong.
pub fn verify_sign_in(
    sign_in: &SignIn,
    scope: SignInScope,
    nonces: &Nonces,
    identity: &Identity,
    now_ms: u64,
) -> Result<SignedIn, SignInError> {
    let sign_key: [u8; 32] = sign_in.sign_key.array().ok_or(SignInError::Malformed)?;
    let agree_key: [u8; 32] = sign_in.agree_key.array().ok_or(SignInError::Malformed)?;
    let signature: [u8; 64] = sign_in.signature.array().ok_or(SignInError::Malformed)?;
    let keys = device_keys(sign_key, agree_key).ok_or(SignInError::Malformed)?;
    if !identity.origins.contains(&sign_in.origin) {
        return Err(SignInError::Origin);
    }
    if !nonces.is_good(&sign_in.nonce, now_ms) {
        return Err(SignInError::Nonce);
    }
    let (room, grant) = match scope {
        SignInScope::Enter(room, grant) => (room, grant),
        SignInScope::Renew => (RoomId::default(), GrantId::default()),
    };
    let nonce_bytes = u16::try_from(sign_in.nonce.len()).map_err(|_| SignInError::Malformed)?;
    let mut message = Vec::with_capacity(160);
    message.extend_from_slice(b"snug/v1/sign-in");
    message.extend_from_slice(room.as_bytes());
    message.extend_from_slice(grant.as_bytes());
    message.extend_from_slice(&nonce_bytes.to_be_bytes());
    message.extend_from_slice(sign_in.nonce.as_bytes());
    message.extend_from_slice(sign_in.origin.as_bytes());
    let key = VerifyingKey::from_bytes(&sign_key).map_err(|_| SignInError::Signature)?;
    key.verify_strict(&message, &Signature::from_bytes(&signature)).map_err(|_| SignInError::Signature)?;
    Ok(SignedIn { keys })
}
