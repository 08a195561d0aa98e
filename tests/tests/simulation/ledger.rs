//! Who said what, and what became of it: the truth that the checker holds everything against.

use std::collections::{BTreeMap, BTreeSet};

use snug_protocol::frame::EntryFrame;
use snug_protocol::{DeviceId, EntryKind, EnvelopeHash, Header, InstanceId, RoomId, Seq};
use tokio::time::Instant;

/// Everything said has a number; later ones are greater.
pub type Number = u64;
/// Device, instance, counter.
pub type Identity = (DeviceId, InstanceId, u64);

pub const fn identity(header: &Header) -> Identity {
    (header.device, header.instance, header.counter)
}

/// Where something was acknowledged to be.
#[derive(Clone, Copy, Debug)]
pub struct Acked {
    pub seq: Seq,
    pub hash: EnvelopeHash,
    pub at: Instant,
}

#[derive(Clone, Debug)]
pub struct Said {
    pub room: RoomId,
    pub by: DeviceId,
    pub kind: EntryKind,
    pub acked: Option<Acked>,
}

/// A copy of the store was put back.
#[derive(Clone, Debug)]
pub struct Rewind {
    pub at: Instant,
    pub heads: BTreeMap<RoomId, Seq>,
}

#[derive(Default)]
pub struct Ledger {
    pub said: BTreeMap<Number, Said>,
    /// What was sealed, by identity: what it says.
    pub sealed: BTreeMap<Identity, Number>,
    /// Messages whose erasure was acknowledged, and when.
    pub erased: BTreeMap<(RoomId, Seq), Instant>,
    /// Whose membership ended: with which entry, and when that was committed.
    pub removed: BTreeMap<(RoomId, DeviceId), (Seq, Instant)>,
    /// Whose membership somebody has tried to end.
    pub removing: BTreeSet<(RoomId, DeviceId)>,
    pub rewind: Option<Rewind>,
}

/// Where a sealed text has its number: right after the header.
const NUMBER_AT: usize = snug_protocol::envelope::HEADER_BYTES;

/// Seals a number. Nobody here can read, so nothing is encrypted.
pub fn seal(header: &Header, number: Number) -> Vec<u8> {
    let mut bytes = header.encode().to_vec();
    bytes.extend(number.to_be_bytes());
    bytes.resize(snug_protocol::envelope::ENVELOPE_BYTES_MIN, 0);
    bytes
}

/// The number in an entry; `None`: it has been erased.
pub fn number_of(entry: &EntryFrame) -> Option<Number> {
    let envelope = entry.envelope_bytes();
    let bytes = envelope.get(NUMBER_AT..NUMBER_AT + 8).filter(|_| !entry.is_tombstone())?;
    Some(Number::from_be_bytes(bytes.try_into().expect("eight bytes")))
}

impl Ledger {
    /// A new number for what is about to be said.
    pub fn say(&mut self, room: RoomId, by: DeviceId, kind: EntryKind) -> Number {
        let number = self.said.last_key_value().map_or(1, |(last, _)| last + 1);
        self.said.insert(number, Said { room, by, kind, acked: None });
        number
    }

    pub fn ack(&mut self, number: Number, acked: Acked) {
        if let Some(said) = self.said.get_mut(&number) {
            said.acked = Some(acked);
        }
    }

    /// Notes that the store went back to `heads`: what came after never was.
    pub fn go_back(&mut self, heads: BTreeMap<RoomId, Seq>) {
        let is_kept = |room: &RoomId, seq: Seq| heads.get(room).is_some_and(|head| seq <= *head);
        for said in self.said.values_mut() {
            let room = said.room;
            said.acked = said.acked.filter(|acked| is_kept(&room, acked.seq));
        }
        // Which deletions are kept is not told by their targets; none is relied on any more.
        self.erased.clear();
        self.removed.retain(|(room, _), (seq, _)| is_kept(room, *seq));
        self.rewind = Some(Rewind { at: Instant::now(), heads });
    }
}
