//! Access tokens: 256 random bits, stored as a hash.

use std::time::Duration;

use sha2::{Digest, Sha256};
use snug_protocol::{DeviceId, ErrorCode};
use snug_store::{Store, StoreError};

use super::SignedIn;

/// A token ends this long after its last use.
const IDLE_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// A token ends this long after its issue, whatever its use.
const ABSOLUTE_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// A caller whose token was good a moment ago; only [`Tokens::authenticate`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    device: DeviceId,
    hash: [u8; 32],
}

impl Authenticated {
    /// Whose token it is.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// Somebody with a token of this hash.
    #[cfg(test)]
    pub const fn of(device: DeviceId, hash: [u8; 32]) -> Self {
        Self { device, hash }
    }
}

/// Why a caller is not authenticated.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There was no token.
    #[error("no token")]
    Missing,
    /// Unknown, expired or revoked.
    #[error("the token is not valid")]
    Invalid,
    /// The database could not say.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TokenError {
    /// The code on the wire.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Missing => ErrorCode::TokenMissing,
            Self::Invalid => ErrorCode::TokenInvalid,
            Self::Store(_) => ErrorCode::Unavailable,
        }
    }
}

/// Issues and checks tokens.
#[derive(Clone)]
pub struct Tokens {
    store: Store,
}

impl Tokens {
    /// Kept in `store`.
    #[must_use]
    pub const fn new(store: Store) -> Self {
        Self { store }
    }

    /// A new token for a device that has proved itself, and when it ends at the latest.
    ///
    /// # Errors
    /// The database's.
    pub async fn issue(&self, signed_in: &SignedIn) -> Result<(String, u64), StoreError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("the system gives random bytes");
        let token =
            self.store.issue_token(Sha256::digest(secret).into(), signed_in.device(), IDLE_LIFE, ABSOLUTE_LIFE).await?;
        Ok((snug_protocol::encode_base64(&secret), token.expires_at_ms))
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// Missing, invalid, or the database could not say.
    pub async fn authenticate(&self, token: Option<&str>) -> Result<Authenticated, TokenError> {
        let secret = snug_protocol::decode_base64(token.ok_or(TokenError::Missing)?).ok_or(TokenError::Invalid)?;
        self.check(Sha256::digest(secret).into()).await
    }

    async fn check(&self, hash: [u8; 32]) -> Result<Authenticated, TokenError> {
        let token = self.store.token(hash).await?.ok_or(TokenError::Invalid)?;
        Ok(Authenticated { device: token.device, hash })
    }

    /// Asks again whether a caller's token is good.
    ///
    /// # Errors
    /// As [`Tokens::authenticate`].
    pub async fn recheck(&self, caller: &Authenticated) -> Result<(), TokenError> {
        self.check(caller.hash).await.map(|_| ())
    }

    /// Ends the caller's token.
    ///
    /// # Errors
    /// The database's.
    pub async fn revoke(&self, caller: &Authenticated) -> Result<(), StoreError> {
        self.store.revoke_token(caller.hash).await.map(|_| ())
    }
}
