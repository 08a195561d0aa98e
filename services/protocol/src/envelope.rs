//! The envelope's authenticated header, in bytes (ENCRYPTION.md section 4). What it seals is opaque here.

use std::collections::BTreeSet;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::ids::{DeviceId, InstanceId, RoomId, Seq};
use crate::limits::ENVELOPE_BYTES_MAX;

/// The header's length, bytes.
pub const HEADER_BYTES: usize = 76;
/// The smallest envelope: header, smallest padded plaintext, tag.
pub const ENVELOPE_BYTES_MIN: usize = HEADER_BYTES + 256 + 16;
const MAGIC: [u8; 4] = *b"SNUG";
const VERSION: u8 = 1;

/// What an entry is, as far as the server may know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum EntryKind {
    /// The signed statement of an epoch: its key's commitment, its admins.
    EpochRecord = 1,
    /// A device introduces itself: name and public keys.
    Profile = 2,
    /// A text.
    Message = 3,
    /// The device ends its membership.
    Leave = 4,
    /// Another text for a message.
    Edit = 5,
    /// A message is erased.
    Deletion = 6,
    /// An emoji on a message, or its taking back.
    Reaction = 7,
    /// An administrative step; with the epoch records the room's chain.
    Step = 8,
    /// A message is pinned, or unpinned.
    Pin = 9,
}

impl EntryKind {
    /// The kind with this number in a header.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::EpochRecord),
            2 => Some(Self::Profile),
            3 => Some(Self::Message),
            4 => Some(Self::Leave),
            5 => Some(Self::Edit),
            6 => Some(Self::Deletion),
            7 => Some(Self::Reaction),
            8 => Some(Self::Step),
            9 => Some(Self::Pin),
            _ => None,
        }
    }

    /// Whether it is of the chain: an epoch record or a step. Its target is the chain entry before it.
    #[must_use]
    pub const fn is_chain(self) -> bool {
        matches!(self, Self::EpochRecord | Self::Step)
    }

    /// Whether its target is a message.
    #[must_use]
    pub const fn is_about_a_message(self) -> bool {
        matches!(self, Self::Edit | Self::Deletion | Self::Reaction | Self::Pin)
    }
}

/// Why bytes are not an envelope of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Shorter than the smallest envelope, or not of a bucket's size.
    #[error("{bytes} bytes is not the size of an envelope")]
    Size {
        /// What came.
        bytes: usize,
    },
    /// Larger than the largest envelope.
    #[error("an envelope of {bytes} bytes is larger than {ENVELOPE_BYTES_MAX}")]
    TooLarge {
        /// What came.
        bytes: usize,
    },
    /// Not the magic, or reserved bytes are not zero.
    #[error("not an envelope")]
    Malformed,
    /// A version this code does not know.
    #[error("envelope version {0} is not known here")]
    Version(u8),
    /// A type this code does not know.
    #[error("entry type {0} is not known here")]
    Kind(u8),
    /// A number beyond 2^53.
    #[error("a number in the header is out of range")]
    Range,
}

/// The authenticated part of an envelope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What the entry is.
    pub kind: EntryKind,
    /// The room whose log it belongs to.
    pub room: RoomId,
    /// Which room key sealed it.
    pub epoch: u32,
    /// Who sealed it.
    pub device: DeviceId,
    /// In which run of the client.
    pub instance: InstanceId,
    /// The how-manieth of that run, from 0. Also the IV.
    pub counter: u64,
    /// The entry it is about; 0 for none.
    pub target: Seq,
}

const NUMBER_MAX: u64 = (1 << 53) - 1;

fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the caller has checked the length")
}

impl Header {
    /// The header as it stands in an envelope.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(&MAGIC);
        out[4] = VERSION;
        out[5] = self.kind as u8;
        out[8..24].copy_from_slice(self.room.as_bytes());
        out[24..28].copy_from_slice(&self.epoch.to_be_bytes());
        out[28..44].copy_from_slice(self.device.as_bytes());
        out[44..60].copy_from_slice(self.instance.as_bytes());
        out[60..68].copy_from_slice(&self.counter.to_be_bytes());
        out[68..76].copy_from_slice(&self.target.0.to_be_bytes());
        out
    }

    /// Reads the header at the start of `bytes`.
    ///
    /// # Errors
    /// What is wrong with it; never panics, whatever the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() < HEADER_BYTES {
            return Err(EnvelopeError::Size { bytes: bytes.len() });
        }
        if bytes[..4] != MAGIC {
            return Err(EnvelopeError::Malformed);
        }
        if bytes[4] != VERSION {
            return Err(EnvelopeError::Version(bytes[4]));
        }
        if bytes[6..8] != [0, 0] {
            return Err(EnvelopeError::Malformed);
        }
        let header = Self {
            kind: EntryKind::from_u8(bytes[5]).ok_or(EnvelopeError::Kind(bytes[5]))?,
            room: RoomId(take(bytes, 8)),
            epoch: u32::from_be_bytes(take(bytes, 24)),
            device: DeviceId(take(bytes, 28)),
            instance: InstanceId(take(bytes, 44)),
            counter: u64::from_be_bytes(take(bytes, 60)),
            target: Seq(u64::from_be_bytes(take(bytes, 68))),
        };
        if header.counter > NUMBER_MAX || header.target.0 > NUMBER_MAX {
            return Err(EnvelopeError::Range);
        }
        Ok(header)
    }
}

/// SHA-256 of a whole envelope.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct EnvelopeHash(pub [u8; 32]);

impl EnvelopeHash {
    /// The hash of these envelope bytes.
    #[must_use]
    pub fn of(envelope: &[u8]) -> Self {
        Self(Sha256::digest(envelope).into())
    }

    /// The first 8 bytes, as a cursor carries them.
    #[must_use]
    pub fn short(&self) -> [u8; 8] {
        take(&self.0, 0)
    }
}

/// SHA-256 of the devices that an epoch's key is sealed to, sorted and joined, as its record states it.
#[must_use]
pub fn recipients_hash(devices: impl IntoIterator<Item = DeviceId>) -> [u8; 32] {
    let sorted: BTreeSet<DeviceId> = devices.into_iter().collect();
    let hash = sorted.iter().fold(Sha256::new(), |hash, device| hash.chain_update(device.0));
    hash.finalize().into()
}

/// A sealed envelope whose header and size have been checked. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    header: Header,
    bytes: Bytes,
}

impl Envelope {
    /// Checks size and header of `bytes`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(bytes: Bytes) -> Result<Self, EnvelopeError> {
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(EnvelopeError::TooLarge { bytes: bytes.len() });
        }
        let header = Header::decode(&bytes)?;
        let sealed = bytes.len() - HEADER_BYTES;
        if !crate::limits::PLAINTEXT_BUCKETS.iter().any(|bucket| bucket + 16 == sealed) {
            return Err(EnvelopeError::Size { bytes: bytes.len() });
        }
        Ok(Self { header, bytes })
    }

    /// The authenticated header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The whole envelope.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// SHA-256 of the whole envelope.
    #[must_use]
    pub fn hash(&self) -> EnvelopeHash {
        EnvelopeHash::of(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers() -> impl Strategy<Value = Header> {
        (1u8..=9, any::<[u8; 16]>(), any::<u32>(), any::<[u8; 16]>(), any::<[u8; 16]>(), 0..=NUMBER_MAX, 0..=NUMBER_MAX)
            .prop_map(|(kind, room, epoch, device, instance, counter, target)| Header {
                kind: EntryKind::from_u8(kind).expect("in range"),
                room: RoomId(room),
                epoch,
                device: DeviceId(device),
                instance: InstanceId(instance),
                counter,
                target: Seq(target),
            })
    }

    proptest! {
        #[test]
        fn a_header_is_read_as_it_was_written(header in headers()) {
            prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Envelope::parse(Bytes::from(bytes));
        }

        #[test]
        fn a_mangled_header_is_refused_or_reads_as_what_it_says(header in headers(), at in 0..HEADER_BYTES, bit in 0..8u8) {
            let mut bytes = header.encode();
            bytes[at] ^= 1 << bit;
            if let Ok(read) = Header::decode(&bytes) {
                prop_assert_eq!(read.encode(), bytes);
            }
        }
    }
}
