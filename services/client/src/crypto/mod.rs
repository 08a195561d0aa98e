//! Format v1 (ENCRYPTION.md): device keys, grants, links, envelopes, bodies, epoch records, sealed keys, moves. Pure: no I/O, no clock, no tasks.
//!
//! Randomness is the only thing taken from outside, and only by functions whose name says so (`generate`, `seal` of a grant).
//! Every secret is wiped when dropped and hidden from `Debug`. Opening either succeeds or says [`ClientError::Unreadable`] and no more.

mod base32;
mod body;
mod device;
mod emoji;
mod envelope;
mod grant;
mod json;
mod link;
mod moving;
mod plain;
mod record;
mod recovery;
mod room_key;
mod sealed_key;
mod state;
mod step;
#[cfg(test)]
mod vectors;

pub use body::{Body, Edit, Message, Pin, Profile, Reaction};
pub use device::{Device, DeviceSecrets, PublicKeys, sign_in};
pub use emoji::{reaction_emoji, room_topic};
pub use envelope::{Content, Opened, Prev, Unverified, decrypt, open, seal};
pub use grant::{GrantContent, GrantKeys, KDF, Secret};
pub use link::InviteLink;
pub use moving::{MoveAnswer, MoveCommitment, MoveReveal, MoveSecret, MovedKey, MovedRoom};
pub(crate) use record::names_recipients;
pub use record::{
    Cause, ChainPlace, EpochRecord, NextEpoch, VerifiedRecord, founding_record, next_record, open_record, seal_step,
    verify_record,
};
pub use recovery::RecoveryKey;
pub use room_key::RoomKey;
pub use sealed_key::{open_room_key, profile_of, seal_room_key};
pub use state::{Admin, Muted, RoomState};
pub use step::{Step, StepBody};

use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

#[cfg(doc)]
use crate::error::ClientError;

/// 32 bytes that are wiped when dropped.
pub(crate) type Key = Zeroizing<[u8; 32]>;

/// HKDF-SHA-256 with 32 bytes of output; `info` is joined.
fn hkdf(ikm: &[u8], salt: &[u8], info: &[&[u8]]) -> Key {
    let mut out = Key::default();
    Hkdf::<Sha256>::new(Some(salt), ikm)
        .expand_multi_info(info, out.as_mut())
        .expect("32 bytes are fewer than HKDF can give");
    out
}

/// SHA-256 of the parts, joined.
fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// Fresh bytes from the system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes; without them nothing here is safe");
    bytes
}
