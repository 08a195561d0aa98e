//! New passwords: checked, limited, and hashed as a creation's.

use std::net::IpAddr;
use std::time::Instant;

use snug_protocol::http::Role;
use snug_protocol::limits::GRANT_BLOB_BYTES;
use snug_protocol::{Base64Bytes, DeviceId, ErrorCode, GrantId, RoomId};
use snug_store::{GrantKind, GrantSecret, Store};

use super::Door;
use super::error::{ApiError, wait};
use super::right;
use crate::limit::subject;

/// The only key derivation for passwords.
pub const KDF: u32 = 1;

/// A password grant as its maker sends it, with lengths checked.
pub struct NewPassword {
    grant: GrantId,
    auth: [u8; 32],
    blob: Vec<u8>,
}

impl NewPassword {
    /// Checks key derivation and lengths.
    ///
    /// # Errors
    /// `bad_request`.
    pub fn check(grant: GrantId, kdf: u32, auth: &Base64Bytes, blob: Base64Bytes) -> Result<Self, ErrorCode> {
        let auth = auth.array().ok_or(ErrorCode::BadRequest)?;
        if kdf != KDF || blob.0.len() != GRANT_BLOB_BYTES {
            return Err(ErrorCode::BadRequest);
        }
        Ok(Self { grant, auth, blob: blob.0 })
    }

    /// What to store for it. Costs tens of milliseconds of a core.
    ///
    /// # Errors
    /// The threads that hash are busy.
    pub async fn hash(self, door: &Door, room: RoomId) -> Result<GrantSecret, ApiError> {
        Ok(door.secrets.make(GrantKind::Password, room, self.grant, self.auth, self.blob).await?)
    }

    /// As [`NewPassword::hash`], for a room that exists: only who may govern it makes the node work, and only so often from one address.
    /// Whether it may do just this is for the store to decide.
    ///
    /// # Errors
    /// `not_allowed` and the like, `too_many_attempts`, or the threads that hash are busy.
    pub async fn hash_for_admin(
        self,
        (store, door): (&Store, &Door),
        (room, device): (RoomId, DeviceId),
        address: IpAddr,
    ) -> Result<GrantSecret, ApiError> {
        if right::role(store, room, device).await? == Role::Member {
            return Err(ErrorCode::NotAllowed.into());
        }
        let charged = door.creates.charge(&subject(address), Instant::now());
        charged.map_err(|span| wait(ErrorCode::TooManyAttempts, span))?;
        self.hash(door, room).await
    }
}
