//! Epoch records: the signed statement that founds a room (ENCRYPTION.md section 5).

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use snug_protocol::{Base64Bytes, EntryKind, Envelope, EnvelopeHash, Header, InstanceId, Seq};
use subtle::ConstantTimeEq;

use super::{Body, Content, Device, GrantContent, Prev, PublicKeys, RoomKey, decrypt, random, seal};
use crate::error::ClientError;

/// A device that may sign the next epoch's record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Admin {
    /// Ed25519 public key.
    pub sign_key: Base64Bytes,
    /// X25519 public key.
    pub agree_key: Base64Bytes,
    /// It is the recovery device.
    pub recovery: bool,
}

/// The body of an epoch record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Which epoch.
    pub epoch: u32,
    /// Of its room key.
    pub commitment: Base64Bytes,
    /// The hash of the record before; none for epoch 0.
    pub previous: Option<Base64Bytes>,
    /// How far back newcomers may read; `all` is the only value so far.
    pub history: String,
    /// Who may sign the next.
    pub admins: Vec<Admin>,
}

impl EpochRecord {
    pub(super) fn founding(key: &RoomKey, creator: &PublicKeys, recovery: &PublicKeys) -> Self {
        let admin = |keys: &PublicKeys, recovery| Admin {
            sign_key: keys.sign_key.into(),
            agree_key: keys.agree_key.into(),
            recovery,
        };
        Self {
            epoch: 0,
            commitment: key.commitment().into(),
            previous: None,
            history: "all".into(),
            admins: vec![admin(creator, false), admin(recovery, true)],
        }
    }

    /// The admins' keys that are well formed.
    pub fn admin_keys(&self) -> impl Iterator<Item = PublicKeys> {
        self.admins.iter().filter_map(|admin| PublicKeys::parse(&admin.sign_key, &admin.agree_key).ok())
    }
}

/// Seals the record of epoch 0: seq 1 of a new room, under an instance of its own.
///
/// # Errors
/// `unreadable` if `key` is not of epoch 0.
pub fn founding_record(
    device: &Device,
    key: &RoomKey,
    recovery: &PublicKeys,
    sent_at_ms: u64,
) -> Result<Envelope, ClientError> {
    if key.epoch() != 0 {
        return Err(ClientError::Unreadable);
    }
    let header = Header {
        kind: EntryKind::EpochRecord,
        room: key.room(),
        epoch: 0,
        device: device.id(),
        instance: InstanceId(random()),
        counter: 0,
        target: Seq::ZERO,
    };
    let body = Body::EpochRecord(EpochRecord::founding(key, device.keys(), recovery)).to_json();
    seal(device, key, &header, &Content { prev: Prev::default(), sent_at_ms, body: &body })
}

/// A record that belongs to the room key a grant opened to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedRecord {
    /// Its hash; pinned by the client together with the epoch.
    pub hash: EnvelopeHash,
    /// What it says.
    pub record: EpochRecord,
    /// Its signer.
    pub signer: PublicKeys,
}

/// Checks a record as one who joins must: hash as the grant says, opens with the room key, commitment, signer among its admins.
///
/// # Errors
/// `record_refused`, whatever is wrong.
pub fn verify_record(grant: &GrantContent, record: Bytes) -> Result<VerifiedRecord, ClientError> {
    check(grant, record).ok_or(ClientError::RecordRefused)
}

fn check(grant: &GrantContent, record: Bytes) -> Option<VerifiedRecord> {
    let key = &grant.room_key;
    let envelope = Envelope::parse(record).ok()?;
    let hash = envelope.hash();
    if hash != grant.record_hash || envelope.header().kind != EntryKind::EpochRecord {
        return None;
    }
    let unverified = decrypt(key, &envelope).ok()?;
    let signer = unverified.own_keys()?;
    let Body::EpochRecord(record) = unverified.verify(&signer).ok()?.body else { return None };
    let commitment: [u8; 32] = record.commitment.array()?;
    let fits = bool::from(commitment.ct_eq(&key.commitment())) && record.epoch == key.epoch();
    fits.then_some(VerifiedRecord { hash, record, signer })
}
