//! Epoch records: the signed statement of an epoch's key and of who governs (ENCRYPTION.md section 5).

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use snug_protocol::limits::REMOVALS_MAX;
use snug_protocol::{DeviceId, EntryKind, Envelope, EnvelopeHash, Header, InstanceId, Seq, recipients_hash};
use subtle::ConstantTimeEq;

use super::json::{fixed, fixed_or_null};
use super::room_key::PREVIOUS_KEY_BYTES;
use super::state::is_sorted_set;
use super::{
    Body, Content, Device, GrantContent, Opened, Prev, PublicKeys, RoomKey, RoomState, Step, StepBody, decrypt, random,
    seal,
};
use crate::error::ClientError;

/// Why an epoch began.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Cause {
    /// The room was founded.
    Created,
    /// Devices were removed.
    Remove {
        /// 1 to 50, in order.
        devices: Vec<DeviceId>,
        /// They may not come back.
        ban: bool,
    },
    /// The key was replaced.
    Rotate,
    /// The key was replaced, and newcomers cannot read what came before.
    History,
}

impl Cause {
    /// Whether a newcomer can read back from the epoch it begins.
    #[must_use]
    pub const fn keeps_history(&self) -> bool {
        matches!(self, Self::Remove { .. } | Self::Rotate)
    }

    /// Whether it removes somebody, but not too many, if it is a removal, and names them in order.
    #[must_use]
    pub fn is_in_bounds(&self) -> bool {
        match self {
            Self::Remove { devices, .. } => (1..=REMOVALS_MAX).contains(&devices.len()) && is_sorted_set(devices),
            Self::Created | Self::Rotate | Self::History => true,
        }
    }
}

/// The body of an epoch record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Which epoch.
    pub epoch: u32,
    /// Of its room key.
    #[serde(with = "fixed")]
    pub commitment: [u8; 32],
    /// The envelope hash of the chain entry before it; none for epoch 0.
    #[serde(with = "fixed_or_null")]
    pub previous: Option<EnvelopeHash>,
    /// The room key before, sealed under this one; none for epoch 0 and where newcomers shall not read back.
    #[serde(with = "fixed_or_null")]
    pub previous_key: Option<[u8; PREVIOUS_KEY_BYTES]>,
    /// The hash of the devices that its key was sealed to; none for epoch 0.
    #[serde(with = "fixed_or_null")]
    pub recipients: Option<[u8; 32]>,
    /// Why it began.
    pub cause: Cause,
    /// The keys of the recovery device that takes the place of the one before, if one does.
    pub recovery: Option<PublicKeys>,
    /// What holds from here on.
    pub state: RoomState,
}

impl EpochRecord {
    pub(super) fn founding(key: &RoomKey, creator: &PublicKeys, recovery: &PublicKeys) -> Self {
        Self {
            epoch: 0,
            commitment: key.commitment(),
            previous: None,
            previous_key: None,
            recipients: None,
            cause: Cause::Created,
            recovery: None,
            state: RoomState::founding(creator, recovery),
        }
    }

    /// Whether its parts fit each other and are within their bounds. Whether it may follow upon another is the chain's question.
    #[must_use]
    pub fn is_in_bounds(&self) -> bool {
        let founding = self.epoch == 0;
        let reads_back = self.cause.keeps_history();
        let history_from =
            if reads_back { self.state.history_from < self.epoch } else { self.state.history_from == self.epoch };
        founding == matches!(self.cause, Cause::Created)
            && founding == self.previous.is_none()
            && founding == self.recipients.is_none()
            && reads_back == self.previous_key.is_some()
            && history_from
            && self.recovery.is_none_or(|keys| !founding && keys.can_agree())
            // Else its admins could not be sealed to, and the server would let nobody leave them out.
            && (!founding || self.state.admins.iter().all(|admin| admin.keys.can_agree()))
            && self.cause.is_in_bounds()
            && self.state.is_in_bounds()
    }

    /// Whether the server's list of those that the key was sealed to is the one the record names. Epoch 0 names nobody.
    #[must_use]
    pub fn names_recipients(&self, recipients: &[DeviceId]) -> bool {
        names_recipients(self.recipients.as_ref(), recipients)
    }

    /// Whether it is the record of `key`'s epoch and commits to it.
    #[must_use]
    pub fn commits_to(&self, key: &RoomKey) -> bool {
        self.epoch == key.epoch() && bool::from(self.commitment.ct_eq(&key.commitment()))
    }
}

/// Whether these are the devices that a record's `recipients` stand for, in order.
pub(crate) fn names_recipients(hash: Option<&[u8; 32]>, recipients: &[DeviceId]) -> bool {
    match hash {
        Some(hash) => is_sorted_set(recipients) && bool::from(hash.ct_eq(&recipients_hash(recipients.iter().copied()))),
        None => recipients.is_empty(),
    }
}

/// The place and hash of a chain entry, which the next one names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChainPlace {
    /// Its place.
    pub seq: Seq,
    /// Its envelope's hash.
    pub hash: EnvelopeHash,
}

/// What a new epoch's record says beside its key.
#[derive(Clone, Debug)]
pub struct NextEpoch<'a> {
    /// The newest chain entry.
    pub after: ChainPlace,
    /// The room key before, so that newcomers can read back. Not used for the cause `history`.
    pub previous_key: &'a RoomKey,
    /// Everyone the new key is sealed to.
    pub recipients: &'a [DeviceId],
    /// Why the epoch begins.
    pub cause: Cause,
    /// The recovery device that takes the place of the one before, if one does.
    pub recovery: Option<PublicKeys>,
    /// The state before with the cause and the recovery device applied; the chain knows it.
    pub state: RoomState,
}

/// Seals an entry of the chain, under an instance of its own.
fn seal_link(
    device: &Device,
    key: &RoomKey,
    body: &Body,
    target: Seq,
    prev: Prev,
    sent_at_ms: u64,
) -> Result<Envelope, ClientError> {
    if !body.is_in_bounds() {
        return Err(ClientError::Unreadable);
    }
    let header = Header {
        kind: body.kind(),
        room: key.room(),
        epoch: key.epoch(),
        device: device.id(),
        instance: InstanceId(random()),
        counter: 0,
        target,
    };
    seal(device, key, &header, &Content { prev, sent_at_ms, body: &body.to_json() })
}

/// Seals the record of epoch 0: seq 1 of a new room, under an instance of its own.
///
/// # Errors
/// `unreadable` if `key` is not of epoch 0, or creator and recovery device are the same.
pub fn founding_record(
    device: &Device,
    key: &RoomKey,
    recovery: &PublicKeys,
    sent_at_ms: u64,
) -> Result<Envelope, ClientError> {
    let body = Body::EpochRecord(Box::new(EpochRecord::founding(key, device.keys(), recovery)));
    seal_link(device, key, &body, Seq::ZERO, Prev::default(), sent_at_ms)
}

/// Seals the record that begins `key`'s epoch, under an instance of its own. `prev` is the newest entry seen.
///
/// # Errors
/// `unreadable` if the keys are not of two epochs in a row of one room, or the record would be out of bounds.
pub fn next_record(
    device: &Device,
    key: &RoomKey,
    next: NextEpoch<'_>,
    prev: Prev,
    sent_at_ms: u64,
) -> Result<Envelope, ClientError> {
    let previous_key = match next.cause.keeps_history() {
        true => Some(key.seal_previous(next.previous_key, random()).ok_or(ClientError::Unreadable)?),
        false => None,
    };
    let body = Body::EpochRecord(Box::new(EpochRecord {
        epoch: key.epoch(),
        commitment: key.commitment(),
        previous: Some(next.after.hash),
        previous_key,
        recipients: Some(recipients_hash(next.recipients.iter().copied())),
        cause: next.cause,
        recovery: next.recovery,
        state: next.state,
    }));
    seal_link(device, key, &body, next.after.seq, prev, sent_at_ms)
}

/// Seals a step upon the newest chain entry, under an instance of its own. `prev` is the newest entry seen.
///
/// # Errors
/// `unreadable` if the step is out of bounds.
pub fn seal_step(
    device: &Device,
    key: &RoomKey,
    after: ChainPlace,
    step: Step,
    prev: Prev,
    sent_at_ms: u64,
) -> Result<Envelope, ClientError> {
    let body = Body::Step(StepBody { previous: after.hash, step });
    seal_link(device, key, &body, after.seq, prev, sent_at_ms)
}

/// A record that belongs to a room key, signed by an admin of its own state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedRecord {
    /// Its hash; pinned by the client together with the epoch.
    pub hash: EnvelopeHash,
    /// What it says.
    pub record: EpochRecord,
    /// Its signer.
    pub signer: PublicKeys,
    /// The whole entry, for the chain.
    pub opened: Opened,
}

/// Checks a record as one who joins must: hash as the grant says, opens with the room key, commitment, signer among its admins.
/// Whether the signer's role suffices for its cause is what [`crate::chain::Chain::adopt`] checks next.
///
/// # Errors
/// `record_refused`, whatever is wrong.
pub fn verify_record(grant: &GrantContent, record: Bytes) -> Result<VerifiedRecord, ClientError> {
    let verified = open_record(&grant.room_key, record)?;
    if verified.hash == grant.record_hash { Ok(verified) } else { Err(ClientError::RecordRefused) }
}

/// Opens a record with the key that it is said to state: one that was unsealed, or found by reading back. The key is good only if this
/// succeeds and the chain accepts the record.
///
/// # Errors
/// `record_refused`, whatever is wrong.
pub fn open_record(key: &RoomKey, record: Bytes) -> Result<VerifiedRecord, ClientError> {
    check(key, record).ok_or(ClientError::RecordRefused)
}

fn check(key: &RoomKey, record: Bytes) -> Option<VerifiedRecord> {
    let envelope = Envelope::parse(record).ok().filter(|it| it.header().kind == EntryKind::EpochRecord)?;
    // Decrypting a record checks its commitment.
    let unverified = decrypt(key, &envelope).ok()?;
    let signer = unverified.own_keys()?;
    let opened = unverified.verify(&signer).ok()?;
    let Body::EpochRecord(record) = &opened.body else { return None };
    Some(VerifiedRecord { hash: envelope.hash(), record: (**record).clone(), signer, opened })
}

impl VerifiedRecord {
    /// The room key of the epoch before, where the record has it. It is good only if that epoch's record opens with it.
    #[must_use]
    pub fn previous_key(&self, key: &RoomKey) -> Option<RoomKey> {
        if !self.record.commits_to(key) {
            return None;
        }
        key.open_previous(self.record.previous_key.as_ref()?)
    }
}
