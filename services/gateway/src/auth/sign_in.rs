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
    /// Keys or signature have the wrong length.
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

/// A device's keys with the id that is their hash (ENCRYPTION.md section 1).
#[must_use]
pub fn device_keys(sign_key: [u8; 32], agree_key: [u8; 32]) -> DeviceKeys {
    let mut hash = Sha256::new();
    hash.update(b"snug/v1/device");
    hash.update(sign_key);
    hash.update(agree_key);
    let device = DeviceId(hash.finalize()[..16].try_into().expect("a hash has 32 bytes"));
    DeviceKeys { device, sign_key, agree_key }
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
    Ok(SignedIn { keys: device_keys(sign_key, agree_key) })
}
