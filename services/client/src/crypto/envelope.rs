//! Sealing and opening envelopes (ENCRYPTION.md section 4).
//!
//! Opening has two steps, since a profile brings the keys that verify it: [`decrypt`] gives an [`Unverified`], and only
//! [`Unverified::verify`] gives an [`Opened`].

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use bytes::Bytes;
use snug_protocol::envelope::HEADER_BYTES;
use snug_protocol::limits::{BODY_BYTES_MAX, PLAINTEXT_BUCKETS};
use snug_protocol::{Envelope, EnvelopeHash, Header, RoomId, Seq};
use zeroize::Zeroizing;

use super::json::NUMBER_MAX;
use super::{Body, Device, PublicKeys, RoomKey};
use crate::error::ClientError;

const BODY_AT: usize = 8 + 32 + 8 + 4;
const SIGNATURE_BYTES: usize = 64;
const SIGNATURE_LABEL: &[u8] = b"snug/v1/envelope";

/// The newest entry the sender had applied when it sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Prev {
    /// Its place; 0 when the room was empty.
    pub seq: Seq,
    /// Its envelope's hash; zero when the room was empty.
    pub hash: EnvelopeHash,
}

/// What is sealed, beside the header.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// What the sender had seen.
    pub prev: Prev,
    /// The sender's clock, Unix milliseconds.
    pub sent_at_ms: u64,
    /// The body's JSON, at most 16,384 bytes.
    pub body: &'a [u8],
}

/// An envelope that opened and whose signature verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The authenticated header.
    pub header: Header,
    /// What the sender had seen.
    pub prev: Prev,
    /// The sender's clock, Unix milliseconds.
    pub sent_at_ms: u64,
    /// What it says.
    pub body: Body,
}

/// The smallest bucket that holds `bytes`.
fn bucket(bytes: usize) -> Option<usize> {
    PLAINTEXT_BUCKETS.into_iter().find(|bucket| *bucket >= bytes)
}

/// Everything of the plaintext before the signature.
fn signed_part(content: &Content<'_>) -> Option<Vec<u8>> {
    let length = u32::try_from(content.body.len()).ok().filter(|_| content.body.len() <= BODY_BYTES_MAX)?;
    let parts: [&[u8]; 5] = [
        &content.prev.seq.0.to_be_bytes(),
        &content.prev.hash.0,
        &content.sent_at_ms.to_be_bytes(),
        &length.to_be_bytes(),
        content.body,
    ];
    Some(parts.concat())
}

fn sign(device: &Device, header: &[u8], plain: &[u8]) -> [u8; SIGNATURE_BYTES] {
    device.sign(&[SIGNATURE_LABEL, header, plain].concat())
}

/// Encrypts a whole plaintext as it is; the public way is [`seal`].
pub(super) fn encrypt(key: &RoomKey, header: &Header, plain: &[u8]) -> Vec<u8> {
    let head = header.encode();
    let sealed = cipher(key, header)
        .encrypt(&iv(header.counter), Payload { msg: plain, aad: &head })
        .expect("a bucket is smaller than GCM can seal");
    [head.as_slice(), &sealed].concat()
}

/// A plaintext, signed and padded to `size` bytes.
pub(super) fn plaintext(
    device: &Device,
    header: &Header,
    content: &Content<'_>,
    size: Option<usize>,
) -> Option<Vec<u8>> {
    let mut plain = signed_part(content)?;
    let signature = sign(device, &header.encode(), &plain);
    plain.extend_from_slice(&signature);
    plain.resize(size.or_else(|| bucket(plain.len()))?, 0);
    Some(plain)
}

/// Seals and signs. The same (room key, device, instance, counter) must never be given twice: keep the envelope and resend it.
///
/// # Errors
/// `text_too_long` if the body has more than 16,384 bytes; `unreadable` if header, key and device do not belong together.
pub fn seal(device: &Device, key: &RoomKey, header: &Header, content: &Content<'_>) -> Result<Envelope, ClientError> {
    if header.device != device.id() || header.room != key.room() || header.epoch != key.epoch() {
        return Err(ClientError::Unreadable);
    }
    let too_long = ClientError::Text {
        field: crate::error::Field::Text,
        reason: snug_protocol::names::NameError::TooLong { chars: content.body.len(), chars_max: BODY_BYTES_MAX },
    };
    let plain = Zeroizing::new(plaintext(device, header, content, None).ok_or(too_long)?);
    Envelope::parse(Bytes::from(encrypt(key, header, &plain))).map_err(|_| ClientError::Unreadable)
}

fn cipher(key: &RoomKey, header: &Header) -> Aes256Gcm {
    let key = key.envelope_key(header.device, header.instance);
    Aes256Gcm::new(&(*key).into())
}

fn iv(counter: u64) -> Nonce<aes_gcm::aead::consts::U12> {
    let mut iv = [0; 12];
    iv[4..].copy_from_slice(&counter.to_be_bytes());
    iv.into()
}

/// An envelope that decrypted and is well formed, but whose signature has not been checked yet.
#[derive(Debug)]
pub struct Unverified {
    opened: Opened,
    signed: Zeroizing<Vec<u8>>,
    signature: [u8; SIGNATURE_BYTES],
}

/// Decrypts an envelope and checks its form: padding, bucket, body, whether it should have a target, and a record's commitment.
///
/// # Errors
/// `unreadable`, whatever is wrong.
pub fn decrypt(key: &RoomKey, envelope: &Envelope) -> Result<Unverified, ClientError> {
    let header = *envelope.header();
    if header.room != key.room() || header.epoch != key.epoch() {
        return Err(ClientError::Unreadable);
    }
    let (head, sealed) = envelope.bytes().split_at(HEADER_BYTES);
    let plain = cipher(key, &header)
        .decrypt(&iv(header.counter), Payload { msg: sealed, aad: head })
        .map(Zeroizing::new)
        .map_err(|_| ClientError::Unreadable)?;
    parse(key, header, head, &plain).ok_or(ClientError::Unreadable)
}

fn parse(key: &RoomKey, header: Header, head: &[u8], plain: &[u8]) -> Option<Unverified> {
    // What a browser cannot count is no number here either.
    let number = |at: usize| {
        let number = u64::from_be_bytes(plain.get(at..at + 8)?.try_into().ok()?);
        (number <= NUMBER_MAX).then_some(number)
    };
    let length = usize::try_from(u32::from_be_bytes(plain.get(48..BODY_AT)?.try_into().ok()?)).ok()?;
    if length > BODY_BYTES_MAX {
        return None;
    }
    let signature_at = BODY_AT + length;
    let end = signature_at + SIGNATURE_BYTES;
    let padding = plain.get(end..)?;
    if bucket(end) != Some(plain.len()) || padding.iter().any(|byte| *byte != 0) {
        return None;
    }
    let prev = Prev { seq: Seq(number(0)?), hash: EnvelopeHash(plain.get(8..40)?.try_into().ok()?) };
    let body = Body::parse(header.kind, &plain[BODY_AT..signature_at]).ok()?;
    if !body.may_target(header.target) {
        return None;
    }
    // GCM does not commit to its key: without this, one record could open under two keys.
    if let Body::EpochRecord(record) = &body
        && !record.commits_to(key)
    {
        return None;
    }
    Some(Unverified {
        opened: Opened { header, prev, sent_at_ms: number(40)?, body },
        signed: Zeroizing::new([SIGNATURE_LABEL, head, &plain[..signature_at]].concat()),
        signature: plain[signature_at..end].try_into().ok()?,
    })
}

impl Unverified {
    /// The keys the entry itself brings for its device: a profile its own, an epoch record those of its admins.
    #[must_use]
    pub fn own_keys(&self) -> Option<PublicKeys> {
        let device = self.opened.header.device;
        match &self.opened.body {
            Body::Profile(profile) => PublicKeys::parse(&profile.sign_key, &profile.agree_key).ok(),
            Body::EpochRecord(record) => record.state.admin(device).map(|admin| admin.keys),
            _ => None,
        }
    }

    /// Checks that `keys` are the device's and made the signature.
    ///
    /// # Errors
    /// `unreadable`, whatever is wrong.
    pub fn verify(self, keys: &PublicKeys) -> Result<Opened, ClientError> {
        let verified = keys.id() == self.opened.header.device && keys.verify(&self.signed, &self.signature);
        if verified { Ok(self.opened) } else { Err(ClientError::Unreadable) }
    }
}

/// Opens the bytes of an envelope that should be of `room` and by the device with `keys`.
///
/// # Errors
/// `unreadable`, whatever is wrong.
pub fn open(room: RoomId, key: &RoomKey, keys: &PublicKeys, envelope: Bytes) -> Result<Opened, ClientError> {
    let envelope = Envelope::parse(envelope).map_err(|_| ClientError::Unreadable)?;
    if envelope.header().room != room {
        return Err(ClientError::Unreadable);
    }
    decrypt(key, &envelope)?.verify(keys)
}
